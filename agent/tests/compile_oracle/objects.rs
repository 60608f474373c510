//! Single objects by chance: pods, rules, policies; few labels, few addresses, so that they meet.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::{collection::vec, prelude::*, sample::select};
use ringfence_agent::model::{
    ContainerPort, Enforcement, IpBlock, Labels, Located, Operator, Origin, Peer, Phase, Pod,
    PodKey, Policy, PolicyKey, PortSpec, Ports, Protocol, Requirement, Rule, Selector, Set,
};

pub(super) const NAMESPACES: [&str; 3] = ["a", "b", "c"];

pub(super) const POD_NETS: [&str; 8] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.1.1",
    "10.0.1.2",
    "fd00::1",
    "fd00::2",
    "fd00:0:0:1::1",
    "::ffff:10.0.0.3",
];

pub(super) const CIDRS: [&str; 14] = [
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

pub(super) const PORT_NAMES: [&str; 3] = ["http", "dns", "none"];

pub(super) const PORTS: [u16; 7] = [0, 53, 80, 81, 8080, 65534, 65535];

pub(super) fn labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map(
        select(vec!["app", "tier"]).prop_map(str::to_owned),
        select(vec!["x", "y", "z"]).prop_map(str::to_owned),
        0..=2,
    )
    .prop_map(Labels::from)
}

pub(super) fn selector(keys: &'static [&'static str]) -> impl Strategy<Value = Selector> {
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

pub(super) fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![3 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)]
}

pub(super) fn container_port() -> impl Strategy<Value = ContainerPort> {
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

pub(super) type Placed = (Pod, Option<Located>);

pub(super) fn pod(index: usize) -> impl Strategy<Value = Placed> {
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
        (
            addresses,
            any::<bool>(),
            proptest::bool::weighted(0.1),
            proptest::bool::weighted(0.3),
        ),
        proptest::option::weighted(0.6, interface),
    )
        .prop_map(
            move |(
                (namespace, labels, ports, phase),
                (addresses, terminating, host_network, robot),
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
                    service_account: if robot { "robot" } else { "" }.into(),
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

pub(super) fn block() -> impl Strategy<Value = IpBlock> {
    let cidr = || select(&CIDRS[..]).prop_map(|it| it.parse::<IpNet>().unwrap());
    (cidr(), vec(cidr(), 0..=2)).prop_map(|(cidr, mut except)| {
        except.sort();
        IpBlock { cidr, except }
    })
}

pub(super) fn peer() -> impl Strategy<Value = Peer> {
    let namespaces = selector(&["team", "kubernetes.io/metadata.name"]);
    prop_oneof![
        (proptest::option::of(namespaces), selector(&["app", "tier"]))
            .prop_map(|(namespaces, pods)| Peer::Pods { namespaces, pods }),
        block().prop_map(Peer::Block),
    ]
}

pub(super) fn port_spec() -> impl Strategy<Value = PortSpec> {
    prop_oneof![
        1 => protocol().prop_map(PortSpec::All),
        4 => (protocol(), select(&PORTS[..]), select(&PORTS[..])).prop_map(|(protocol, one, other)| {
            PortSpec::Range(protocol, one.min(other), if one % 2 == 0 { one.max(other) } else { other })
        }),
        4 => (protocol(), select(&PORT_NAMES[..]))
            .prop_map(|(protocol, name)| PortSpec::Named(protocol, name.to_owned())),
    ]
}

pub(super) fn rule() -> impl Strategy<Value = Rule> {
    (
        proptest::option::weighted(0.8, vec(peer(), 0..=3)),
        prop_oneof![1 => Just(Ports::Any), 3 => vec(port_spec(), 0..=3).prop_map(Ports::Of)],
    )
        .prop_map(|(peers, ports)| Rule { peers, ports })
}

pub(super) fn policy(index: usize) -> impl Strategy<Value = Policy> {
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
