//! The state of everything at one moment.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    ClusterPolicy, Labels, Located, MetadataAccess, MetadataFirewall, Objects, Origin, Pod, PodKey,
    Policy, PolicyKey, Protocol, Selector, TenantIsolation, Zone, ZonePolicy,
};

/// The state of everything at one moment: what the compiler reads. A clone is a few pointers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Namespaces by name. A pod's namespace that has no object counts as one that has only the label
    /// `kubernetes.io/metadata.name`.
    pub namespaces: Objects<String, Namespace>,
    /// Pods.
    pub pods: Objects<PodKey, Pod>,
    /// Nodes by name.
    pub nodes: Objects<String, Node>,
    /// Services by (namespace, name).
    pub services: Objects<(String, String), Service>,
    /// Policies.
    pub policies: Objects<PolicyKey, Policy>,
    /// Cluster network policies by name.
    pub cluster_policies: Objects<String, ClusterPolicy>,
    /// Security zones by name.
    pub zones: Objects<String, Zone>,
    /// Zone policies by name.
    pub zone_policies: Objects<String, ZonePolicy>,
    /// Tenant isolations by name.
    pub tenants: Objects<String, TenantIsolation>,
    /// The metadata firewall; there is one at most, named `default`.
    pub firewalls: Objects<String, MetadataFirewall>,
    /// Grants of metadata access by name.
    pub grants: Objects<String, MetadataAccess>,
    /// The last [`super::Expiry`] of anything here that has come; 0 if none has.
    pub past: i64,
    /// The pods of this node whose interface is known.
    pub local: Objects<PodKey, Located>,
    /// Addresses of this node itself.
    pub node_addresses: BTreeSet<IpAddr>,
    /// Broadcast addresses of the networks that it is in.
    pub broadcasts: BTreeSet<IpAddr>,
}

/// A namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Name.
    pub name: String,
    /// Labels; `kubernetes.io/metadata.name` always among them.
    pub labels: Labels,
    /// Where it was read.
    pub origin: Origin,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Addresses (`status.addresses` that are addresses).
    pub addresses: Vec<IpAddr>,
    /// Where it was read.
    pub origin: Origin,
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Pods behind it; `None` for a service whose endpoints somebody else writes.
    pub selector: Option<Selector>,
    /// Cluster, external and load balancer addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Where it was read.
    pub origin: Origin,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name, if it has one.
    pub name: Option<String>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the service's addresses.
    pub port: u16,
    /// Port of the pods behind.
    pub target: TargetPort,
    /// Port of every node that leads here.
    pub node_port: Option<u16>,
}

/// Where a service's port leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// This port.
    Number(u16),
    /// The container port of this name, on each pod its own.
    Name(String),
}
