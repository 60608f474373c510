//! What `NetworkPolicy` means, case by case, each with something that is allowed and something that is not.
#![expect(
    clippy::unwrap_used,
    reason = "what the tests write themselves is right"
)]

mod answers;
mod encapsulation;
mod names;
mod overlaps;
mod owned;
mod peers;
mod pods;
mod ports;
mod tiers;
mod zoned;
mod zones;

use std::{collections::BTreeSet, net::IpAddr};

use ringfence_agent::{
    compile::{
        self, Answer, Asker, Family, Options, Party, Question, as_if_local, compile,
        resolve_service,
    },
    model::{
        ContainerPort, Diagnostic, Enforcement, IpBlock, Labels, Located, Namespace, Node, Objects,
        Operator, Origin, Peer, Phase, Pod, PodKey, Policy, PolicyKey, PortSpec, Ports, Protocol,
        Requirement, Rule, Selector, Service, ServicePort, Snapshot, TargetPort,
    },
};
use ringfence_common::{
    Direction,
    cell::{Tier, Verdict},
};

type Port = Option<(Protocol, u16)>;

const TCP: Protocol = Protocol::Tcp;
const HTTP: Port = Some((TCP, 80));

fn key(name: &str) -> PodKey {
    let (namespace, name) = name.split_once('/').unwrap();
    PodKey {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// A pod `namespace/name` with label `app=name`.
fn pod(name: &str, addresses: &[&str]) -> Pod {
    let key = key(name);
    Pod {
        labels: Labels::from([("app".to_owned(), key.name.clone())]),
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        phase: Phase::Running,
        key,
        ..Pod::default()
    }
}

fn with_ports(mut pod: Pod, ports: &[(&str, u16)]) -> Pod {
    pod.ports = ports
        .iter()
        .map(|&(name, port)| ContainerPort {
            name: Some(name.to_owned()),
            port,
            protocol: TCP,
            host_port: None,
        })
        .collect();
    pod
}

fn app(names: &[&str]) -> Selector {
    let values = names.iter().map(|&it| it.to_owned()).collect();
    only("app", Operator::In(values))
}

fn only(key: &str, operator: Operator) -> Selector {
    Selector {
        requirements: [Requirement {
            key: key.to_owned(),
            operator,
        }]
        .into(),
    }
}

fn pods(names: &[&str]) -> Peer {
    Peer::Pods {
        namespaces: None,
        pods: app(names),
    }
}

fn block(cidr: &str, except: &[&str]) -> Peer {
    let except = except.iter().map(|it| it.parse().unwrap()).collect();
    Peer::Block(IpBlock {
        cidr: cidr.parse().unwrap(),
        except,
    })
}

fn rule(peers: Option<Vec<Peer>>, ports: Ports) -> Rule {
    Rule { peers, ports }
}

fn tcp(first: u16, last: u16) -> Ports {
    Ports::Of(vec![PortSpec::Range(TCP, first, last)])
}

fn named(name: &str) -> Ports {
    Ports::Of(vec![PortSpec::Named(TCP, name.to_owned())])
}

/// A policy `namespace/name` about these pods (none named: all).
fn policy(
    name: &str,
    subject: &[&str],
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
) -> Policy {
    let PodKey { namespace, name } = key(name);
    let subject = if subject.is_empty() {
        Selector::default()
    } else {
        app(subject)
    };
    let key = PolicyKey { namespace, name };
    Policy {
        key,
        subject,
        ingress,
        egress,
        enforcement: Enforcement::Enforce,
        origin: Origin::default(),
    }
}

fn world(pods: Vec<Pod>, policies: Vec<Policy>) -> Snapshot {
    let namespaces = ["shop", "ops"].map(|name| {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let labels = Labels::from([
            label("kubernetes.io/metadata.name", name),
            label("team", name),
        ]);
        (
            name.to_owned(),
            Namespace {
                name: name.to_owned(),
                labels,
                origin: Origin::default(),
            },
        )
    });
    as_if_local(&Snapshot {
        namespaces: namespaces.into(),
        pods: pods.into_iter().map(|it| (it.key.clone(), it)).collect(),
        policies: policies
            .into_iter()
            .map(|it| (it.key.clone(), it))
            .collect(),
        ..Snapshot::default()
    })
}

/// Expects of `shop/db` (10.0.0.1, `fd00::1`) that it lets in, or is let out to, exactly so.
fn check(snapshot: &Snapshot, direction: Direction, expect: &[(&str, Port, bool)]) {
    let (desired, _) = compile(snapshot, &Options::default());
    for &(peer, port, allowed) in expect {
        let cell = desired.cell(&key("shop/db"), direction, peer.parse().unwrap(), port);
        let live = cell.map_or(Verdict::Allow, |it| it.live);
        assert_eq!(
            live == Verdict::Allow,
            allowed,
            "{direction:?} {peer} {port:?}: {cell:?}"
        );
    }
}

fn usual() -> Vec<Pod> {
    vec![
        pod("shop/db", &["10.0.0.1", "fd00::1"]),
        pod("shop/web", &["10.0.0.2", "fd00::2"]),
        pod("ops/web", &["10.0.1.2", "fd00::1:2"]),
        pod("ops/job", &["10.0.1.3"]),
    ]
}

fn db(rule: Rule) -> Snapshot {
    world(
        usual(),
        vec![policy("shop/p", &["db"], Some(vec![rule]), None)],
    )
}

fn question(from: &str, to: &str, port: Port) -> Question {
    let party = |text: &str| {
        text.parse()
            .map_or_else(|_| Party::Pod(key(text)), Party::Address)
    };
    Question {
        from: party(from),
        to: party(to),
        port,
        family: None,
    }
}

fn ask(snapshot: &Snapshot, from: &str, to: &str, port: Port) -> Answer {
    compile::ask(snapshot, &question(from, to, port)).unwrap()
}
