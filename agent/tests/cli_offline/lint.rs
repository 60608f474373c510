//! `ringfence lint`: what it prints, and how it exits.

use std::{fs, path::Path};

use serde_json::Value;

use super::told;

const ZONES: &str = "\
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: apim }
spec: { members: [ { networks: { cidrs: [ 10.20.10.0/24 ] } } ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: db }
spec:
  members:
  - workloads: { namespaceSelector: { matchLabels: { team: db } } }
";

const POLICY: &str = "\
apiVersion: ringfence.dev/v1alpha1
kind: ZonePolicy
metadata: { name: mysql }
spec:
  rules:
  - name: mysql
    action: Allow
    from: [ { zoneNames: [ appim ] } ]
    to: [ { zoneNames: [ db ] } ]
";

fn directory(policy: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("10-zones.yaml"), ZONES).unwrap();
    fs::write(directory.path().join("20-policy.yaml"), policy).unwrap();
    directory
}

fn json(directory: &Path, format: &str) -> Value {
    let (out, err, code) = told(directory, &["lint", "-f", ".", "-o", format]);
    assert_eq!((err.as_str(), code), ("", 1));
    serde_json::from_str(&out).unwrap()
}

#[test]
fn findings_have_a_place_with_a_caret_and_what_to_do() {
    let directory = directory(POLICY);
    let (out, err, code) = told(directory.path(), &["lint", "-f", "."]);
    insta::assert_snapshot!(out, @r"
    warning[ZF010]: whoever may update namespaces (by the label team) decides who is in zone db
      --> ./10-zones.yaml:11: SecurityZone/db: spec.members[0].workloads.namespaceSelector
          |
       11 |   - workloads: { namespaceSelector: { matchLabels: { team: db } } }
          |                  ^^^^^^^^^^^^^^^^^
       = help: use labels of ringfence.dev/, which the chart's guard rail keeps to who may update zones, or kubernetes.io/metadata.name
    error[ZF003]: unknown zone 'appim'
      --> ./20-policy.yaml:8: ZonePolicy/mysql: spec.rules[0].from[0].zoneNames[0]
         |
       8 |     from: [ { zoneNames: [ appim ] } ]
         |                            ^^^^^
       = help: did you mean 'apim'?
       = help: the name matches nobody; create the zone, or correct the name
    2 findings (1 error, 1 warning)
    ");
    assert_eq!((err.as_str(), code), ("", 1));

    let found = json(directory.path(), "json");
    assert_eq!(found["kind"], "Findings");
    let first = &found["items"][0];
    assert_eq!(
        (&first["code"], &first["line"]),
        (&"ZF010".into(), &11.into())
    );
    let second = &found["items"][1];
    assert_eq!(
        (&second["level"], &second["help"][0]),
        (&"error".into(), &"did you mean 'apim'?".into())
    );
}

#[test]
fn sarif_names_the_rule_and_the_line() {
    let directory = directory(POLICY);
    let log = json(directory.path(), "sarif");
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let place = &results[1]["locations"][0]["physicalLocation"];
    assert_eq!(place["region"]["startLine"], 8);
    assert_eq!(place["artifactLocation"]["uri"], "20-policy.yaml");
}

#[test]
fn only_errors_fail_and_what_cannot_be_read_is_no_finding() {
    let right = directory(&POLICY.replace("appim", "apim"));
    let (out, err, code) = told(right.path(), &["lint", "-f", "."]);
    assert!(out.ends_with("1 finding (1 warning)\n"), "{out}");
    assert_eq!((err.as_str(), code), ("", 0));
    let (out, _, code) = told(right.path(), &["lint", "-f", "20-policy.yaml"]);
    assert!(out.contains("unknown zone 'db'"), "{out}");
    assert_eq!(code, 1);

    let broken = directory(&POLICY.replace("action: Allow", "action: Alow"));
    let (out, err, code) = told(broken.path(), &["lint", "-f", "."]);
    assert!(
        out.is_empty() && err.contains("20-policy.yaml:7"),
        "{out}{err}"
    );
    assert_eq!(code, 2);
    let (_, _, code) = told(broken.path(), &["lint", "-f", "missing"]);
    assert_eq!(code, 2);
    let (_, _, code) = told(broken.path(), &["lint"]);
    assert_eq!(code, 2);

    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("a.yaml"), "# nothing yet\n").unwrap();
    let (out, _, code) = told(empty.path(), &["lint", "-f", "a.yaml"]);
    assert_eq!((out.as_str(), code), ("no findings\n", 0));
}
