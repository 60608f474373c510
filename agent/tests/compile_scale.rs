//! The compiler on a large cluster: work is shared, so it ends in seconds even without optimisation.
#![expect(
    clippy::unwrap_used,
    reason = "what the tests write themselves is right"
)]

use std::{collections::BTreeSet, time::Instant};

use ringfence_agent::{
    compile::{Options, as_if_local, compile},
    model::{
        ContainerPort, Enforcement, IpBlock, Labels, Operator, Origin, Peer, Phase, Pod, PodKey,
        Policy, PolicyKey, PortSpec, Ports, Protocol, Requirement, Rule, Selector, Snapshot,
    },
};

const NAMESPACES: u16 = 100;
const PODS: u16 = 100;
const POLICIES: u16 = 10;
const APPS: u16 = 10;

fn selector(key: &str, value: &str) -> Selector {
    let operator = Operator::In([value.to_owned()].into());
    Selector {
        requirements: [Requirement {
            key: key.to_owned(),
            operator,
        }]
        .into(),
    }
}

/// 100 namespaces of 100 pods and 10 policies each; every tenth policy's peers are pods of another namespace.
fn cluster() -> Snapshot {
    let mut snapshot = Snapshot::default();
    for namespace in 0..NAMESPACES {
        let name = |of: u16| format!("team-{}", of % NAMESPACES);
        for pod in 0..PODS {
            let [high, low] = (namespace * PODS + pod).to_be_bytes();
            let key = PodKey {
                namespace: name(namespace),
                name: format!("pod-{pod}"),
            };
            let app = format!("app-{}", pod % APPS);
            let http = ContainerPort {
                name: Some("http".into()),
                port: 8000 + pod % 3,
                protocol: Protocol::Tcp,
                host_port: None,
            };
            let pod = Pod {
                labels: Labels::from([
                    ("app".to_owned(), app),
                    ("pod".to_owned(), format!("{pod}")),
                ]),
                addresses: vec![
                    [10, 0, high, low].into(),
                    format!("fd00::{high:x}{low:02x}").parse().unwrap(),
                ],
                ports: [http].into(),
                phase: Phase::Running,
                key: key.clone(),
                ..Pod::default()
            };
            snapshot.pods.insert(key, pod);
        }
        for policy in 0..POLICIES {
            let key = PolicyKey {
                namespace: name(namespace),
                name: format!("policy-{policy}"),
            };
            let app = |of: u16| selector("app", &format!("app-{}", of % APPS));
            let octet = u8::try_from(policy).unwrap();
            let peers = vec![
                Peer::Pods {
                    namespaces: None,
                    pods: app(policy + 1),
                },
                Peer::Pods {
                    namespaces: Some(selector(
                        "kubernetes.io/metadata.name",
                        &name(namespace + 1),
                    )),
                    pods: app(policy + 2),
                },
                Peer::Block(IpBlock {
                    cidr: format!("192.168.{octet}.0/24").parse().unwrap(),
                    except: vec![],
                }),
            ];
            let ports = Ports::Of(vec![
                PortSpec::Range(Protocol::Tcp, 1000 + policy, 2000 + policy),
                PortSpec::Named(Protocol::Tcp, "http".into()),
            ]);
            let rules = vec![Rule {
                peers: Some(peers),
                ports,
            }];
            let policy = Policy {
                subject: app(policy),
                ingress: Some(rules.clone()),
                egress: Some(rules),
                enforcement: Enforcement::Enforce,
                origin: Origin::default(),
                key: key.clone(),
            };
            snapshot.policies.insert(key, policy);
        }
    }
    snapshot
}

#[test]
fn ten_thousand_pods_and_a_thousand_policies() {
    let everywhere = as_if_local(&cluster());
    for local in [100, usize::MAX] {
        let local = everywhere
            .local
            .iter()
            .take(local)
            .map(|(key, at)| (key.clone(), at.clone()))
            .collect();
        let snapshot = Snapshot {
            local,
            ..everywhere.clone()
        };
        let start = Instant::now();
        let (desired, diagnostics) = compile(&snapshot, &Options::default());
        println!(
            "{} endpoints: {} signatures, {} tables, {:?}",
            desired.endpoints.len(),
            desired.signatures.len(),
            desired.tables.len(),
            start.elapsed()
        );
        assert_eq!(diagnostics, []);
        assert_eq!(desired.endpoints.len(), snapshot.local.len());
        assert_eq!(desired.addresses.len(), 20_000 + usize::from(POLICIES));
        let groups = snapshot
            .local
            .keys()
            .map(|it| &it.namespace)
            .collect::<BTreeSet<_>>()
            .len()
            * usize::from(APPS);
        // One for egress; for ingress one for each number that the named port has among its pods.
        assert_eq!(desired.tables.len(), groups * 4);
    }
}
