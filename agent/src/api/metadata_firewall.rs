//! `MetadataFirewall`: what is denied to every pod that nothing grants it to.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Enforcement, RULE_NAME, Status};

/// What the metadata firewall denies.
#[derive(Clone, Debug, Default, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "MetadataFirewall",
    plural = "metadatafirewalls",
    shortname = "mdfw",
    category = "ringfence",
    status = "Status",
    derive = "PartialEq",
    doc = "The metadata firewall. There is one, called `default`; without the object it is in force all the same.",
    validation = Rule::new("self.metadata.name == 'default'").message("there is one metadata firewall: its name must be `default`"),
    selectable = ".spec.enforcement",
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.enforcement"}"#,
    printcolumn = r#"{"name":"Nodes","type":"string","jsonPath":".status.nodes"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct MetadataFirewallSpec {
    /// Whether it counts.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// What pods get that have their node's network.
    #[serde(default)]
    pub host_network_pods: HostNetworkPods,
    /// Metadata services; absent: those of every known cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub endpoints: Option<Vec<Endpoint>>,
}

/// What pods get that have their node's network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HostNetworkPods {
    /// What other pods get: nothing without a grant.
    #[default]
    Deny,
    /// Access.
    Allow,
}

/// A metadata service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Name, unique in the object.
    #[schemars(length(min = 1, max = 63), regex(pattern = RULE_NAME))]
    pub name: String,
    /// Addresses at which it answers.
    #[schemars(length(min = 1, max = 16), inner(length(max = 45)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(a, isIP(a))").message("must be IPv4 or IPv6 addresses"))]
    pub addresses: Vec<String>,
    /// TCP ports at which it answers; absent: everything, but what is known to be a resolver or time server at the same
    /// address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 65535)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub ports: Option<Vec<i32>>,
}
