//! Where a snapshot has the objects of each kind.

use std::collections::BTreeSet;

use crate::{
    model::{Objects, PodKey, PolicyKey, Snapshot},
    watch::{Kind, ObjectKey},
};

/// True if there is such an object.
pub(super) fn has(snapshot: &Snapshot, key: &ObjectKey) -> bool {
    let ObjectKey {
        kind,
        namespace,
        name,
    } = key.clone();
    match kind {
        Kind::Namespace => snapshot.namespaces.contains_key(&name),
        Kind::Node => snapshot.nodes.contains_key(&name),
        Kind::Pod => snapshot.pods.contains_key(&PodKey { namespace, name }),
        Kind::Service => snapshot.services.contains_key(&(namespace, name)),
        Kind::NetworkPolicy => {
            let key = PolicyKey { namespace, name };
            snapshot.policies.contains_key(&key)
        }
        Kind::ClusterNetworkPolicy => snapshot.cluster_policies.contains_key(&name),
        Kind::SecurityZone => snapshot.zones.contains_key(&name),
        Kind::ZonePolicy => snapshot.zone_policies.contains_key(&name),
        Kind::TenantIsolation => snapshot.tenants.contains_key(&name),
        Kind::MetadataFirewall => snapshot.firewalls.contains_key(&name),
        Kind::MetadataAccess => snapshot.grants.contains_key(&name),
    }
}

/// Removes an object; true if there was one.
pub(super) fn remove(snapshot: &mut Snapshot, key: &ObjectKey) -> bool {
    let ObjectKey {
        kind,
        namespace,
        name,
    } = key.clone();
    match kind {
        Kind::Namespace => snapshot.namespaces.remove(&name).is_some(),
        Kind::Node => snapshot.nodes.remove(&name).is_some(),
        Kind::Pod => snapshot.pods.remove(&PodKey { namespace, name }).is_some(),
        Kind::Service => snapshot.services.remove(&(namespace, name)).is_some(),
        Kind::NetworkPolicy => {
            let key = PolicyKey { namespace, name };
            snapshot.policies.remove(&key).is_some()
        }
        Kind::ClusterNetworkPolicy => snapshot.cluster_policies.remove(&name).is_some(),
        Kind::SecurityZone => snapshot.zones.remove(&name).is_some(),
        Kind::ZonePolicy => snapshot.zone_policies.remove(&name).is_some(),
        Kind::TenantIsolation => snapshot.tenants.remove(&name).is_some(),
        Kind::MetadataFirewall => snapshot.firewalls.remove(&name).is_some(),
        Kind::MetadataAccess => snapshot.grants.remove(&name).is_some(),
    }
}

/// All objects of a kind.
pub(super) fn keys(snapshot: &Snapshot, kind: Kind) -> BTreeSet<ObjectKey> {
    fn named<V>(objects: &Objects<String, V>, kind: Kind) -> BTreeSet<ObjectKey> {
        let names = objects.keys();
        names.map(|name| ObjectKey::new(kind, None, name)).collect()
    }
    let key = |namespace: &str, name: &str| ObjectKey::new(kind, Some(namespace), name);
    match kind {
        Kind::Namespace => named(&snapshot.namespaces, kind),
        Kind::Node => named(&snapshot.nodes, kind),
        Kind::Pod => {
            let pods = snapshot.pods.keys();
            pods.map(|pod| key(&pod.namespace, &pod.name)).collect()
        }
        Kind::Service => {
            let services = snapshot.services.keys();
            services.map(|(ns, name)| key(ns, name)).collect()
        }
        Kind::NetworkPolicy => {
            let policies = snapshot.policies.keys();
            policies
                .map(|policy| key(&policy.namespace, &policy.name))
                .collect()
        }
        Kind::ClusterNetworkPolicy => named(&snapshot.cluster_policies, kind),
        Kind::SecurityZone => named(&snapshot.zones, kind),
        Kind::ZonePolicy => named(&snapshot.zone_policies, kind),
        Kind::TenantIsolation => named(&snapshot.tenants, kind),
        Kind::MetadataFirewall => named(&snapshot.firewalls, kind),
        Kind::MetadataAccess => named(&snapshot.grants, kind),
    }
}
