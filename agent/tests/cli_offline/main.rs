//! The built binary, without an agent: what it prints, where, and how it exits.
#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod endpoints;
mod hostile;
mod lint;
mod metadata;
mod services;

use std::{
    fs,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

const MANIFESTS: &str = "\
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Namespace
metadata: { name: db }
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { containers: [ { name: main, ports: [ { containerPort: 443 } ] } ] }
status: { podIPs: [ { ip: 10.0.0.7 }, { ip: 'fd00::7' } ] }
---
apiVersion: v1
kind: Pod
metadata: { name: mysql-0, namespace: db, labels: { app: mysql } }
spec: { containers: [ { name: main, ports: [ { name: mysql, containerPort: 3306 } ] } ] }
status: { podIPs: [ { ip: 10.0.0.9 }, { ip: 'fd00::9' } ] }
---
apiVersion: v1
kind: Service
metadata: { name: mysql, namespace: db }
spec: { selector: { app: mysql }, clusterIP: 10.96.0.9, ports: [ { name: sql, port: 33060, targetPort: mysql } ] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: mysql, namespace: db }
spec:
  podSelector: { matchLabels: { app: mysql } }
  ingress:
  - from: [ { namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: shop } } } ]
    ports: [ { port: 3306 } ]
";

fn ringfence(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command
        .args(words)
        .env_remove("RINGFENCE_RUN_DIR")
        .env("COLUMNS", "120");
    command
}

/// Standard output, standard error and exit code, with the directory's name taken out.
fn told(directory: &Path, words: &[&str]) -> (String, String, i32) {
    let Output {
        status,
        stdout,
        stderr,
    } = ringfence(words).current_dir(directory).output().unwrap();
    (
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
        status.code().unwrap(),
    )
}

fn manifests() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("all.yaml"), MANIFESTS).unwrap();
    directory
}

#[test]
fn can_says_who_decides_on_either_side_and_where_that_is_written() {
    let directory = manifests();
    let can = |words: &[&str]| {
        told(
            directory.path(),
            &[&["can"], words, &["-f", "all.yaml"]].concat(),
        )
    };

    let (out, err, code) = can(&["shop/web", "svc/db/mysql", "sql"]);
    insta::assert_snapshot!(out, @r"
    ALLOWED  shop/web -> svc/db/mysql sql
     IPv4 db/mysql-0 3306/tcp
      egress    allow  no policy selects pod shop/web for egress
      ingress   allow  NetworkPolicy/db/mysql ingress[0]  (all.yaml:26)
    ");
    assert_eq!((err.as_str(), code), ("", 0));

    let (out, _, code) = can(&["ip/10.0.0.7", "10.0.0.9", "22"]);
    insta::assert_snapshot!(out, @r"
    DENIED  10.0.0.7 -> 10.0.0.9 22/tcp
      egress    allow  no policy selects pod shop/web for egress
      ingress   deny   NetworkPolicy/db/mysql ingress: no rule matches; on other ports: NetworkPolicy/db/mysql ingress[0]  (all.yaml:26)
    ");
    assert_eq!(code, 1);

    let (out, _, code) = can(&["shop/web", "::ffff:169.254.169.254", "80", "-o", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (answer["apiVersion"].as_str(), answer["kind"].as_str()),
        (Some("cli.ringfence.dev/v1"), Some("Answer"))
    );
    assert_eq!(
        (
            answer["allowed"].as_bool(),
            answer["flows"][0]["metadata"]["verdict"].as_str()
        ),
        (Some(false), Some("deny"))
    );
    assert_eq!(code, 1);
}

#[test]
fn an_error_says_what_where_and_what_next() {
    let directory = manifests();
    fs::write(
        directory.path().join("bad.yaml"),
        MANIFESTS.replace("  ingress:", "  ingres:"),
    )
    .unwrap();
    let fails = |words: &[&str]| {
        let (out, err, code) = told(directory.path(), words);
        assert_eq!((out.as_str(), code), ("", 2), "{words:?}: {err}");
        err
    };
    insta::assert_snapshot!(fails(&["matrix", "-f", "bad.yaml"]), @r"
    error: unknown field `ingres`; did you mean `ingress`? (allowed here: egress, ingress, podSelector, policyTypes)
      bad.yaml:31: NetworkPolicy/db/mysql: spec.ingres
           |
        31 |   ingres:
           |   ^^^^^^
    ");
    insta::assert_snapshot!(fails(&["can", "shop/mysql-0", "10.0.0.9", "1", "-f", "all.yaml"]), @r"
    error: there is no pod shop/mysql-0 in the manifests
      help: did you mean db/mysql-0?
    ");
    insta::assert_snapshot!(fails(&["can", "shop/web", "zone/a/b", "1", "-f", "all.yaml"]), @r#"
    error: there are no endpoints of kind "zone"
      zone/a/b
      help: write pod/NAMESPACE/NAME, NAMESPACE/NAME, svc/NAMESPACE/NAME, ip/ADDRESS or an address
    "#);
    insta::assert_snapshot!(fails(&["can", "shop/web", "svc/db/mysql", "3306", "-f", "all.yaml"]), @"
    error: Service/db/mysql has no port 3306/TCP, it has 33060/TCP
    ");
    insta::assert_snapshot!(fails(&["matrix", "--outside", "x=10.0.0", "-f", "all.yaml"]), @r#"
    error: "10.0.0" is no address
      --outside x=10.0.0
      help: write NAME=ADDRESS, as in internet=203.0.113.7
    "#);
    assert!(fails(&["can", "a/b", "c/d"]).starts_with("error: the following required arguments"));
    assert!(fails(&["matrix", "-f", "none.yaml"]).contains("none.yaml"));
    let nowhere = directory.path().join("nowhere");
    insta::assert_snapshot!(fails(&["status", "--run-dir", nowhere.to_str().unwrap()]).replace(nowhere.to_str().unwrap(), "DIR"), @"
    error: no agent runs here
      DIR/agent.sock
      help: start `ringfence agent` or `ringfence lab up`, or name its directory with --run-dir
    ");
    insta::assert_snapshot!(fails(&["agent", "--manifests", ".", "--http", "nonsense"]), @r#"
    error: "nonsense" is no address and port: invalid socket address syntax
      --http nonsense
      help: write it as 127.0.0.1:9765, [::1]:9765, or off
    "#);
    insta::assert_snapshot!(fails(&["agent", "--manifests", ".", "--netns", "rf-there-is-none"]), @"
    error: there is no network namespace /run/netns/rf-there-is-none yet
      --netns rf-there-is-none
      help: `ip netns list` shows those with a name; entering one needs root
    ");
}

#[test]
fn a_matrix_has_a_table_for_each_family() {
    let directory = manifests();
    let (out, _, code) = told(
        directory.path(),
        &["matrix", "--outside", "net=192.0.2.1", "-f", "all.yaml"],
    );
    insta::assert_snapshot!(out, @r"
    IPv4: FROM \ TO  db/mysql-0  shop/web
                     3306/tcp    443/tcp
    db/mysql-0       allow       allow
    shop/web         allow       allow
    net              ·           allow

    IPv6: FROM \ TO  db/mysql-0  shop/web
                     3306/tcp    443/tcp
    db/mysql-0       allow       allow
    shop/web         allow       allow
    net              -           -
    ");
    assert_eq!(code, 0);
    let words = [
        "matrix",
        "--outside",
        "net=192.0.2.1",
        "--port",
        "53/udp",
        "-o",
        "json",
        "-f",
        "all.yaml",
    ];
    let (out, _, _) = told(directory.path(), &words);
    let matrix: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(matrix["kind"], "Matrix");
    let cells = matrix["items"].as_array().unwrap();
    // Two pods in two families with each other and themselves, and with the address in one family both ways.
    assert_eq!(cells.len(), 2 * 2 * 2 + 2 * 2);
    assert!(cells.iter().all(|cell| cell["port"] == "53/udp"));
}

#[test]
fn manifests_may_come_through_standard_input() {
    let mut child = ringfence(&["can", "shop/web", "db/mysql-0", "3306", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(MANIFESTS.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("(-:26)"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for words in [&["completion", "bash"][..], &["version"]] {
        let mut child = ringfence(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{words:?}");
        // The verb may have been faster than the test.
        assert!(
            matches!(output.status.code(), Some(0 | 141)),
            "{words:?}: {:?}",
            output.status
        );
    }
}

#[test]
fn what_is_generated_is_complete() {
    let directory = tempfile::tempdir().unwrap();
    let (out, _, code) = told(directory.path(), &["man", "pages"]);
    assert_eq!((out.as_str(), code), ("", 0));
    for page in [
        "ringfence.1",
        "ringfence-can.1",
        "ringfence-ct-flush.1",
        "ringfence-agent.1",
    ] {
        assert!(directory.path().join("pages").join(page).exists(), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let (out, _, code) = told(directory.path(), &["completion", shell]);
        assert!(code == 0 && out.contains("endpoints"), "{shell}");
    }
    let (out, _, _) = told(directory.path(), &["version", "-o", "json"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["version"],
        env!("CARGO_PKG_VERSION")
    );
}

#[test]
fn the_same_binary_is_a_kubectl_plugin() {
    let output = ringfence(&["can", "--help"])
        .arg0("/usr/local/bin/kubectl-ringfence")
        .output()
        .unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Usage: kubectl ringfence can"), "{help}");
    assert!(
        help.contains("Exit codes: 0 allowed, 1 denied, 2 error"),
        "{help}"
    );
}

#[test]
fn what_the_container_network_enforces_is_passed_over() {
    let directory = manifests();
    let can = |more: &[&str]| {
        let words = ["can", "10.0.0.7", "10.0.0.9", "22", "-f", "all.yaml"];
        let (_, err, code) = told(directory.path(), &[&words, more].concat());
        assert_eq!(err, "");
        code
    };
    assert_eq!(can(&[]), 1);
    assert_eq!(can(&["--network-policy", "on"]), 1);
    assert_eq!(can(&["--network-policy", "off"]), 0);
    let matrix = |mode| {
        let words = [
            "matrix",
            "-f",
            "all.yaml",
            "--port",
            "22",
            "--network-policy",
            mode,
        ];
        told(directory.path(), &words).0
    };
    assert_ne!(matrix("on"), matrix("off"));

    let policy = "\
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: { name: all }
spec: { tier: Admin, priority: 1, subject: { namespaces: {} }, ingress: [ { action: Deny, from: [ { namespaces: {} } ] } ] }
";
    fs::write(directory.path().join("cluster.yaml"), policy).unwrap();
    let words = [
        "can",
        "shop/web",
        "db/mysql-0",
        "22",
        "-f",
        ".",
        "--network-policy",
        "off",
    ];
    let (_, err, code) = told(directory.path(), &words);
    assert!(err.contains("NetworkPolicyOwnedByCNI"), "{err}");
    assert_eq!(code, 0);
}
