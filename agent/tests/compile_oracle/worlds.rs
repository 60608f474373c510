//! Small random clusters, and the addresses and ports where their verdicts may change.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use proptest::{collection::vec, prelude::*, sample::select};
use ringfence_agent::model::{
    ContainerPort, Enforcement, IpBlock, Labels, Located, Namespace, Objects, Operator, Origin,
    Peer, Phase, Pod, PodKey, Policy, PolicyKey, PortSpec, Ports, Protocol, Requirement, Rule,
    Selector, Set, Snapshot,
};

const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const POD_NETS: [&str; 8] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.1.1",
    "10.0.1.2",
    "fd00::1",
    "fd00::2",
    "fd00:0:0:1::1",
    "::ffff:10.0.0.3",
];
const CIDRS: [&str; 14] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/16",
    "10.0.0.0/24",
    "10.0.1.0/24",
    "10.0.0.0/31",
    "10.0.0.1/32",
    "192.0.2.7/32",
    "::/0",
    "fd00::/16",
    "fd00::/64",
    "fd00:0:0:1::/64",
    "fd00::1/128",
    "::ffff:10.0.0.0/120",
];
const PORT_NAMES: [&str; 3] = ["http", "dns", "none"];
const PORTS: [u16; 7] = [0, 53, 80, 81, 8080, 65534, 65535];

fn labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map(
        select(vec!["app", "tier"]).prop_map(str::to_owned),
        select(vec!["x", "y", "z"]).prop_map(str::to_owned),
        0..=2,
    )
    .prop_map(Labels::from)
}

fn selector(keys: &'static [&'static str]) -> impl Strategy<Value = Selector> {
    let values = || {
        proptest::collection::btree_set(select(vec!["x", "y", "a"]).prop_map(str::to_owned), 0..=2)
            .prop_map(Set::from)
    };
    let operator = prop_oneof![
        3 => values().prop_map(Operator::In),
        1 => values().prop_map(Operator::NotIn),
        1 => Just(Operator::Exists),
        1 => Just(Operator::DoesNotExist),
    ];
    let requirement = (select(keys), operator).prop_map(|(key, operator)| Requirement {
        key: key.to_owned(),
        operator,
    });
    proptest::collection::btree_set(requirement, 0..=2).prop_map(|requirements| Selector {
        requirements: requirements.into(),
    })
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![3 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)]
}

fn container_port() -> impl Strategy<Value = ContainerPort> {
    (
        proptest::option::weighted(0.8, select(&PORT_NAMES[..2])),
        select(&PORTS[..]),
        protocol(),
    )
        .prop_map(|(name, port, protocol)| ContainerPort {
            name: name.map(str::to_owned),
            port,
            protocol,
            host_port: None,
        })
}

type Placed = (Pod, Option<Located>);

fn pod(index: usize) -> impl Strategy<Value = Placed> {
    let phase = prop_oneof![
        8 => Just(Phase::Running),
        1 => Just(Phase::Pending),
        1 => Just(Phase::Succeeded),
        1 => Just(Phase::Failed),
        1 => Just(Phase::Unknown),
    ];
    // Mostly its own addresses; now and then one that another pod may have too.
    let own = vec![
        vec![
            format!("10.0.0.{}", index + 10),
            format!("fd00::{:x}", index + 16),
        ],
        vec![format!("10.0.1.{}", index + 10)],
        vec![format!("fd00:0:0:1::{:x}", index + 16)],
    ];
    let address = |text: String| -> IpAddr { text.parse().unwrap() };
    let addresses = prop_oneof![
        5 => select(own).prop_map(move |own| own.into_iter().map(address).collect::<Vec<_>>()),
        3 => vec(select(&POD_NETS[..]).prop_map(move |it| address(it.to_owned())), 0..=2),
    ];
    let interface = vec(
        select(vec!["10.0.0.1", "10.0.1.2", "fd00::2", "fe80::1"])
            .prop_map(move |it| address(it.to_owned())),
        0..=2,
    );
    (
        (
            select(&NAMESPACES[..]),
            labels(),
            vec(container_port(), 0..=3),
            phase,
        ),
        (addresses, any::<bool>(), proptest::bool::weighted(0.1)),
        proptest::option::weighted(0.6, interface),
    )
        .prop_map(
            move |(
                (namespace, labels, ports, phase),
                (addresses, terminating, host_network),
                local,
            )| {
                let pod = Pod {
                    key: PodKey {
                        namespace: namespace.to_owned(),
                        name: format!("p{index}"),
                    },
                    labels,
                    addresses,
                    ports: ports.into(),
                    phase,
                    terminating,
                    host_network,
                    ..Pod::default()
                };
                let located = local.map(|addresses| Located {
                    ifindex: u32::try_from(index).unwrap() + 1,
                    interface: format!("veth{index}"),
                    hardware_address: None,
                    addresses,
                });
                (pod, located)
            },
        )
}

fn block() -> impl Strategy<Value = IpBlock> {
    let cidr = || select(&CIDRS[..]).prop_map(|it| it.parse::<IpNet>().unwrap());
    (cidr(), vec(cidr(), 0..=2)).prop_map(|(cidr, mut except)| {
        except.sort();
        IpBlock { cidr, except }
    })
}

fn peer() -> impl Strategy<Value = Peer> {
    let namespaces = selector(&["team", "kubernetes.io/metadata.name"]);
    prop_oneof![
        (proptest::option::of(namespaces), selector(&["app", "tier"]))
            .prop_map(|(namespaces, pods)| Peer::Pods { namespaces, pods }),
        block().prop_map(Peer::Block),
    ]
}

fn port_spec() -> impl Strategy<Value = PortSpec> {
    prop_oneof![
        1 => protocol().prop_map(PortSpec::All),
        4 => (protocol(), select(&PORTS[..]), select(&PORTS[..])).prop_map(|(protocol, one, other)| {
            PortSpec::Range(protocol, one.min(other), if one % 2 == 0 { one.max(other) } else { other })
        }),
        4 => (protocol(), select(&PORT_NAMES[..]))
            .prop_map(|(protocol, name)| PortSpec::Named(protocol, name.to_owned())),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (
        proptest::option::weighted(0.8, vec(peer(), 0..=3)),
        prop_oneof![1 => Just(Ports::Any), 3 => vec(port_spec(), 0..=3).prop_map(Ports::Of)],
    )
        .prop_map(|(peers, ports)| Rule { peers, ports })
}

fn policy(index: usize) -> impl Strategy<Value = Policy> {
    let rules = || proptest::option::weighted(0.7, vec(rule(), 0..=3));
    let enforcement = prop_oneof![3 => Just(Enforcement::Enforce), 1 => Just(Enforcement::Audit)];
    let subject = prop_oneof![2 => Just(Selector::default()), 3 => selector(&["app", "tier"])];
    (
        select(&NAMESPACES[..]),
        subject,
        rules(),
        rules(),
        enforcement,
    )
        .prop_map(
            move |(namespace, subject, ingress, egress, enforcement)| Policy {
                key: PolicyKey {
                    namespace: namespace.to_owned(),
                    name: format!("policy{index}"),
                },
                subject,
                ingress,
                egress,
                enforcement,
                origin: Origin::default(),
            },
        )
}

/// What a cluster is made of, in no order.
#[derive(Clone, Debug)]
pub struct Parts {
    namespaces: Vec<Namespace>,
    pods: Vec<Placed>,
    policies: Vec<Policy>,
}

impl Parts {
    /// The cluster.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for namespace in &self.namespaces {
            snapshot
                .namespaces
                .insert(namespace.name.clone(), namespace.clone());
        }
        for (pod, located) in &self.pods {
            snapshot.pods.insert(pod.key.clone(), pod.clone());
            if let Some(located) = located {
                snapshot.local.insert(pod.key.clone(), located.clone());
            }
        }
        for policy in &self.policies {
            snapshot.policies.insert(policy.key.clone(), policy.clone());
        }
        snapshot
    }

    /// The same parts in another order.
    pub fn shuffled(&self) -> impl Strategy<Value = Self> + use<> {
        (
            Just(self.namespaces.clone()).prop_shuffle(),
            Just(self.pods.clone()).prop_shuffle(),
            Just(self.policies.clone()).prop_shuffle(),
        )
            .prop_map(|(namespaces, pods, policies)| Self {
                namespaces,
                pods,
                policies,
            })
    }
}

/// A cluster.
pub fn parts() -> impl Strategy<Value = Parts> {
    let namespaces = vec(
        proptest::option::of(select(vec!["x", "y"])),
        0..=NAMESPACES.len(),
    )
    .prop_map(|teams| {
        let named = |(name, team): (&str, Option<&str>)| {
            let mut labels: Labels =
                Labels::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]);
            labels.extend(team.map(|team| ("team".to_owned(), team.to_owned())));
            Namespace {
                name: name.to_owned(),
                labels,
                origin: Origin::default(),
            }
        };
        NAMESPACES.into_iter().zip(teams).map(named).collect()
    });
    let pods = (1..=6_usize).prop_flat_map(|count| (0..count).map(pod).collect::<Vec<_>>());
    let policies = (0..=5_usize).prop_flat_map(|count| (0..count).map(policy).collect::<Vec<_>>());
    (namespaces, pods, policies).prop_map(|(namespaces, pods, policies)| Parts {
        namespaces,
        pods,
        policies,
    })
}

/// A policy that is about no pod: its namespace has none.
pub fn unrelated_policy() -> impl Strategy<Value = Policy> {
    policy(99).prop_map(|mut policy| {
        policy.key.namespace = "elsewhere".to_owned();
        policy
    })
}

/// Addresses where a verdict may change: pods', the ends of networks and their neighbours, and strangers.
pub fn addresses(snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let mut all: BTreeSet<IpAddr> = [
        "203.0.113.9",
        "2001:db8::9",
        "10.0.0.9",
        "fd00::9",
        "::ffff:10.0.0.2",
    ]
    .iter()
    .map(|it| it.parse().unwrap())
    .collect();
    all.extend(
        snapshot
            .pods
            .values()
            .flat_map(|pod| pod.addresses.iter().copied()),
    );
    all.extend(
        snapshot
            .local
            .values()
            .flat_map(|it| it.addresses.iter().copied()),
    );
    for net in CIDRS.iter().map(|it| it.parse::<IpNet>().unwrap()) {
        for edge in [net.network(), net.broadcast()] {
            all.extend([edge, step(edge, 1), step(edge, -1)]);
        }
    }
    all
}

fn step(address: IpAddr, by: i8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => u32::from(v4)
            .wrapping_add_signed(by.into())
            .to_be_bytes()
            .into(),
        IpAddr::V6(v6) => u128::from(v6)
            .wrapping_add_signed(by.into())
            .to_be_bytes()
            .into(),
    }
}

/// Ports where a verdict may change, and a protocol without ports.
pub fn ports() -> Vec<Option<(Protocol, u16)>> {
    let numbers: BTreeSet<u16> = PORTS
        .iter()
        .flat_map(|&it| [it.saturating_sub(1), it, it.saturating_add(1)])
        .collect();
    let of = |protocol| numbers.iter().map(move |&number| Some((protocol, number)));
    [None]
        .into_iter()
        .chain(Protocol::ALL.into_iter().flat_map(of))
        .collect()
}

/// One object as it is in another cluster, or gone as it is there.
#[derive(Clone, Debug)]
enum Change {
    Namespace(String),
    Pod(PodKey),
    Local(PodKey),
    Policy(PolicyKey),
}

impl Change {
    fn apply(&self, from: &Snapshot, to: &mut Snapshot) {
        fn copy<K: Ord + Clone, V: Clone>(key: &K, from: &Objects<K, V>, to: &mut Objects<K, V>) {
            match from.get(key) {
                Some(value) => to.insert(key.clone(), value.clone()),
                None => {
                    to.remove(key);
                }
            }
        }
        match self {
            Self::Namespace(key) => copy(key, &from.namespaces, &mut to.namespaces),
            Self::Pod(key) => copy(key, &from.pods, &mut to.pods),
            Self::Local(key) => copy(key, &from.local, &mut to.local),
            Self::Policy(key) => copy(key, &from.policies, &mut to.policies),
        }
    }

    /// All that differ.
    fn between(one: &Snapshot, other: &Snapshot) -> Vec<Self> {
        let namespaces = one.namespaces.changed_keys(&other.namespaces).into_iter();
        let pods = one.pods.changed_keys(&other.pods).into_iter();
        let local = one.local.changed_keys(&other.local).into_iter();
        let policies = one.policies.changed_keys(&other.policies).into_iter();
        namespaces
            .cloned()
            .map(Self::Namespace)
            .chain(pods.cloned().map(Self::Pod))
            .chain(local.cloned().map(Self::Local))
            .chain(policies.cloned().map(Self::Policy))
            .collect()
    }
}

/// A cluster that becomes another one, object by object in any order, and then a third one. Pods keep their interfaces
/// to themselves.
pub fn history() -> impl Strategy<Value = Vec<Snapshot>> {
    let own_interfaces = |mut snapshot: Snapshot| {
        let local = snapshot.local.clone();
        for (key, located) in &local {
            let namespace = NAMESPACES.iter().position(|it| *it == key.namespace);
            let mut located = located.clone();
            located.ifindex += 100 * u32::try_from(namespace.unwrap()).unwrap();
            snapshot.local.insert(key.clone(), located);
        }
        snapshot
    };
    let cluster = || parts().prop_map(move |parts| own_interfaces(parts.snapshot()));
    (cluster(), cluster(), cluster())
        .prop_flat_map(|(one, two, three)| {
            let first = Just(Change::between(&one, &two)).prop_shuffle();
            let second = Just(Change::between(&two, &three)).prop_shuffle();
            (Just((one, two, three)), first, second)
        })
        .prop_map(|((one, two, three), first, second)| {
            let mut now = one.clone();
            let mut history = vec![one];
            for (changes, target) in [(first, two), (second, three)] {
                for change in changes {
                    change.apply(&target, &mut now);
                    history.push(now.clone());
                }
            }
            history
        })
}
