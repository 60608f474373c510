//! The kinds that users write, as the Kubernetes API has them: their types, and through them their definitions, their
//! schemas and what may be said in them.
//!
//! ```text
//! types ─ derive ─► schema ─► deploy/crds, docs/reference      the API server checks what comes in
//!                      └────► check ─► objects as they count    and so does whoever reads files
//! ```
//!
//! **Invariants.** A definition has a bound for every list and string, nothing that may be null, and rules within what the
//! API server lets them cost. Nothing is checked by other rules than those of the definition.

mod check;
mod cluster_network_policy;
mod common;
mod metadata_access;
mod metadata_firewall;
mod node_zone_state;
mod reference;
mod schema;
mod security_zone;
mod tenant_isolation;
mod zone_policy;

pub use check::{Violation, check};
pub use cluster_network_policy::{
    ClusterNetworkPolicy, ClusterNetworkPolicySpec, ClusterNetworkPolicyStatus, EgressPeer,
    EgressRule, IngressPeer, IngressRule, NamespacedPod, Port, PortMatch, ProtocolMatch, Range,
    RuleAction, Subject, Tier,
};
pub use common::{Canary, Enforcement, PortRange, Protocol, Status, Workloads};
pub use metadata_access::{MetadataAccess, MetadataAccessSpec, PodAnnotation};
pub use metadata_firewall::{
    AnnotatedPods, Endpoint, EndpointKind, HostNetworkPods, MetadataFirewall, MetadataFirewallSpec,
    NamedPods,
};
pub use node_zone_state::{
    MOST_IN_FORCE, NodeZoneState, NodeZoneStateSpec, NodeZoneStateStatus, version_print,
};
pub use reference::{json_schema, markdown, yaml};
pub use schema::{definitions, foreign, json, schema};
pub use security_zone::{
    IntraZoneTraffic, Members, Networks, Openness, SecurityZone, SecurityZoneSpec,
    SecurityZoneStatus,
};
pub use tenant_isolation::{TenantException, TenantIsolation, TenantIsolationSpec, TenantMode};
pub use zone_policy::{
    Action, Entity, ZoneException, ZonePeer, ZonePolicy, ZonePolicySpec, ZoneRule,
};
