//! `SecurityZone`: who belongs together.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Enforcement, Workloads, selector};

/// What is in a zone, and what is so before any policy speaks.
#[derive(Clone, Debug, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "SecurityZone",
    plural = "securityzones",
    shortname = "szone",
    category = "ringfence",
    status = "SecurityZoneStatus",
    derive = "PartialEq",
    doc = "A zone: pods, nodes and networks that belong together, and what may come in and go out where no ZonePolicy says more. Pods are of the zone that selects them, else nodes and addresses of the zone that selects the node, else of the zone with the longest matching network.",
    selectable = ".spec.enforcement",
    printcolumn = r#"{"name":"Ingress","type":"string","jsonPath":".spec.ingress"}"#,
    printcolumn = r#"{"name":"Egress","type":"string","jsonPath":".spec.egress"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.enforcement"}"#,
    printcolumn = r#"{"name":"Pods","type":"integer","jsonPath":".status.podCount"}"#,
    printcolumn = r#"{"name":"Nodes","type":"integer","jsonPath":".status.nodeCount"}"#,
    printcolumn = r#"{"name":"CIDRs","type":"integer","jsonPath":".status.networkCount"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SecurityZoneSpec {
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub description: Option<String>,
    /// Who is in it: whoever any of these names.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub members: Vec<Members>,
    /// What may come in from outside of the zone where no ZonePolicy allows it.
    #[serde(default)]
    pub ingress: Openness,
    /// What may go out of the zone where no ZonePolicy allows it.
    #[serde(default)]
    pub egress: Openness,
    /// What members may say to each other where no ZonePolicy allows it.
    #[serde(default)]
    pub intra_zone_traffic: IntraZoneTraffic,
    /// Whether it counts.
    #[serde(default)]
    pub enforcement: Enforcement,
}

/// Members of a zone: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.workloads), has(self.networks), has(self.nodes)].filter(x, x).size() == 1")
    .message("a member must have exactly one of `workloads`, `networks` and `nodes`"))]
pub struct Members {
    /// Pods that have a network of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<Workloads>,
    /// Addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Networks>,
    /// Nodes, with the pods that have their network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector")]
    pub nodes: Option<LabelSelector>,
}

/// Networks without some of their parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.except) || self.except.all(e, !isCIDR(e) || self.cidrs.exists(c, isCIDR(c) && cidr(c).containsCIDR(e) && c != e))")
    .message("every network of `except` must lie inside of one of `cidrs` and be smaller"))]
pub struct Networks {
    /// Networks, as in `10.20.0.0/16` or `fd00:20::/64`.
    #[schemars(length(min = 1, max = 256), inner(length(max = 43)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(c, isCIDR(c) && cidr(c) == cidr(c).masked())")
        .message("must be networks as in `10.20.0.0/16` or `fd00:20::/64`, without bits after the prefix"))]
    pub cidrs: Vec<String>,
    /// Parts of them that do not belong to the zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(max = 43)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(c, isCIDR(c) && cidr(c) == cidr(c).masked())")
        .message("must be networks as in `10.20.0.0/16` or `fd00:20::/64`, without bits after the prefix"))]
    pub except: Option<Vec<String>>,
}

/// What a zone does with what no policy allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Openness {
    /// It passes.
    #[default]
    Open,
    /// It is denied.
    Isolated,
}

/// What members of a zone may say to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IntraZoneTraffic {
    /// Everything.
    #[default]
    Allow,
    /// What a ZonePolicy allows.
    Deny,
}

/// What the agents say about a zone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityZoneStatus {
    /// The generation that all of this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `Programmed`, `Enforcing`, `Populated`, `Overlapping`, and `Ready` as their sum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Pods in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_count: Option<i32>,
    /// Nodes in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_count: Option<i32>,
    /// Networks in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_count: Option<i32>,
    /// Nodes that should have it in their kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_node_count: Option<i32>,
    /// Nodes whose kernel has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realized_node_count: Option<i32>,
}
