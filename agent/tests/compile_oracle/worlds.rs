//! Small random clusters, and the addresses and ports where their verdicts may change.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use proptest::{collection::vec, prelude::*, sample::select};
use ringfence_agent::model::{Labels, Namespace, Origin, Policy, Protocol, Snapshot};

use super::objects::{CIDRS, NAMESPACES, PORTS, Placed, pod, policy};

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
