//! Policies of the cluster's administrators, above and below those of namespaces.

use ipnet::IpNet;

use super::{Enforcement, Origin, Ports, Selector};

/// A `ClusterNetworkPolicy` (`policy.networking.k8s.io/v1alpha2`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterPolicy {
    /// Name.
    pub name: String,
    /// Above or below `NetworkPolicy`.
    pub tier: ClusterTier,
    /// Lower numbers first; of equal ones the lesser name.
    pub priority: u16,
    /// Namespaces of the pods that it is about.
    pub namespaces: Selector,
    /// Pods in them that it is about.
    pub pods: Selector,
    /// Rules for what comes in; the first that matches decides.
    pub ingress: Vec<ClusterRule>,
    /// Rules for what goes out, likewise.
    pub egress: Vec<ClusterRule>,
    /// Whether it counts.
    pub enforcement: Enforcement,
    /// Where it was read.
    pub origin: Origin,
}

/// Where a [`ClusterPolicy`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterTier {
    /// Before `NetworkPolicy`.
    Admin,
    /// After it.
    Baseline,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRule {
    /// Name; may be empty.
    pub name: String,
    /// What it says.
    pub action: ClusterAction,
    /// The other side; never empty.
    pub peers: Vec<ClusterPeer>,
    /// Ports of the destination.
    pub ports: Ports,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterAction {
    /// Allowed, and no later tier is asked.
    Accept,
    /// Denied.
    Deny,
    /// The rest of this tier is skipped.
    Pass,
}

/// The other side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterPeer {
    /// Pods.
    Pods {
        /// Namespaces.
        namespaces: Selector,
        /// Pods in them.
        pods: Selector,
    },
    /// Nodes (of what goes out).
    Nodes(Selector),
    /// Addresses (of what goes out).
    Network(IpNet),
}
