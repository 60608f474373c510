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
