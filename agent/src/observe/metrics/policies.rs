//! What there is to enforce, and whether it is in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicU64,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::{Sample, clamp, gauge, seconds_since_epoch};
use crate::{
    locate::Placed,
    model::{Diagnostic, Objects, PolicyKey},
    watch::Kind,
};

/// What became of a policy's latest version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyState {
    /// It is in force.
    InForce,
    /// It is not in force yet, or the kernel refused it.
    Pending,
    /// It cannot be used: the last good version is in force, or its subjects are isolated.
    Invalid,
}

impl PolicyState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::InForce, Self::Pending, Self::Invalid];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in_force",
            Self::Pending => "pending",
            Self::Invalid => "invalid",
        }
    }
}

/// Counts policies, and what else the cluster's administrators write. `wanted` is the latest state, `in_force` the one that what
/// is in force was made from.
#[must_use]
pub fn policy_states(
    wanted: &Placed,
    in_force: Option<&Placed>,
    diagnostics: &[Diagnostic],
) -> BTreeMap<(Kind, PolicyState), usize> {
    // What is said of a whole object says what is in force in its stead.
    let invalid: BTreeSet<&str> = diagnostics
        .iter()
        .filter(|found| found.field.is_empty())
        .map(|found| found.object.as_str())
        .collect();
    let nothing = Placed::default();
    let (new, old) = (&wanted.snapshot, &in_force.unwrap_or(&nothing).snapshot);
    let mut counts = BTreeMap::new();
    let mut add = |kind: Kind, (usable, pending): (usize, usize)| {
        let of_kind = |object: &&&str| object.split('/').next() == Some(kind.as_str());
        let invalid = invalid.iter().filter(of_kind).count();
        counts.insert((kind, PolicyState::InForce), usable - pending);
        counts.insert((kind, PolicyState::Pending), pending);
        counts.insert((kind, PolicyState::Invalid), invalid);
    };
    let valid = |object: &str| !invalid.contains(object);
    let named = |kind: Kind| move |name: &String| format!("{}/{name}", kind.as_str());
    macro_rules! kinds {
        ($($kind:ident $objects:ident)*) => {
            $({
                let kind = Kind::$kind;
                add(kind, count(&old.$objects, &new.$objects, named(kind), &valid));
            })*
        };
    }
    kinds! {
        ClusterNetworkPolicy cluster_policies
        SecurityZone zones
        ZonePolicy zone_policies
        TenantIsolation tenants
        MetadataAccess grants
    }
    let policies = count(&old.policies, &new.policies, PolicyKey::to_string, &valid);
    add(Kind::NetworkPolicy, policies);
    counts
}

/// How many of the wanted objects can be used, and how many of those are not in force.
fn count<K: Ord + Clone, V: Eq>(
    in_force: &Objects<K, V>,
    wanted: &Objects<K, V>,
    object: impl Fn(&K) -> String,
    valid: &dyn Fn(&str) -> bool,
) -> (usize, usize) {
    let valid = |key: &K| valid(&object(key));
    let usable = wanted.keys().filter(|key| valid(key)).count();
    let changed = in_force.changed_keys(wanted).into_iter();
    let pending = changed.filter(|key| wanted.contains_key(*key) && valid(key));
    (usable, pending.count())
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PolicyLabels {
    kind: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

pub(super) fn register(registry: &mut Registry, sample: &Sample) {
    let policies = Family::<PolicyLabels, Gauge>::default();
    for (&(kind, state), &count) in &sample.policies {
        let labels = PolicyLabels {
            kind: kind.as_str(),
            state: state.as_str(),
        };
        policies.get_or_create(&labels).set(clamp(count));
    }
    registry.register(
        "policies",
        "Policies, zones and grants, by what became of their latest version on this node",
        policies,
    );

    let endpoints = Family::<StateLabel, Gauge>::default();
    for (state, count) in [("ready", sample.endpoints), ("not_found", sample.unplaced)] {
        let labels = StateLabel { state };
        endpoints.get_or_create(&labels).set(clamp(count));
    }
    registry.register("endpoints", "Pods of this node", endpoints);

    let vanished = Counter::<u64>::default();
    vanished.inc_by(sample.counters.vanished);
    registry.register(
        "endpoints_vanished",
        "Pods whose device went away while programs were being attached to it",
        vanished,
    );

    let revision = Gauge::<i64>::default();
    revision.set(
        sample
            .revision
            .map_or(0, |revision| i64::try_from(revision).unwrap_or(i64::MAX)),
    );
    registry.register("policy_revision", "Revision of the maps in force", revision);

    let realized = Gauge::<f64, AtomicU64>::default();
    realized.set(seconds_since_epoch(sample.realized_at));
    registry.register_with_unit(
        "policy_realized_timestamp",
        "When this agent last brought a state into force",
        Unit::Seconds,
        realized,
    );
    registry.register(
        "policy_compile_errors",
        "Things that are wrong with objects now",
        gauge(sample.diagnostics),
    );
}
