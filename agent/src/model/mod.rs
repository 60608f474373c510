//! What the cluster is made of, in plain types: no Kubernetes library, no aya, no serde.

mod cluster_policy;
mod expiry;
mod host;
mod intern;
mod labels;
mod metadata;
mod objects;
mod origin;
mod pod;
mod policy;
mod port;
mod set;
mod snapshot;
mod tenant;
mod zone;

pub use cluster_policy::{ClusterAction, ClusterPeer, ClusterPolicy, ClusterRule, ClusterTier};
pub use expiry::Expiry;
pub use host::{Failsafe, FailsafePeers, Host};
pub use intern::Interner;
pub use labels::{Labels, Operator, Requirement, Selector};
pub use metadata::{
    Annotated, EndpointKind, MetadataAccess, MetadataEndpoint, MetadataFirewall, NamedPods,
};
pub use objects::{Difference, Objects};
pub use origin::{Diagnostic, Origin};
pub use pod::{
    CGROUP_ANNOTATION, ContainerPort, HostDevice, HostKind, INTERFACE_ANNOTATION, Located,
    NETNS_ANNOTATION, Owner, PLACE_ANNOTATIONS, Phase, Place, Pod, PodKey,
};
pub use policy::{Enforcement, IpBlock, Peer, Policy, PolicyKey, Ports, Rule};
pub use port::{PortSpec, Protocol};
pub use set::Set;
pub use snapshot::{Namespace, Node, Service, ServicePort, Snapshot, TargetPort};
pub use tenant::{TenantException, TenantIsolation, TenantMode};
pub use zone::{
    Canary, Entity, IntraZone, Members, Openness, Workloads, Zone, ZoneAction, ZoneException,
    ZonePeer, ZonePolicy, ZoneRule,
};
