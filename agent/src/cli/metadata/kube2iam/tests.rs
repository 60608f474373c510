use super::*;
use crate::{
    args::RoleFormat,
    compile::{self, AnnotatedPods, Options},
    index,
    watch::Options as Reading,
};

const KUBE2IAM: Broker = Broker::Kube2iam(RoleFormat::Glob);

const CLUSTER: &str = "\
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Namespace
metadata: { name: dns, annotations: { iam.amazonaws.com/permitted: 'dns-.*', iam.amazonaws.com/allowed-roles: '[\"dns-*\"]' } }
---
apiVersion: v1
kind: Namespace
metadata: { name: ci, annotations: { iam.amazonaws.com/allowed-roles: '[\"arn:aws:iam::1:role/ci-*\", \"plain\"]' } }
";

/// Namespace, name, service account, labels, role, granted at once.
const PODS: [(&str, &str, &str, &str, &str, bool); 12] = [
    (
        "shop",
        "web-1",
        "web",
        "app: web, pod-template-hash: a",
        "web",
        true,
    ),
    (
        "shop",
        "web-2",
        "web",
        "app: web, pod-template-hash: b",
        "web",
        true,
    ),
    ("shop", "db", "db", "app: db", "", false),
    // One service account, told apart by labels.
    ("shop", "job-1", "default", "app: job", "job\\n- evil", true),
    ("shop", "tool", "default", "app: tool", "", false),
    // Nothing tells them apart.
    ("shop", "twin-1", "twin", "app: twin", "twin", false),
    ("shop", "twin-2", "twin", "app: twin", "", false),
    ("dns", "dns-1", "default", "app: dns", "dns-writer", true),
    ("dns", "dns-2", "default", "app: other", "admin", false),
    (
        "ci",
        "ci-1",
        "a",
        "app: a",
        "arn:aws:iam::1:role/ci-reader",
        true,
    ),
    ("ci", "ci-2", "b", "app: b", "plain", true),
    ("ci", "ci-3", "c", "app: c", "root", false),
];

fn cluster() -> String {
    let pod = |(namespace, name, account, labels, role, _): &(
        &str,
        &str,
        &str,
        &str,
        &str,
        bool,
    )| {
        let annotations = match *role {
            "" => String::new(),
            role => format!(", annotations: {{ iam.amazonaws.com/role: \"{role}\" }}"),
        };
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: {namespace}, labels: {{ {labels} }}{annotations} }}\n\
             spec: {{ serviceAccountName: {account}, containers: [] }}\n"
        )
    };
    CLUSTER.to_owned() + &PODS.iter().map(pod).collect::<String>()
}

fn read(texts: &[&str]) -> (Snapshot, Details) {
    let directory = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let path = directory.path().join(format!("{at}.yaml"));
        std::fs::write(&path, text).unwrap();
        paths.push(path);
    }
    index::load_with_details(&paths, Reading::default()).unwrap()
}

/// Pods that may reach `imds`, where no annotation counts by itself.
fn granted(snapshot: &Snapshot) -> Vec<String> {
    let options = Options {
        annotated_pods: AnnotatedPods::None,
        ..Options::default()
    };
    let (desired, diagnostics) = compile::compile(&compile::as_if_local(snapshot), &options);
    assert_eq!(diagnostics, []);
    let granted = desired
        .endpoints
        .iter()
        .filter(|(_, endpoint)| endpoint.metadata.reach.contains("imds"));
    granted.map(|(key, _)| key.to_string()).collect()
}

#[test]
fn what_is_printed_grants_those_pods_and_no_others() {
    let cluster = cluster();
    let (snapshot, details) = read(&[&cluster]);
    let printed = report(&snapshot, &details, &["imds".to_owned()], KUBE2IAM).unwrap();
    let (snapshot, _) = read(&[&cluster, &printed]);
    let mut expect: Vec<String> = PODS
        .iter()
        .filter(|pod| pod.5)
        .map(|(namespace, name, ..)| format!("{namespace}/{name}"))
        .collect();
    expect.sort();
    assert_eq!(granted(&snapshot), expect, "{printed}");
    assert!(
        printed.contains(
            "# left out: pod dns-2: kube2iam gives it nothing: iam.amazonaws.com/allowed-roles of its namespace does not list role admin\n"
        ),
        "{printed}"
    );
    // Whom nothing tells from others asks, and only he.
    let asking = cluster.replace(
        "iam.amazonaws.com/role: \"twin\"",
        "metadata.ringfence.dev/access: kube2iam-shop.asking",
    );
    let (snapshot, _) = read(&[&asking, &printed]);
    expect.push("shop/twin-1".to_owned());
    expect.sort();
    assert_eq!(granted(&snapshot), expect);
}

#[test]
fn many_service_accounts_take_several_objects() {
    let mut text = String::from("apiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n");
    for at in 0..70 {
        text.push_str(&format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: p{at}, namespace: a, annotations: {{ iam.amazonaws.com/role: r }} }}\n\
             spec: {{ serviceAccountName: s{at}, containers: [] }}\n"
        ));
    }
    let (snapshot, details) = read(&[&text]);
    let printed = report(&snapshot, &details, &["imds".to_owned()], KUBE2IAM).unwrap();
    let (snapshot, _) = read(&[&text, &printed]);
    assert_eq!(snapshot.grants.len(), 3);
    assert_eq!(granted(&snapshot).len(), 70);
}

#[test]
fn nobody_served_is_said() {
    let (snapshot, details) = read(&[CLUSTER]);
    let printed = report(&snapshot, &details, &[], KUBE2IAM).unwrap();
    assert!(
        printed.lines().all(|line| line.starts_with('#')),
        "{printed}"
    );
    assert!(printed.contains("No pod"));
}

#[test]
fn kiam_serves_nobody_whose_namespace_does_not_permit_his_role() {
    let cluster = cluster();
    let (snapshot, details) = read(&[&cluster]);
    let printed = report(&snapshot, &details, &["imds".to_owned()], Broker::Kiam).unwrap();
    let (after, _) = read(&[&cluster, &printed]);
    assert_eq!(granted(&after), ["dns/dns-1"], "{printed}");
    for says in [
        "# left out: pod dns-2: kiam gives it nothing: iam.amazonaws.com/permitted of its namespace does not match role admin\n",
        "# left out: pod web-1: kiam gives it nothing: its namespace has no iam.amazonaws.com/permitted, without which kiam permits no role\n",
        "name: kiam-dns\n",
    ] {
        assert!(printed.contains(says), "{says}{printed}");
    }
}
