//! `ZonePolicy`: who may talk to whom.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Canary, Enforcement, OBJECT_NAME, PortRange, RULE_NAME, Status};

/// Who may, and who must not, talk to whom.
#[derive(Clone, Debug, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "ZonePolicy",
    plural = "zonepolicies",
    shortname = "zpol",
    category = "ringfence",
    status = "Status",
    derive = "PartialEq",
    doc = "Rules between zones. A rule that allows opens the isolation of both ends; a rule that denies is final, but for its own exceptions, whatever else allows the flow. Deny beats allow, and the order of rules and of policies means nothing.",
    selectable = ".spec.enforcement",
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.enforcement"}"#,
    printcolumn = r#"{"name":"Rules","type":"integer","jsonPath":".status.ruleCount"}"#,
    printcolumn = r#"{"name":"Nodes","type":"string","jsonPath":".status.nodes"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.canary) || self.enforcement == 'Audit'")
    .message("`canary` may only be set where `enforcement` is Audit"))]
pub struct ZonePolicySpec {
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub description: Option<String>,
    /// Whether it counts.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// Of an audited policy: the flows that it is enforced upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// Rules; their order means nothing.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub rules: Vec<ZoneRule>,
}

/// One rule: these may, or must not, talk to those, on these ports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.action == 'Deny' || !has(self.except)")
    .message("`except` may only be set where `action` is Deny"))]
#[x_kube(validation = Rule::new("self.action == 'Deny' || !has(self.acknowledgeLockout) || !self.acknowledgeLockout")
    .message("`acknowledgeLockout` may only be set where `action` is Deny"))]
pub struct ZoneRule {
    /// Name, unique in the policy; verdicts are reported with it.
    #[schemars(length(min = 1, max = 63), regex(pattern = RULE_NAME))]
    pub name: String,
    /// What the rule says.
    pub action: Action,
    /// Who begins the flow: any of these.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub from: Vec<ZonePeer>,
    /// Whom it is for: any of these.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub to: Vec<ZonePeer>,
    /// Ports of the destination; absent: everything, ICMP too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ports: Option<Vec<PortRange>>,
    /// What a rule that denies does not deny.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub except: Option<Vec<ZoneException>>,
    /// The rule may close ports of nodes without which nobody gets in to mend it (SSH, say).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub acknowledge_lockout: bool,
    /// From then on the rule is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// The isolation of zones does not stand in its way.
    Allow,
    /// Denied, whatever else allows it.
    Deny,
}

/// One side of a rule: exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.zoneNames) != has(self.entity)")
    .message("a peer must have exactly one of `zoneNames` and `entity`"))]
pub struct ZonePeer {
    /// Zones by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub zone_names: Option<Vec<String>>,
    /// A class of addresses that needs no zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<Entity>,
}

/// A class of addresses that needs no zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Entity {
    /// All.
    Any,
    /// Outside of the cluster: no running pod's address and no node's.
    World,
    /// Pods and nodes.
    Cluster,
    /// In no zone.
    Unzoned,
}

/// What a rule that denies does not deny. What is absent does not narrow it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.from) || has(self.to) || has(self.ports)")
    .message("an exception must have at least one of `from`, `to` and `ports`"))]
pub struct ZoneException {
    /// Name, unique in the rule.
    #[schemars(length(min = 1, max = 63), regex(pattern = RULE_NAME))]
    pub name: String,
    /// Who begins the flow: any of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub from: Option<Vec<ZonePeer>>,
    /// Whom it is for: any of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub to: Option<Vec<ZonePeer>>,
    /// Ports of the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ports: Option<Vec<PortRange>>,
    /// From then on the exception is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
}
