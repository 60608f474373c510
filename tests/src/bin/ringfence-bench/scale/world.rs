//! Synthetic clusters: the same number of pods is always the same cluster.
//!
//! 1,000 namespaces; 12 labels per pod, of which one in ten pods has one of its own (a `StatefulSet`'s); a policy for
//! every ten pods, of 3 rules with 3 peers each, a tenth of them networks with an exception, a twentieth of the port
//! entries ranges; 110 endpoints here, each selected by 5 to 10 policies.

use std::{net::Ipv4Addr, sync::Arc};

use ringfence_agent::model::{
    ContainerPort, Enforcement, Interner, IpBlock, Labels, Located, Namespace, Node, Operator,
    Origin, Owner, Peer, Phase, Pod, PodKey, Policy, PolicyKey, PortSpec, Ports, Protocol,
    Requirement, Rule, Selector, Snapshot,
};

/// Namespaces.
const NAMESPACES: u32 = 1_000;
/// Endpoints on this node.
pub const ENDPOINTS: u32 = 110;
/// Policies of a namespace that has endpoints here.
const POLICIES: u32 = 10;
/// Workloads of a namespace.
const APPS: u32 = 10;
/// Pods on a node.
const PODS_PER_NODE: u32 = 100;

/// A small generator of numbers that look random: the same seed, the same numbers.
pub struct Dice(u64);

impl Dice {
    /// Begins at a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u32) -> u32 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0);
        high % sides
    }
}

/// The cluster with this many pods.
pub fn cluster(pods: u32) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for number in 0..NAMESPACES {
        let namespace = namespace(number);
        snapshot
            .namespaces
            .insert(namespace.name.clone(), namespace);
    }
    let here = homes(pods);
    // As the index does.
    let mut interner = Interner::default();
    for number in 0..pods {
        let mut pod = pod(number, home(number, here));
        interner.pod(&mut pod);
        snapshot.pods.insert(pod.key.clone(), pod);
    }
    for number in 0..ENDPOINTS.min(pods) {
        let key = pod(number, home(number, here)).key;
        let located = Located {
            ifindex: ifindex(number),
            interface: format!("veth{number}"),
            hardware_address: None,
            addresses: Vec::new(),
        };
        snapshot.local.insert(key, located);
    }
    for number in 0..pods / 10 {
        let mut policy = policy(number);
        interner.policy(&mut policy);
        snapshot.policies.insert(policy.key.clone(), policy);
    }
    for number in 0..pods.div_ceil(PODS_PER_NODE) {
        let node = Node {
            name: node_name(number),
            addresses: vec![Ipv4Addr::from(0xac10_0000 + number).into()],
            ..Node::default()
        };
        snapshot.nodes.insert(node.name.clone(), node);
    }
    snapshot
        .node_addresses
        .insert(Ipv4Addr::from(0xac10_0000).into());
    snapshot
}

/// Namespaces with endpoints here: as many as have enough policies, at most one for each endpoint.
fn homes(pods: u32) -> u32 {
    (pods / 10 / POLICIES).clamp(1, ENDPOINTS)
}

/// Policies in namespaces with endpoints here: the first ones.
pub fn policies_here(pods: u32) -> u32 {
    homes(pods) * POLICIES
}

/// The interface of an endpoint here.
pub const fn ifindex(number: u32) -> u32 {
    number + 10
}

/// The namespace of a pod; those that are here are in the first ones.
const fn home(number: u32, here: u32) -> u32 {
    if number < ENDPOINTS {
        number % here
    } else {
        number % NAMESPACES
    }
}

/// The workload of a pod.
const fn app(number: u32) -> u32 {
    if number < ENDPOINTS {
        number % APPS
    } else {
        number / NAMESPACES % APPS
    }
}

fn namespace_name(number: u32) -> String {
    format!("team-{number:04}")
}

fn node_name(number: u32) -> String {
    format!("node-{number:05}.internal")
}

fn namespace(number: u32) -> Namespace {
    let name = namespace_name(number);
    let labels = [
        ("kubernetes.io/metadata.name", name.clone()),
        ("department", format!("department-{}", number % 100)),
        (
            "environment",
            ["prod", "stage", "dev"][number as usize % 3].to_owned(),
        ),
        ("pod-security.kubernetes.io/enforce", "baseline".to_owned()),
    ];
    Namespace {
        name,
        labels: labels
            .map(|(key, value)| (key.to_owned(), value))
            .into_iter()
            .collect(),
        origin: Origin::default(),
    }
}

/// Labels of a workload's pods; `variant` is another template of it.
pub fn labels(namespace: u32, number: u32, variant: u32) -> Labels {
    let app = app(number);
    let own = if number.is_multiple_of(10) {
        (
            "statefulset.kubernetes.io/pod-name",
            format!("app-{app}-{number}"),
        )
    } else {
        ("track", "stable".to_owned())
    };
    [
        ("app", format!("app-{app}")),
        ("app.kubernetes.io/name", format!("app-{app}")),
        (
            "app.kubernetes.io/instance",
            format!("app-{app}-{namespace}"),
        ),
        (
            "app.kubernetes.io/version",
            format!("1.{}.{variant}", app + namespace % 7),
        ),
        (
            "app.kubernetes.io/component",
            ["api", "web", "worker"][app as usize % 3].to_owned(),
        ),
        (
            "app.kubernetes.io/part-of",
            format!("product-{}", namespace % 40),
        ),
        ("app.kubernetes.io/managed-by", "Helm".to_owned()),
        (
            "tier",
            ["front", "back", "data"][(app + variant) as usize % 3].to_owned(),
        ),
        ("shard", format!("{}", app % 4)),
        ("topology.kubernetes.io/zone", format!("zone-{}", app % 3)),
        (
            "pod-template-hash",
            format!("{:08x}", namespace * 1_000 + app * 10 + variant),
        ),
        own,
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .collect()
}

/// Address of a pod.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number + 1)
}

fn pod(number: u32, namespace: u32) -> Pod {
    let app = app(number);
    let owner = format!("app-{app}-{:08x}", namespace * 1_000 + app * 10);
    let port = |name: &str, port: u32| ContainerPort {
        name: Some(name.to_owned()),
        port: u16::try_from(port).unwrap_or(0),
        protocol: Protocol::Tcp,
        host_port: None,
    };
    Pod {
        key: PodKey {
            namespace: namespace_name(namespace),
            name: format!("{owner}-{number:05x}"),
        },
        uid: format!("6ba7b810-9dad-11d1-80b4-{number:012x}"),
        labels: labels(namespace, number, 0),
        addresses: vec![address(number).into()],
        ports: [port("http", 8080 + app % 3), port("metrics", 9090)].into(),
        phase: Phase::Running,
        node: Some(node_name(number / PODS_PER_NODE).into()),
        service_account: format!("app-{app}").into(),
        owner: Some(Arc::new(Owner {
            kind: "ReplicaSet".to_owned(),
            name: owner,
        })),
        ..Pod::default()
    }
}

/// A pod that is not here.
pub fn remote(number: u32, pods: u32) -> Pod {
    let number = ENDPOINTS + number % (pods - ENDPOINTS);
    pod(number, number % NAMESPACES)
}

/// A pod that is not there yet, one more of some workload.
pub fn newcomer(number: u32, pods: u32) -> Pod {
    let mut pod = pod(pods + number, number % NAMESPACES);
    pod.labels = labels(number % NAMESPACES, ENDPOINTS + 1 + number % 10_000, 0);
    pod
}

fn selector(requirements: &[(&str, &[&str])]) -> Selector {
    let requirement = |(key, values): &(&str, &[&str])| Requirement {
        key: (*key).to_owned(),
        operator: match values {
            [] => Operator::Exists,
            values => Operator::In(values.iter().map(|&value| value.to_owned()).collect()),
        },
    };
    Selector {
        requirements: requirements.iter().map(requirement).collect(),
    }
}

/// The policy of this number; ten to a namespace, the first namespaces first.
pub fn policy(number: u32) -> Policy {
    let namespace = number / POLICIES % NAMESPACES;
    let mut dice = Dice::new(u64::from(number));
    let subject = match number % POLICIES {
        0 => Selector::default(),
        1..=4 => selector(&[("app", &[])]),
        shard => {
            let (one, other) = (shard % 4, (shard + 1) % 4);
            selector(&[("shard", &[&one.to_string(), &other.to_string()])])
        }
    };
    let mut rules = || -> Vec<Rule> { (0..3).map(|_| rule(namespace, &mut dice)).collect() };
    let (ingress, egress) = if number.is_multiple_of(2) {
        (Some(rules()), None)
    } else {
        (None, Some(rules()))
    };
    Policy {
        key: PolicyKey {
            namespace: namespace_name(namespace),
            name: format!("policy-{}", number % POLICIES),
        },
        subject,
        ingress,
        egress,
        enforcement: Enforcement::Enforce,
        origin: Origin::default(),
    }
}

/// A rule of 3 peers.
pub fn rule(namespace: u32, dice: &mut Dice) -> Rule {
    let peers = (0..3).map(|_| peer(namespace, dice)).collect();
    let range = |first, last| PortSpec::Range(Protocol::Tcp, first, last);
    let ports = (0..2)
        .map(|_| match dice.roll(100) {
            0..2 => range(1, 65_535),
            2..5 => range(30_000, 32_767),
            5..20 => PortSpec::Named(Protocol::Tcp, "http".to_owned()),
            it => {
                let port = [80, 443, 5432, 6379, 8080, 9090, 9092, 27_017][it as usize % 8];
                range(port, port)
            }
        })
        .collect();
    Rule {
        peers: Some(peers),
        ports: Ports::Of(ports),
    }
}

fn peer(namespace: u32, dice: &mut Dice) -> Peer {
    let app = format!("app-{}", dice.roll(APPS));
    let some = |namespaces, pods| Peer::Pods { namespaces, pods };
    match dice.roll(10) {
        0 => Peer::Block(block(dice)),
        1..=5 => some(None, selector(&[("app", &[&app])])),
        6 => {
            let department = format!("department-{}", dice.roll(100));
            some(
                Some(selector(&[("department", &[&department])])),
                selector(&[("app", &[&app])]),
            )
        }
        7 => some(
            Some(selector(&[("environment", &["prod", "stage"])])),
            selector(&[
                ("app.kubernetes.io/component", &["api"]),
                (
                    "app.kubernetes.io/part-of",
                    &[&format!("product-{}", dice.roll(40))],
                ),
            ]),
        ),
        _ => {
            let other = namespace_name((namespace + dice.roll(20)) % NAMESPACES);
            some(
                Some(selector(&[("kubernetes.io/metadata.name", &[&other])])),
                Selector::default(),
            )
        }
    }
}

/// A network with an exception: mostly some partner's, sometimes the world without the cluster.
fn block(dice: &mut Dice) -> IpBlock {
    let net = |address: u32, length| {
        ipnet::Ipv4Net::new_assert(Ipv4Addr::from(address), length)
            .trunc()
            .into()
    };
    if dice.roll(10) == 0 {
        return IpBlock {
            cidr: net(0, 0),
            except: vec![net(0x0a00_0000, 8)],
        };
    }
    let base = 0xc612_0000 + (dice.roll(512) << 8);
    IpBlock {
        cidr: net(base, 24),
        except: vec![net(base, 28)],
    }
}
