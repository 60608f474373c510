use super::*;
use crate::{
    admin::metadata::{MetadataEndpoint, MetadataGrant, MetadataPod},
    compile::{self, AnnotatedPods, Options, grants_of},
    index,
    watch::Options as Reading,
};

/// Namespace, name, service account, labels.
const PODS: [(&str, &str, &str, &str); 7] = [
    ("shop", "web-1", "default", "app: web, pod-template-hash: a"),
    ("shop", "web-2", "default", "app: web, pod-template-hash: b"),
    ("shop", "db", "default", "app: db"),
    ("dns", "dns-0", "dns", "app: dns"),
    ("ci", "job", "ci", "app: job"),
    ("ci", "other", "ci", "app: job, more: it"),
    ("idle", "never", "never", ""),
];

fn tried(endpoint: Option<&str>, times: u64) -> MetadataTried {
    MetadataTried {
        endpoint: endpoint.map(str::to_owned),
        address: [169, 254, 169, 254].into(),
        times,
        last: "2026-11-22T03:04:05.000000Z".to_owned(),
        hook: "from_pod".to_owned(),
    }
}

/// Pods that have reached an endpoint.
fn metadata(reached: &[(&str, Option<&str>)]) -> Metadata {
    let mut metadata = Metadata {
        audited: true,
        endpoints: ["imds", "ecs-task"]
            .map(|name| MetadataEndpoint {
                name: name.to_owned(),
                stands_for: Vec::new(),
                addresses: Vec::new(),
            })
            .into(),
        ..Metadata::default()
    };
    for (namespace, name, account, labels) in PODS {
        let labels = labels.split(", ").filter_map(|it| it.split_once(": "));
        let neighbour = MetadataNeighbour {
            name: name.to_owned(),
            service_account: account.to_owned(),
            labels: labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        };
        let list = metadata.namespaces.entry(namespace.to_owned());
        list.or_default().push(neighbour);
    }
    for (pod, endpoint) in reached {
        metadata.pods.push(MetadataPod {
            pod: (*pod).to_owned(),
            reached: vec![tried(*endpoint, 3)],
            ..MetadataPod::default()
        });
    }
    metadata
}

/// The pods that these grants are for, of all.
fn granted(text: &str) -> Vec<String> {
    let mut all = String::new();
    for (namespace, name, account, labels) in PODS {
        all += &format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {namespace}, labels: {{ kubernetes.io/metadata.name: {namespace} }} }}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: {namespace}, labels: {{ {labels} }} }}\n\
             spec: {{ serviceAccountName: {account}, containers: [ {{ name: c }} ] }}\nstatus: {{ phase: Running }}\n---\n"
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let (pods, grants) = (
        directory.path().join("a.yaml"),
        directory.path().join("b.yaml"),
    );
    // A namespace is there once.
    let mut seen = BTreeSet::new();
    let once = all.split("---\n").filter(|it| seen.insert(*it));
    std::fs::write(&pods, once.collect::<Vec<_>>().join("---\n")).unwrap();
    std::fs::write(&grants, text).unwrap();
    let snapshot = index::load(&[pods, grants], Reading::default()).unwrap();
    let options = Options {
        annotated_pods: AnnotatedPods::None,
        ..Options::default()
    };
    let denied = compile::Metadata::of(&snapshot);
    let has = |pod: &&Pod| !grants_of(pod, &snapshot, &denied, &options).is_empty();
    let pods = snapshot.pods.values().filter(has);
    pods.map(|pod| pod.key.to_string()).collect()
}

#[test]
fn what_is_printed_grants_who_has_reached_it_with_his_replicas_and_nobody_else() {
    let metadata = metadata(&[("shop/web-1", Some("imds")), ("dns/dns-0", Some("imds"))]);
    let text = report(&metadata, &[]).unwrap();
    assert_eq!(granted(&text), ["dns/dns-0", "shop/web-1", "shop/web-2"]);
    assert!(text.contains("# pod web-2, service account default: has not reached it itself"));
    assert!(text.contains("# pod web-1, service account default: 3 times, last at 2026-"));
    assert!(text.contains("name: audit-shop.imds\n"), "{text}");
    // Only what was asked for.
    let text = report(&metadata, &["ecs-task".to_owned()]).unwrap();
    assert_eq!(granted(&text), Vec::<String>::new());
    assert!(text.contains("# No pod without a grant has reached it."));
}

#[test]
fn who_cannot_be_told_from_others_must_ask_and_who_is_gone_or_unknown_is_named() {
    let metadata = metadata(&[
        ("10.0.0.7", Some("imds")),
        ("ci/job", Some("imds")),
        ("ci/gone", Some("imds")),
        ("shop/db", None),
    ]);
    let text = report(&metadata, &[]).unwrap();
    assert_eq!(granted(&text), Vec::<String>::new(), "none without asking");
    for line in [
        "# metadata.ringfence.dev/access: audit-ci.imds.asking\n",
        "podAnnotation: Required",
        "# left out: pod gone (3 times, last at",
        "# left out: 10.0.0.7, which has reached imds and is no pod that is known",
        "# left out: shop/db: 169.254.169.254 is no metadata endpoint any more",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn who_has_a_grant_by_now_needs_none() {
    let mut metadata = metadata(&[("dns/dns-0", Some("imds"))]);
    metadata.pods[0].grants = vec![MetadataGrant {
        by: "MetadataAccess/dns".to_owned(),
        endpoints: vec!["imds".to_owned()],
        expires: None,
    }];
    metadata.forgotten = 2;
    let text = report(&metadata, &[]).unwrap();
    assert_eq!(granted(&text), Vec::<String>::new());
    assert!(text.contains("# Incomplete: 2 that reached it are forgotten"));
}
