use super::*;
use crate::model::{
    Expiry, MetadataEndpoint, MetadataFirewall, NamedPods, Namespace, Operator, Origin, Requirement,
};

fn platform() -> Selector {
    Selector {
        requirements: [Requirement {
            key: "platform".into(),
            operator: Operator::Exists,
        }]
        .into(),
    }
}

/// A snapshot with a namespace `dns` of the platform.
fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot::default();
    let namespace = Namespace {
        name: "dns".into(),
        labels: Labels::from([("platform".into(), "yes".into())]),
        ..Namespace::default()
    };
    snapshot.namespaces.insert("dns".into(), namespace);
    snapshot
}

fn pod(namespace: &str, annotation: &str, value: &str) -> Pod {
    Pod {
        key: PodKey {
            namespace: namespace.into(),
            name: "a".into(),
        },
        metadata_requests: Labels::from([(annotation.into(), value.into())]),
        ..Pod::default()
    }
}

fn of(pod: &Pod, snapshot: &Snapshot, options: &Options) -> Access {
    access(pod, snapshot, &Metadata::of(snapshot), options)
}

fn names(set: &BTreeSet<Arc<str>>) -> Vec<&str> {
    set.iter().map(|name| &**name).collect()
}

fn grant(name: &str) -> MetadataAccess {
    MetadataAccess {
        name: name.into(),
        endpoints: None,
        subjects: vec![Workloads::default()],
        annotation_required: false,
        expiry: Expiry::default(),
        origin: Origin::default(),
    }
}

#[test]
fn an_annotation_grants_only_where_it_counts() {
    let platform = AnnotatedPods::Namespaces(platform());
    let all = AnnotatedPods::All;
    for (namespace, annotation, value, annotated_pods, iam_role_annotation, expect) in [
        ("shop", ACCESS, "true", &all, false, true),
        ("shop", ACCESS, "external-dns", &all, false, true),
        ("shop", ACCESS, "false", &all, false, false),
        ("shop", ACCESS, " ", &all, false, false),
        ("shop", ACCESS, "true", &AnnotatedPods::None, true, false),
        ("shop", ACCESS, "true", &platform, false, false),
        ("dns", ACCESS, "true", &platform, false, true),
        ("shop", IAM_ROLE, "reader", &all, false, false),
        ("shop", IAM_ROLE, "reader", &all, true, true),
        ("shop", IAM_ROLE, "reader", &platform, true, false),
        ("shop", "other", "true", &all, true, false),
    ] {
        let options = Options {
            annotated_pods: annotated_pods.clone(),
            iam_role_annotation,
            ..Options::default()
        };
        let found = of(&pod(namespace, annotation, value), &snapshot(), &options);
        assert_eq!(
            !found.is_empty(),
            expect,
            "{namespace} {annotation} {value} {options:?}"
        );
    }
}

#[test]
fn the_firewall_says_what_an_annotation_is_worth_before_the_agent_does() {
    for (annotated, agent, dns, shop) in [
        (None, AnnotatedPods::All, true, true),
        (None, AnnotatedPods::None, false, false),
        (
            Some(Annotated::RequestOnly),
            AnnotatedPods::All,
            false,
            false,
        ),
        (
            Some(Annotated::Granted(platform())),
            AnnotatedPods::None,
            true,
            false,
        ),
        (
            Some(Annotated::Granted(Selector::default())),
            AnnotatedPods::None,
            true,
            true,
        ),
    ] {
        let mut snapshot = snapshot();
        let firewall = MetadataFirewall {
            annotated: annotated.clone(),
            ..MetadataFirewall::default()
        };
        snapshot.firewalls.insert("default".into(), firewall);
        let options = Options {
            annotated_pods: agent.clone(),
            ..Options::default()
        };
        for (namespace, expect) in [("dns", dns), ("shop", shop)] {
            let found = of(&pod(namespace, ACCESS, "true"), &snapshot, &options);
            assert_eq!(
                !found.is_empty(),
                expect,
                "{namespace} {annotated:?} {agent:?}"
            );
        }
    }
}

#[test]
fn a_grant_is_for_whom_it_names_until_it_ends() {
    let asked = MetadataAccess {
        subjects: vec![Workloads {
            accounts: ["dns".to_owned()].into(),
            ..Workloads::default()
        }],
        annotation_required: true,
        expiry: Expiry(Some(100)),
        ..grant("dns")
    };
    let open = MetadataAccess {
        name: "open".into(),
        annotation_required: false,
        ..asked.clone()
    };
    for (grant, account, asks, past, expect) in [
        (&asked, "dns", "dns", 99, true),
        (&asked, "dns", "dns", 100, false),
        (&asked, "dns", "other", 0, false),
        (&asked, "other", "dns", 0, false),
        (&open, "dns", "", 0, true),
        (&open, "other", "", 0, false),
    ] {
        let mut snapshot = Snapshot {
            past,
            ..Snapshot::default()
        };
        snapshot.grants.insert(grant.name.clone(), grant.clone());
        let pod = Pod {
            service_account: account.into(),
            ..pod("shop", ACCESS, asks)
        };
        let options = Options {
            annotated_pods: AnnotatedPods::None,
            ..Options::default()
        };
        let found = of(&pod, &snapshot, &options);
        assert_eq!(
            !found.is_empty(),
            expect,
            "{} {account} {asks} {past}",
            grant.name
        );
    }
}

#[test]
fn a_grant_opens_what_it_names_and_a_proxy_only_itself() {
    let mut snapshot = snapshot();
    let proxy = MetadataEndpoint {
        kind: EndpointKind::Proxy(["imds".into()].into()),
        ports: Some([(crate::model::Protocol::Tcp, 8181)].into()),
        ..MetadataEndpoint::default()
    };
    let firewall = MetadataFirewall {
        endpoints: [("kube2iam".into(), proxy)].into(),
        ..MetadataFirewall::default()
    };
    snapshot.firewalls.insert("default".into(), firewall);
    let options = Options {
        annotated_pods: AnnotatedPods::None,
        ..Options::default()
    };
    for (endpoints, reach, ask) in [
        (vec!["imds"], vec!["imds"], vec!["imds"]),
        (vec!["kube2iam"], vec!["kube2iam"], vec!["imds", "kube2iam"]),
        (vec!["imds", "no-such"], vec!["imds"], vec!["imds"]),
        (vec!["no-such"], vec![], vec![]),
    ] {
        let endpoints = endpoints.into_iter().map(Into::into).collect();
        let grant = MetadataAccess {
            endpoints: Some(endpoints),
            ..grant("g")
        };
        snapshot.grants.insert("g".into(), grant);
        let found = of(&pod("shop", "other", ""), &snapshot, &options);
        assert_eq!((names(&found.reach), names(&found.ask)), (reach, ask));
    }
    snapshot.grants.insert("g".into(), grant("g"));
    let found = of(&pod("shop", "other", ""), &snapshot, &options);
    assert_eq!(found.reach, found.ask);
    assert!(found.reach.contains("kube2iam") && found.reach.contains("ecs-task"));
}

#[test]
fn pods_of_the_nodes_network_have_what_the_firewall_says_and_what_grants_name() {
    let mut snapshot = snapshot();
    let options = Options {
        annotated_pods: AnnotatedPods::None,
        ..Options::default()
    };
    let host = Pod {
        host_network: true,
        ..pod("kube-system", "other", "")
    };
    assert!(of(&host, &snapshot, &options).is_empty());
    let firewall = MetadataFirewall {
        host_network_granted: true,
        ..MetadataFirewall::default()
    };
    snapshot.firewalls.insert("default".into(), firewall);
    assert_eq!(of(&host, &snapshot, &options).reach.len(), 4);
    assert!(of(&pod("kube-system", "other", ""), &snapshot, &options).is_empty());
    let [only] = &grants_of(&host, &snapshot, &Metadata::of(&snapshot), &options)[..] else {
        panic!("one");
    };
    assert_eq!(only.by, Grantor::HostNetwork);
}

#[test]
fn exceptions_turn_what_the_nodes_network_is_worth_round_for_the_pods_that_they_name() {
    let exception = |name: &str, namespaces, pods| NamedPods {
        name: name.into(),
        namespaces,
        pods,
    };
    let firewall = |host_network_granted| MetadataFirewall {
        host_network_granted,
        host_network_exceptions: vec![
            exception("platform", platform(), Selector::default()),
            exception("named", Selector::default(), platform()),
        ],
        ..MetadataFirewall::default()
    };
    let options = Options {
        annotated_pods: AnnotatedPods::None,
        ..Options::default()
    };
    for (namespace, labelled, host_network, by) in [
        ("dns", false, true, Some("platform")),
        ("shop", true, true, Some("named")),
        ("shop", false, true, None),
        // A network of its own: neither the field nor its exceptions are about it.
        ("dns", true, false, Some("")),
    ] {
        let mut pod = Pod {
            host_network,
            ..pod(namespace, "other", "")
        };
        if labelled {
            pod.labels = Labels::from([("platform".into(), "yes".into())]);
        }
        for allow in [false, true] {
            let mut snapshot = snapshot();
            snapshot.firewalls.insert("default".into(), firewall(allow));
            let found = grants_of(&pod, &snapshot, &Metadata::of(&snapshot), &options);
            let found: Vec<Grantor> = found.into_iter().map(|it| it.by).collect();
            let expect = match (by, allow) {
                (Some(""), _) | (Some(_), true) | (None, false) => vec![],
                (Some(name), false) => vec![Grantor::HostNetworkException(name.into())],
                (None, true) => vec![Grantor::HostNetwork],
            };
            assert_eq!(
                found, expect,
                "{namespace} {labelled} {host_network} {allow}"
            );
            // A grant by name is beside all that.
            snapshot.grants.insert("g".into(), grant("g"));
            assert_eq!(of(&pod, &snapshot, &options).reach.len(), 4);
        }
    }
}

#[test]
fn the_agents_own_pod_has_everything_and_no_other_pod_by_its_name() {
    let options = Options {
        annotated_pods: AnnotatedPods::None,
        agent: Some(pod("dns", "", "").key),
        ..Options::default()
    };
    for (namespace, host_network, expect) in
        [("dns", true, 4), ("dns", false, 4), ("shop", true, 0)]
    {
        let pod = Pod {
            host_network,
            ..pod(namespace, "other", "")
        };
        let found = of(&pod, &snapshot(), &options);
        assert_eq!(found.reach.len(), expect, "{namespace} {host_network}");
    }
}
