//! `MetadataAccess`: a grant that is kept outside of the namespaces that it is for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{RULE_NAME, Status, Workloads};

/// Whom a grant is for, and what it opens.
#[derive(Clone, Debug, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "MetadataAccess",
    plural = "metadataaccesses",
    shortname = "mdacc",
    category = "ringfence",
    status = "Status",
    derive = "PartialEq",
    doc = "A grant of access to the cloud's metadata service. It passes the metadata firewall and nothing else: policies may still deny. What it trusts is the namespace, for whoever creates pods there may use any of its service accounts.",
    printcolumn = r#"{"name":"Annotation","type":"string","jsonPath":".spec.podAnnotation"}"#,
    printcolumn = r#"{"name":"Expires","type":"date","jsonPath":".spec.expirationTime"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct MetadataAccessSpec {
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub description: Option<String>,
    /// Endpoints that it opens: names of the built-in catalogue (`imds`, `ecs-task`, `azure-wireserver`,
    /// `gke-metadata-server`) or of the MetadataFirewall; absent: all. A name that is neither opens nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63), regex(pattern = RULE_NAME)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub endpoint_names: Option<Vec<String>>,
    /// Pods that it is for: whom any of these names, pods with their node's network among them.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub subjects: Vec<Workloads>,
    /// Whether a pod must ask, too.
    #[serde(default)]
    pub pod_annotation: PodAnnotation,
    /// From then on the grant is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
}

/// Whether a pod must ask for what it is granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PodAnnotation {
    /// Its annotation `metadata.ringfence.dev/access` must have the grant's name as its value.
    #[default]
    Required,
    /// It need not.
    Ignored,
}
