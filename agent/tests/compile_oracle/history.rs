//! Histories of worlds: one change after the other, in any order.

use proptest::prelude::*;
use ringfence_agent::model::{Objects, PodKey, PolicyKey, Snapshot};

use super::{objects::NAMESPACES, worlds::parts};

/// One object as it is in another cluster, or gone as it is there.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Namespace(String),
    Pod(PodKey),
    Local(PodKey),
    Policy(PolicyKey),
    Node(String),
    Zone(String),
    ZonePolicy(String),
    Tenants(String),
    ClusterPolicy(String),
    OwnAddresses,
    Past,
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
            Self::Node(key) => copy(key, &from.nodes, &mut to.nodes),
            Self::Zone(key) => copy(key, &from.zones, &mut to.zones),
            Self::ZonePolicy(key) => copy(key, &from.zone_policies, &mut to.zone_policies),
            Self::Tenants(key) => copy(key, &from.tenants, &mut to.tenants),
            Self::ClusterPolicy(key) => copy(key, &from.cluster_policies, &mut to.cluster_policies),
            Self::Past => to.past = from.past,
            Self::OwnAddresses => to.node_addresses.clone_from(&from.node_addresses),
        }
    }

    /// All that differ.
    fn between(one: &Snapshot, other: &Snapshot) -> Vec<Self> {
        fn keys<K: Ord + Clone, V: Eq>(
            one: &Objects<K, V>,
            other: &Objects<K, V>,
            change: fn(K) -> Change,
        ) -> impl Iterator<Item = Change> {
            let keys = one.changed_keys(other).into_iter().cloned();
            keys.map(change).collect::<Vec<_>>().into_iter()
        }
        keys(&one.namespaces, &other.namespaces, Self::Namespace)
            .chain(keys(&one.pods, &other.pods, Self::Pod))
            .chain(keys(&one.local, &other.local, Self::Local))
            .chain(keys(&one.policies, &other.policies, Self::Policy))
            .chain(keys(&one.nodes, &other.nodes, Self::Node))
            .chain(keys(&one.zones, &other.zones, Self::Zone))
            .chain(keys(
                &one.zone_policies,
                &other.zone_policies,
                Self::ZonePolicy,
            ))
            .chain(keys(&one.tenants, &other.tenants, Self::Tenants))
            .chain(keys(
                &one.cluster_policies,
                &other.cluster_policies,
                Self::ClusterPolicy,
            ))
            .chain((one.past != other.past).then_some(Self::Past))
            .chain((one.node_addresses != other.node_addresses).then_some(Self::OwnAddresses))
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
