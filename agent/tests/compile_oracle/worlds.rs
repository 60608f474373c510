//! Small random clusters, and the addresses and ports where their verdicts may change.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use proptest::{collection::vec, prelude::*, sample::select};
use ringfence_agent::model::{
    ClusterPolicy, Labels, Namespace, Node, Origin, Policy, Protocol, Snapshot, TenantIsolation,
    Zone, ZonePolicy,
};

use super::{
    objects::{CIDRS, NAMESPACES, PORTS, Placed, pod, policy},
    zoned::{NODE_ADDRESSES, PAST, cluster_policy, node, tenants, zone, zone_policy},
};

/// What a cluster is made of, in no order.
#[derive(Clone, Debug)]
pub struct Parts {
    namespaces: Vec<Namespace>,
    pods: Vec<Placed>,
    policies: Vec<Policy>,
    above: Above,
}

/// What is above the application teams.
#[derive(Clone, Debug, Default)]
struct Above {
    nodes: Vec<Node>,
    zones: Vec<Zone>,
    zone_policies: Vec<ZonePolicy>,
    tenants: Vec<TenantIsolation>,
    cluster_policies: Vec<ClusterPolicy>,
    own_addresses: BTreeSet<IpAddr>,
    past: i64,
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
        let Above {
            nodes,
            zones,
            zone_policies,
            tenants,
            cluster_policies,
            own_addresses,
            past,
        } = self.above.clone();
        let named = nodes.into_iter().map(|it| (it.name.clone(), it));
        snapshot.nodes.extend(named);
        let named = zones.into_iter().map(|it| (it.name.clone(), it));
        snapshot.zones.extend(named);
        let named = zone_policies.into_iter().map(|it| (it.name.clone(), it));
        snapshot.zone_policies.extend(named);
        let named = tenants.into_iter().map(|it| (it.name.clone(), it));
        snapshot.tenants.extend(named);
        let named = cluster_policies.into_iter().map(|it| (it.name.clone(), it));
        snapshot.cluster_policies.extend(named);
        snapshot.node_addresses = own_addresses;
        snapshot.past = past;
        snapshot
    }

    /// The same parts in another order.
    pub fn shuffled(&self) -> impl Strategy<Value = Self> + use<> {
        (
            Just(self.namespaces.clone()).prop_shuffle(),
            Just(self.pods.clone()).prop_shuffle(),
            Just(self.policies.clone()).prop_shuffle(),
            self.above.shuffled(),
        )
            .prop_map(|(namespaces, pods, policies, above)| Self {
                namespaces,
                pods,
                policies,
                above,
            })
    }
}

impl Above {
    fn shuffled(&self) -> impl Strategy<Value = Self> + use<> {
        let (own_addresses, past) = (self.own_addresses.clone(), self.past);
        (
            Just(self.nodes.clone()).prop_shuffle(),
            Just(self.zones.clone()).prop_shuffle(),
            Just(self.zone_policies.clone()).prop_shuffle(),
            Just(self.tenants.clone()).prop_shuffle(),
            Just(self.cluster_policies.clone()).prop_shuffle(),
        )
            .prop_map(
                move |(nodes, zones, zone_policies, tenants, cluster_policies)| Self {
                    nodes,
                    zones,
                    zone_policies,
                    tenants,
                    cluster_policies,
                    own_addresses: own_addresses.clone(),
                    past,
                },
            )
    }
}

/// As many as this at most, each by its number.
fn some<S: Strategy>(most: usize, one: fn(usize) -> S) -> impl Strategy<Value = Vec<S::Value>> {
    (0..=most).prop_flat_map(move |count| (0..count).map(one).collect::<Vec<_>>())
}

fn above() -> impl Strategy<Value = Above> {
    let own = proptest::sample::subsequence(NODE_ADDRESSES.to_vec(), 0..=1);
    (
        some(2, node),
        some(3, zone),
        some(3, zone_policy),
        some(2, tenants),
        some(3, cluster_policy),
        (own, PAST - 1..=PAST + 1),
    )
        .prop_map(
            |(nodes, zones, zone_policies, tenants, cluster_policies, (own, past))| Above {
                nodes,
                zones,
                zone_policies,
                tenants,
                cluster_policies,
                own_addresses: own.iter().map(|it| it.parse().unwrap()).collect(),
                past,
            },
        )
}

/// A cluster; half of them have only network policies.
pub fn parts() -> impl Strategy<Value = Parts> {
    let above = proptest::option::of(above()).prop_map(Option::unwrap_or_default);
    let namespaces = vec(
        proptest::option::of(select(vec!["x", "y", ""])),
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
    (namespaces, pods, policies, above).prop_map(|(namespaces, pods, policies, above)| Parts {
        namespaces,
        pods,
        policies,
        above,
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
    all.extend(
        NODE_ADDRESSES
            .iter()
            .map(|it| it.parse::<IpAddr>().unwrap()),
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
