//! Texts that are refused, with what is said about them, and texts that are read.

mod following;

use super::*;
use crate::watch::Kind;

/// What is said about a text, a line each.
fn complaints(text: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m.yaml");
    std::fs::write(&file, text).unwrap();
    let (_, diagnostics) = load_all(&[file], Options::default());
    let prefix = format!("{}/", directory.path().display());
    diagnostics
        .iter()
        .map(|diagnostic| diagnostic.to_string().replace(&prefix, ""))
        .collect()
}

const POLICY: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n";

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    let policy = |spec: &str| format!("{POLICY}{spec}");
    let known = "The kinds that are read: Namespace, Node, Pod, Service (v1), NetworkPolicy \
                 (networking.k8s.io/v1), ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2), \
                 SecurityZone, ZonePolicy, TenantIsolation, MetadataFirewall, MetadataAccess \
                 (ringfence.dev/v1alpha1), and lists of them";
    for (text, expect) in [
        // Fields.
        (
            policy("spec:\n  podSelector: {}\n  ingres: []\n"),
            "m.yaml:6: NetworkPolicy/default/p: spec.ingres: unknown field `ingres`; did you mean \
             `ingress`? (allowed here: egress, ingress, podSelector, policyTypes)"
                .to_owned(),
        ),
        (
            policy("spec:\n  podSelector: {}\n  ingress:\n  - form:\n    - podSelector: {}\n"),
            "m.yaml:7: NetworkPolicy/default/p: spec.ingress[0].form: unknown field `form`; did you \
             mean `from`? (allowed here: from, ports)"
                .to_owned(),
        ),
        (
            policy("spec:\n  podSelector: {matchLables: {a: b}}\n"),
            "m.yaml:5: NetworkPolicy/default/p: spec.podSelector.matchLables: unknown field \
             `matchLables`; did you mean `matchLabels`? (allowed here: matchExpressions, matchLabels)"
                .to_owned(),
        ),
        (
            policy("spec: {}\nspecc: {}\n"),
            "m.yaml:5: NetworkPolicy/default/p: specc: unknown field `specc`; did you mean `spec`? \
             (allowed here: apiVersion, kind, metadata, spec)"
                .to_owned(),
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - name: c\n    \
             prots: []\n"
                .to_owned(),
            "m.yaml:7: Pod/default/p: spec.containers[0].prots: unknown field `prots`; did you mean \
             `ports`?"
                .to_owned(),
        ),
        // Types.
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels:\n    version: 1\n".to_owned(),
            "m.yaml:6: Pod/default/p: metadata.labels.version: a string is needed, not the number 1: \
             put it in quotes"
                .to_owned(),
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels:\n    on: true\n".to_owned(),
            "m.yaml:6: Pod/default/p: metadata.labels.on: a string is needed, not the boolean true: \
             put it in quotes"
                .to_owned(),
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels:\n    1: a\n".to_owned(),
            "m.yaml:6: Pod/default/p: metadata.labels.1: the key 1 must be a string: put it in quotes"
                .to_owned(),
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels:\n    a:\n".to_owned(),
            "m.yaml:6: Pod/default/p: metadata.labels.a: a string is needed, not nothing: write the \
             value, or \"\" for an empty one"
                .to_owned(),
        ),
        (
            policy("spec:\n  podSelector: {}\n  ingress:\n    from: []\n"),
            "m.yaml:6: NetworkPolicy/default/p: spec.ingress: a list is needed (each item begins with \
             `- `), not a mapping"
                .to_owned(),
        ),
        (
            policy("spec:\n  podSelector: {}\n  ingress:\n  -\n"),
            "m.yaml:7: NetworkPolicy/default/p: spec.ingress[0]: a mapping is needed (allowed here: \
             from, ports), not nothing (null)"
                .to_owned(),
        ),
        (
            policy("spec:\n  podSelector: {}\n  ingress:\n  - ports:\n    - endPort: a\n"),
            "m.yaml:8: NetworkPolicy/default/p: spec.ingress[0].ports[0].endPort: a whole number is \
             needed, not the string \"a\""
                .to_owned(),
        ),
        (
            policy("spec:\n  podSelector: {}\n  ingress:\n  - ports:\n    - port: 0443\n"),
            "m.yaml:8: NetworkPolicy/default/p: spec.ingress[0].ports[0].port: 0443, which some read \
             as octal and some as decimal: write it without the zero, or in quotes"
                .to_owned(),
        ),
        (
            policy("spec:\n  podSelector: {}\n  ingress:\n  - ports:\n    - port: 80.5\n"),
            "m.yaml:8: NetworkPolicy/default/p: spec.ingress[0].ports[0].port: invalid type: floating \
             point `80.5`, expected IntOrString"
                .to_owned(),
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  hostNetwork: yes\n".to_owned(),
            "m.yaml:5: Pod/default/p: spec.hostNetwork: true or false is needed, not the string \"yes\""
                .to_owned(),
        ),
        (
            policy("spec: []\n"),
            "m.yaml:4: NetworkPolicy/default/p: spec: a mapping is needed (allowed here: egress, \
             ingress, podSelector, policyTypes), not a list"
                .to_owned(),
        ),
        // Keys twice.
        (
            policy("spec:\n  podSelector: {}\n  ingress: []\n  ingress:\n  - {}\n"),
            "m.yaml:7: NetworkPolicy/default/p: spec.ingress: `ingress` stands here a second time \
             (first in line 6); keep one of them"
                .to_owned(),
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\napiVersion: v1\n".to_owned(),
            "m.yaml:4: apiVersion: `apiVersion` stands here a second time (first in line 1); keep one \
             of them, or write `---` between two objects"
                .to_owned(),
        ),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  name: b\n".to_owned(),
            "m.yaml:5: metadata.name: `name` stands here a second time; keep one of them".to_owned(),
        ),
        // Kinds and versions.
        (
            "apiVersion: v1\nkind: Namspace\nmetadata: {name: a}\n".to_owned(),
            format!("m.yaml:2: kind: unknown kind `Namspace`; did you mean `Namespace`? {known}"),
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n".to_owned(),
            format!(
                "m.yaml:2: kind: unknown kind `Deployment`; --ignore-other-kinds passes over it. {known}"
            ),
        ),
        (
            "apiVersion: v1\nkind: NetworkPolicy\nmetadata: {name: a}\n".to_owned(),
            "m.yaml:1: apiVersion: NetworkPolicy of `v1` is not read; the version that is: \
             `networking.k8s.io/v1`"
                .to_owned(),
        ),
        (
            "apiVersion: v1\nkimd: Pod\nmetadata: {name: a}\n".to_owned(),
            format!("m.yaml:1: `kind` is missing; is `kimd` meant to be it? {known}"),
        ),
        (
            "kind: Pod\nmetadata: {name: a}\n".to_owned(),
            format!("m.yaml:1: `apiVersion` is missing. {known}"),
        ),
        // What has no name.
        (
            "apiVersion: v1\nkind: Pod\nspec: {}\n".to_owned(),
            "m.yaml:1: metadata: `metadata` is missing; an object needs a name".to_owned(),
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: a\n".to_owned(),
            "m.yaml:4: metadata.name: `name` is missing (generateName gives none without an API server)"
                .to_owned(),
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: 7\n".to_owned(),
            "m.yaml:4: metadata.name: `name` must be a string: put it in quotes".to_owned(),
        ),
        // Texts.
        (
            String::new(),
            "m.yaml:1: the file is empty; delete it, or leave a comment in it, if it is to say nothing"
                .to_owned(),
        ),
        (
            "- a\n- b\n".to_owned(),
            "m.yaml:1: an object is needed here: a mapping with apiVersion, kind and metadata".to_owned(),
        ),
        (
            "apiVersion: v1\nkind: List\nitems: {}\n".to_owned(),
            "m.yaml:3: items: `items` must be a list of objects".to_owned(),
        ),
        (
            "apiVersion: v1\nkind: PodList\nitem: []\n".to_owned(),
            "m.yaml:3: item: unknown field `item` of a list (allowed here: apiVersion, kind, \
             metadata, items)"
                .to_owned(),
        ),
        (
            "a: &a [1]\nb: !secret x\n".to_owned(),
            "m.yaml:2: the tag !secret has no meaning here; leave it out".to_owned(),
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: {{ .Values.name }}}\n".to_owned(),
            "m.yaml:3: a key must be a string, not a list or a mapping; a template (`{{ }}`) has to \
             be rendered first"
                .to_owned(),
        ),
    ] {
        let complaints = complaints(&text);
        assert!(complaints.contains(&expect), "{text}\nwanted {expect}\ngot    {complaints:#?}");
    }
}

#[test]
fn broken_yaml_names_its_line_and_billions_of_aliases_end() {
    assert!(complaints("a: [1\nb: 2\n")[0].starts_with("m.yaml:2: not YAML: "));
    assert!(complaints("a:\n\t- 1\n")[0].starts_with("m.yaml:2: not YAML: "));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert!(
        complaints(&bomb)[0].contains("aliases make more than"),
        "{:?}",
        complaints(&bomb)
    );
    let deep = format!("a: {}{}\n", "[".repeat(200), "]".repeat(200));
    assert!(
        complaints(&deep)[0].contains("nested deeper"),
        "{:?}",
        complaints(&deep)
    );
}

#[test]
fn an_object_that_stands_twice_is_refused_with_both_places() {
    let directory = tempfile::tempdir().unwrap();
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n";
    let (a, b) = (
        directory.path().join("a.yaml"),
        directory.path().join("b.yml"),
    );
    std::fs::write(&a, text).unwrap();
    std::fs::write(&b, format!("# a comment\n---\n{text}")).unwrap();
    let diagnostics = load(&[directory.path().to_path_buf()], Options::default()).unwrap_err();
    let (a, b) = (a.display(), b.display());
    assert_eq!(
        diagnostics[0].to_string(),
        format!(
            "{b}:3: Pod/default/p: the same object stands at {a}:1 and at {b}:3; keep one of them, \
             or give one another name"
        )
    );
    assert_eq!(diagnostics.len(), 1);
}

#[test]
fn lists_documents_json_and_aliases_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "a.yaml",
        "---\n# nothing\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  \
         metadata: {name: a, labels: &l {app: \"yes\", b: no, c: !!str 1}}\n- apiVersion: v1\n  kind: Pod\n  \
         metadata: {name: b, labels: *l, creationTimestamp: null}\n  spec:\n    containers:\n    \
         - {name: c, resources: {limits: {cpu: 2, memory: 1Gi}}}\n---\n",
    );
    write(
        "deep/er/b.yml",
        "apiVersion: v1\nkind: ServiceList\nmetadata: {resourceVersion: \"1\"}\nitems:\n- metadata: \
         {name: s, namespace: n}\n",
    );
    write(
        "c.json",
        "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Node\",\n\t\"metadata\": {\"name\": \"n\", \
         \"annotations\": {\"a\": \"\\u0041\\/\"}}\n}\n",
    );
    for name in [
        ".hidden.yaml",
        "#a.yaml#",
        "a.yaml~",
        ".a.yaml.swp",
        ".d/x.yaml",
        "README.md",
    ] {
        write(name, "not: [an object");
    }
    let reads = load(&[directory.path().to_path_buf()], Options::default()).unwrap();
    let keys: Vec<String> = reads.iter().map(|read| read.key.to_string()).collect();
    assert_eq!(
        keys,
        ["Node/n", "Pod/default/a", "Pod/default/b", "Service/n/s"]
    );
    let crate::watch::Object::Pod(pod) = &reads[2].object else {
        panic!("{:?}", reads[2])
    };
    let labels = pod.metadata.labels.as_ref().unwrap();
    assert_eq!(labels["app"], "yes");
    assert_eq!(labels["b"], "no");
    assert_eq!(labels["c"], "1");
    assert_eq!(reads[2].origin.line, 10);
}

#[test]
fn other_kinds_are_passed_over_on_demand_but_slips_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m.yaml");
    let options = Options {
        ignore_other_kinds: true,
    };
    for (kind, version, read) in [
        ("Deployment", "apps/v1", true),
        ("Job", "batch/v1", true),
        ("Role", "rbac.authorization.k8s.io/v1", true),
        ("NetworkPolicy", "crd.projectcalico.org/v1", true),
        ("Service", "serving.knative.dev/v1", true),
        ("NetworkPolcy", "networking.k8s.io/v1", false),
        ("NetworkPolicy", "networking.k8s.io/v1beta1", false),
        ("NetworkPolicy", "networkin.k8s.io/v1", false),
        ("pod", "v1", false),
    ] {
        std::fs::write(&file, format!("apiVersion: {version}\nkind: {kind}\n")).unwrap();
        let result = load(std::slice::from_ref(&file), options);
        assert_eq!(result.is_ok(), read, "{version} {kind}: {result:?}");
    }
}

#[test]
fn missing_files_and_bytes_that_are_no_text_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let bytes = directory.path().join("b.yaml");
    std::fs::write(&bytes, b"a: 1\nb: \xff\n").unwrap();
    let found = load(&[missing.clone(), bytes.clone()], Options::default()).unwrap_err();
    assert!(
        found[0]
            .to_string()
            .ends_with("b.yaml:2: not UTF-8 text; save it as UTF-8")
    );
    assert!(
        found[1]
            .to_string()
            .starts_with(&format!("{}: cannot be read: ", missing.display()))
    );
    assert_eq!(Kind::ALL.len(), 11);
}
