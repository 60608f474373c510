//! What several kinds share. Every list and string is bounded: the API server counts what a rule may cost at worst.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Values of labels.
const LABEL_VALUE: &str = "^(([A-Za-z0-9][A-Za-z0-9_.-]*)?[A-Za-z0-9])?$";
/// Keys of labels.
pub(super) const LABEL_KEY: &str = "^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$";
/// Names of rules and exceptions.
pub(super) const RULE_NAME: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$";
/// Names of objects.
pub(super) const OBJECT_NAME: &str =
    "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";

/// Whether an object counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// What it denies is denied.
    #[default]
    Enforce,
    /// Nothing is denied; what it would deny, and what it would newly allow, is counted and reported.
    Audit,
    /// It is as if it were absent.
    Disabled,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Ports of the destination. A rule with ports does not cover ICMP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.endPort) || has(self.port) && self.port <= self.endPort")
    .message("`endPort` needs a `port`, and must not be below it"))]
pub struct PortRange {
    /// Protocol.
    pub protocol: Protocol,
    /// The port, or the first of several; absent: all ports of the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// The last port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub end_port: Option<i32>,
}

/// Pods that have a network of their own: those of their node's network count as their node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workloads {
    /// Namespaces; an empty selector selects all.
    #[schemars(schema_with = "selector")]
    pub namespace_selector: LabelSelector,
    /// Pods in them; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector")]
    pub pod_selector: Option<LabelSelector>,
    /// Service accounts of the pods; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = OBJECT_NAME)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub service_account_names: Option<Vec<String>>,
}

/// Flows that an audited object is enforced upon: those of which either end is one of these pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.namespaceSelector) || has(self.podSelector)")
    .message("`canary` must have a `namespaceSelector`, a `podSelector` or both"))]
pub struct Canary {
    /// Namespaces; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Pods in them; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector")]
    pub pod_selector: Option<LabelSelector>,
}

/// What the agents say about an object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The generation that all of this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `ResolvedRefs`, `Programmed`, `Enforcing`, and `Ready` as their sum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Nodes whose kernel has this generation, and nodes that should, as in `11/12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub nodes: Option<String>,
    /// Nodes that should have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_node_count: Option<i32>,
    /// Nodes whose kernel has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realized_node_count: Option<i32>,
    /// Rules that it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_count: Option<i32>,
}

/// A label selector with bounds, and with what the API server checks of selectors elsewhere.
pub(super) fn selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels that must have these values.",
                "type": "object",
                "maxProperties": 16,
                "additionalProperties": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE },
            },
            "matchExpressions": {
                "description": "Requirements that must hold, all of them.",
                "type": "array",
                "maxItems": 16,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "description": "Key of the label.",
                            "type": "string", "minLength": 1, "maxLength": 317, "pattern": LABEL_KEY,
                        },
                        "operator": {
                            "description": "How the label relates to the values.",
                            "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "Values; of `In` and `NotIn` only, and never none.",
                            "type": "array",
                            "maxItems": 64,
                            "x-kubernetes-list-type": "atomic",
                            "items": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE },
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                        "message": "`In` and `NotIn` must have `values`, `Exists` and `DoesNotExist` may not",
                    }],
                },
            },
        },
    })
}
