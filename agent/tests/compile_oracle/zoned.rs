//! Zones, tenants and cluster policies by chance: few names, so that they meet.

use ipnet::IpNet;
use proptest::{collection::vec, option, prelude::*, sample::select};
use ringfence_agent::model::{
    Canary, ClusterAction, ClusterPeer, ClusterPolicy, ClusterRule, ClusterTier, Enforcement,
    Entity, Expiry, IntraZone, Labels, Members, Node, Openness, Origin, PortSpec, Ports, Selector,
    TenantException, TenantIsolation, TenantMode, Workloads, Zone, ZoneAction, ZoneException,
    ZonePeer, ZonePolicy, ZoneRule,
};

use super::objects::{CIDRS, PORTS, port_spec, protocol, selector};

/// The moment that has come.
pub(super) const PAST: i64 = 10;

/// Addresses of nodes.
pub(super) const NODE_ADDRESSES: [&str; 5] = [
    "10.0.1.200",
    "fd00::200",
    "192.0.2.7",
    "10.0.0.9",
    "10.0.0.1",
];

pub(super) fn enforcement() -> impl Strategy<Value = Enforcement> {
    prop_oneof![
        6 => Just(Enforcement::Enforce),
        2 => Just(Enforcement::Audit),
        1 => Just(Enforcement::Disabled),
    ]
}

fn namespaces() -> impl Strategy<Value = Selector> {
    prop_oneof![
        1 => Just(Selector::default()),
        3 => selector(&["team", "kubernetes.io/metadata.name"]),
    ]
}

fn pods() -> impl Strategy<Value = Selector> {
    prop_oneof![2 => Just(Selector::default()), 1 => selector(&["app", "tier"])]
}

fn workloads() -> impl Strategy<Value = Workloads> {
    let account = option::weighted(0.2, select(vec!["", "robot"]));
    (namespaces(), pods(), account).prop_map(|(namespaces, pods, account)| Workloads {
        namespaces,
        pods,
        accounts: account.into_iter().map(str::to_owned).collect(),
    })
}

fn cidr() -> impl Strategy<Value = IpNet> {
    select(&CIDRS[..]).prop_map(|it| it.parse::<IpNet>().unwrap())
}

fn members() -> impl Strategy<Value = Members> {
    prop_oneof![
        3 => workloads().prop_map(Members::Workloads),
        3 => (vec(cidr(), 1..=2), vec(cidr(), 0..=1))
            .prop_map(|(cidrs, except)| Members::Networks { cidrs, except }),
        1 => selector(&["role"]).prop_map(Members::Nodes),
    ]
}

fn canary() -> impl Strategy<Value = Option<Canary>> {
    let canary = (namespaces(), pods()).prop_map(|(namespaces, pods)| Canary { namespaces, pods });
    option::weighted(0.4, canary)
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![8 => Just(None), 1 => Just(Some(PAST)), 1 => Just(Some(PAST + 1))].prop_map(Expiry)
}

fn ports() -> impl Strategy<Value = Ports> {
    let spec = prop_oneof![
        1 => protocol().prop_map(PortSpec::All),
        4 => (protocol(), select(&PORTS[..]), select(&PORTS[..])).prop_map(|(protocol, one, other)| {
            PortSpec::Range(protocol, one.min(other), one.max(other))
        }),
    ];
    prop_oneof![1 => Just(Ports::Any), 2 => vec(spec, 1..=2).prop_map(Ports::Of)]
}

pub(super) fn zone(index: usize) -> impl Strategy<Value = Zone> {
    let openness = || prop_oneof![2 => Just(Openness::Open), 1 => Just(Openness::Isolated)];
    let intra_zone = prop_oneof![3 => Just(IntraZone::Allow), 1 => Just(IntraZone::Deny)];
    (
        vec(members(), 0..=2),
        openness(),
        openness(),
        intra_zone,
        enforcement(),
    )
        .prop_map(
            move |(members, ingress, egress, intra_zone, enforcement)| Zone {
                name: format!("z{index}"),
                members,
                ingress,
                egress,
                intra_zone,
                enforcement,
                origin: Origin::default(),
            },
        )
}

fn peers() -> impl Strategy<Value = Vec<ZonePeer>> {
    let peer = prop_oneof![
        6 => select(vec!["z0", "z1", "z2", "nowhere"]).prop_map(|it| ZonePeer::Zone(it.to_owned())),
        2 => select(vec![Entity::Any, Entity::World, Entity::Cluster, Entity::Unzoned])
            .prop_map(ZonePeer::Entity),
    ];
    vec(peer, 1..=2)
}

pub(super) fn zone_policy(index: usize) -> impl Strategy<Value = ZonePolicy> {
    let except = (option::of(peers()), option::of(peers()), ports(), expiry()).prop_map(
        |(from, to, ports, expiry)| ZoneException {
            name: "except".to_owned(),
            from,
            to,
            ports,
            expiry,
        },
    );
    let rule = (
        prop_oneof![Just(ZoneAction::Allow), Just(ZoneAction::Deny)],
        (peers(), peers(), ports()),
        vec(except, 0..=2),
        expiry(),
    );
    (vec(rule, 1..=2), enforcement(), canary()).prop_map(move |(rules, enforcement, canary)| {
        let rules = rules.into_iter().enumerate();
        let rules = rules.map(
            |(at, (action, (from, to, ports), except, expiry))| ZoneRule {
                name: format!("r{at}"),
                action,
                from,
                to,
                ports,
                except: if action == ZoneAction::Deny {
                    except
                } else {
                    Vec::new()
                },
                acknowledge_lockout: false,
                expiry,
            },
        );
        ZonePolicy {
            name: format!("zp{index}"),
            rules: rules.collect(),
            enforcement,
            canary,
            origin: Origin::default(),
        }
    })
}

pub(super) fn tenants(index: usize) -> impl Strategy<Value = TenantIsolation> {
    let ends = || option::of(vec(workloads(), 1..=2));
    let except =
        (ends(), ends(), ports(), expiry()).prop_map(|(from, to, ports, expiry)| TenantException {
            name: "except".to_owned(),
            from,
            to,
            ports,
            expiry,
        });
    let mode = prop_oneof![Just(TenantMode::Strict), Just(TenantMode::Overridable)];
    let label = select(vec!["team", "kubernetes.io/metadata.name"]);
    let shared = vec(selector(&["team", "kubernetes.io/metadata.name"]), 0..=1);
    (
        label,
        mode,
        shared,
        vec(except, 0..=1),
        enforcement(),
        canary(),
    )
        .prop_map(
            move |(label, mode, shared, except, enforcement, canary)| TenantIsolation {
                name: format!("t{index}"),
                label: label.to_owned(),
                mode,
                shared,
                except,
                enforcement,
                canary,
                origin: Origin::default(),
            },
        )
}

pub(super) fn cluster_policy(index: usize) -> impl Strategy<Value = ClusterPolicy> {
    let ports =
        || prop_oneof![1 => Just(Ports::Any), 2 => vec(port_spec(), 1..=2).prop_map(Ports::Of)];
    let pods_peer = || {
        (namespaces(), pods()).prop_map(|(namespaces, pods)| ClusterPeer::Pods { namespaces, pods })
    };
    let outgoing = prop_oneof![
        2 => pods_peer(),
        1 => selector(&["role"]).prop_map(ClusterPeer::Nodes),
        2 => cidr().prop_map(ClusterPeer::Network),
    ];
    let action = || {
        prop_oneof![
            Just(ClusterAction::Accept),
            Just(ClusterAction::Deny),
            Just(ClusterAction::Pass)
        ]
    };
    let tier = prop_oneof![Just(ClusterTier::Admin), Just(ClusterTier::Baseline)];
    let rules = |rules: Vec<(ClusterAction, Vec<ClusterPeer>, Ports)>, tier| -> Vec<ClusterRule> {
        let rules = rules.into_iter();
        rules
            .map(|(action, peers, ports)| ClusterRule {
                name: "rule".to_owned(),
                action: match (tier, action) {
                    // The API has no such thing.
                    (ClusterTier::Baseline, ClusterAction::Pass) => ClusterAction::Deny,
                    _ => action,
                },
                peers,
                ports,
            })
            .collect()
    };
    (
        (tier, 0..=2_u16, namespaces(), pods(), enforcement()),
        vec((action(), vec(pods_peer(), 1..=2), ports()), 0..=2),
        vec((action(), vec(outgoing, 1..=2), ports()), 0..=2),
    )
        .prop_map(
            move |((tier, priority, namespaces, pods, enforcement), ingress, egress)| {
                ClusterPolicy {
                    name: format!("cnp{index}"),
                    tier,
                    priority,
                    namespaces,
                    pods,
                    ingress: rules(ingress, tier),
                    egress: rules(egress, tier),
                    enforcement,
                    origin: Origin::default(),
                }
            },
        )
}

pub(super) fn node(index: usize) -> impl Strategy<Value = Node> {
    let addresses = proptest::sample::subsequence(NODE_ADDRESSES.to_vec(), 0..=2);
    (option::of(select(vec!["x", "y"])), addresses).prop_map(move |(role, addresses)| {
        let labels = role.map(|role| ("role".to_owned(), role.to_owned()));
        Node {
            name: format!("n{index}"),
            labels: labels
                .map(|label| Labels::from([label]))
                .unwrap_or_default(),
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
            origin: Origin::default(),
        }
    })
}
