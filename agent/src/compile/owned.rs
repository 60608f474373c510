//! Who enforces `NetworkPolicy` and `ClusterNetworkPolicy`: Ringfence, or a container network that does it by itself.

use crate::model::{Diagnostic, Snapshot};

/// Who enforces `NetworkPolicy` and `ClusterNetworkPolicy`.
///
/// There is no half of it: their tiers (5, 6 and 8) and what an overridable tenant isolation makes of their silence
/// belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkPolicy {
    /// Ringfence.
    #[default]
    Ringfence,
    /// The container network; zones, tenants and the metadata firewall stay Ringfence's.
    Cni,
}

/// The snapshot without what the container network enforces.
#[must_use]
pub fn without_network_policy(snapshot: &Snapshot) -> Snapshot {
    let mut left = snapshot.clone();
    left.policies.clear();
    left.cluster_policies.clear();
    left
}

/// What is said of cluster policies that are left to the container network: whether it knows them is its matter.
#[must_use]
pub fn owned_by_cni(snapshot: &Snapshot) -> Vec<Diagnostic> {
    let policies = snapshot.cluster_policies.values();
    let told = policies.map(|policy| Diagnostic {
        origin: policy.origin.clone(),
        object: format!("ClusterNetworkPolicy/{}", policy.name),
        field: String::new(),
        message: format!(
            "{}: Ringfence leaves it to the container network (--network-policy), which may not know this kind; say it as a \
             ZonePolicy, or have Ringfence enforce NetworkPolicy",
            Diagnostic::OWNED_BY_CNI
        ),
    });
    told.collect()
}
