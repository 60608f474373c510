//! `MetadataFirewall`: what is denied to every pod that nothing grants it to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{Enforcement, Protocol, RULE_NAME, Status, selector};

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
    doc = "The metadata firewall. There is one, called `default`; without the object it is in force all the same: the metadata services of every known cloud are denied to every pod that has no grant. The object adds to that.",
    validation = Rule::new("self.metadata.name == 'default'").message("there is one metadata firewall: its name must be `default`"),
    selectable = ".spec.enforcement",
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.enforcement"}"#,
    printcolumn = r#"{"name":"Nodes","type":"string","jsonPath":".status.nodes"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.annotationNamespaceSelector) || has(self.annotatedPods) && self.annotatedPods == 'Granted'")
    .message("`annotationNamespaceSelector` may only be set where `annotatedPods` is Granted"))]
pub struct MetadataFirewallSpec {
    /// Audit: what has no grant passes everywhere, and is told of: to learn who needs one. Policies about these addresses, and
    /// what else is refused of packets, count all the same. Disabled is refused: without the object the firewall is in force.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// What pods get that have their node's network.
    #[serde(default)]
    pub host_network_pods: HostNetworkPods,
    /// Pods with their node's network that get the opposite of `hostNetworkPods`: where that is Allow, nothing without a
    /// grant; where it is Deny, access to every endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub host_network_exceptions: Option<Vec<NamedPods>>,
    /// What a pod's annotation `metadata.ringfence.dev/access` is worth; absent: what the agents are told by
    /// `--metadata-annotations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotated_pods: Option<AnnotatedPods>,
    /// Namespaces whose pods' annotation is a grant; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector")]
    pub annotation_namespace_selector: Option<LabelSelector>,
    /// Pods that may send encapsulated packets (VXLAN, Geneve, GRE, IP in IP) to nodes, from where they come out as anybody
    /// else's: they reach whatever the node passes on, past every policy. All others' are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub encapsulating_pods: Option<Vec<NamedPods>>,
    /// Metadata services beside those of every known cloud, which stay denied.
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
    /// Access to every endpoint.
    Allow,
}

/// Pods under a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.namespaceSelector) || has(self.podSelector)")
    .message("there must be a `namespaceSelector`, a `podSelector` or both"))]
pub struct NamedPods {
    /// Name, unique in the list.
    #[schemars(length(min = 1, max = 63), regex(pattern = RULE_NAME))]
    pub name: String,
    /// Namespaces; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Pods in them; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector")]
    pub pod_selector: Option<LabelSelector>,
}

/// What a pod's annotation is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AnnotatedPods {
    /// It is a grant of every endpoint.
    Granted,
    /// It only asks for what a MetadataAccess grants: for clusters whose tenants are not trusted.
    RequestOnly,
}

/// A metadata service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.kind == 'Proxy') == has(self.standsFor)")
    .message("`standsFor` must be set where `kind` is Proxy, and nowhere else"))]
#[x_kube(validation = Rule::new("has(self.addresses) || self.kind == 'Proxy' && has(self.ports)")
    .message("`addresses` must be set; only a Proxy with `ports` may do without, and is at the node's own addresses"))]
#[x_kube(validation = Rule::new("!has(self.protocols) || has(self.ports)")
    .message("`protocols` may only be set beside `ports`"))]
pub struct Endpoint {
    /// Name, unique in the object, by which a MetadataAccess opens it. One of the built-in catalogue's names (`imds`,
    /// `ecs-task`, `azure-wireserver`, `gke-metadata-server`) adds addresses to that endpoint.
    #[schemars(length(min = 1, max = 63), regex(pattern = RULE_NAME))]
    pub name: String,
    /// What answers there.
    #[serde(default)]
    pub kind: EndpointKind,
    /// Of a proxy: endpoints that it answers for. Who is granted the proxy may send to them as well, and gets through only
    /// where the node translates that to the proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63), regex(pattern = RULE_NAME)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub stands_for: Option<Vec<String>>,
    /// Addresses at which it answers; of a proxy and absent: each node's own addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(max = 45)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(a, isIP(a))").message("must be IPv4 or IPv6 addresses"))]
    pub addresses: Option<Vec<String>>,
    /// Ports at which it answers: others of these addresses are open to everybody, but for fragments, which have no ports;
    /// absent: everything is denied. What the catalogue denies at an address of its own stays denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 65535)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub ports: Option<Vec<i32>>,
    /// Protocols of the ports; absent: TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 3))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub protocols: Option<Vec<Protocol>>,
}

/// What answers at a metadata endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EndpointKind {
    /// The cloud's own service, or one like it.
    #[default]
    Service,
    /// A program such as kube2iam or kiam, to which the node translates what pods send to others.
    Proxy,
}
