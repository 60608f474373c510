//! `TenantIsolation`: a label of namespaces is the tenant.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::common::{
    Canary, Enforcement, LABEL_KEY, PortRange, RULE_NAME, Status, Workloads, selector,
};

/// Which label is the tenant, and what tenants share.
#[derive(Clone, Debug, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "TenantIsolation",
    plural = "tenantisolations",
    shortname = "tiso",
    category = "ringfence",
    status = "Status",
    derive = "PartialEq",
    doc = "Keeps tenants apart. The value of a label of namespaces is the tenant; all namespaces without it are one more tenant. Of several objects, any that is Strict denies.",
    selectable = ".spec.enforcement",
    printcolumn = r#"{"name":"Label","type":"string","jsonPath":".spec.namespaceLabelKey"}"#,
    printcolumn = r#"{"name":"Tenancy","type":"string","jsonPath":".spec.mode"}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.enforcement"}"#,
    printcolumn = r#"{"name":"Nodes","type":"string","jsonPath":".status.nodes"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.canary) || self.enforcement == 'Audit'")
    .message("`canary` may only be set where `enforcement` is Audit"))]
pub struct TenantIsolationSpec {
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub description: Option<String>,
    /// Key of the namespaces' label whose value is the tenant.
    #[schemars(length(min = 1, max = 317), regex(pattern = LABEL_KEY))]
    pub namespace_label_key: String,
    /// Who may open what it closes.
    #[serde(default)]
    pub mode: TenantMode,
    /// Namespaces that every tenant may reach and be reached from (DNS, monitoring).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "shared")]
    pub shared_namespaces: Vec<LabelSelector>,
    /// Single flows between tenants that are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub except: Option<Vec<TenantException>>,
    /// Whether it counts.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// Of an audited isolation: the flows that it is enforced upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

/// Who may open what the isolation closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TenantMode {
    /// Nobody.
    #[default]
    Strict,
    /// Whoever writes policy for the destination.
    Overridable,
}

/// A flow between tenants that is open. What is absent does not narrow it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.from) || has(self.to) || has(self.ports)")
    .message("an exception must have at least one of `from`, `to` and `ports`"))]
pub struct TenantException {
    /// Name, unique in the object.
    #[schemars(length(min = 1, max = 63), regex(pattern = RULE_NAME))]
    pub name: String,
    /// Who begins the flow: any of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub from: Option<Vec<Workloads>>,
    /// Whom it is for: any of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub to: Option<Vec<Workloads>>,
    /// Ports of the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ports: Option<Vec<PortRange>>,
    /// From then on the exception is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Time>,
}

/// Selectors of some namespaces, never of all.
fn shared(generator: &mut SchemaGenerator) -> Schema {
    let mut item = selector(generator);
    let rules = item.ensure_object().entry("x-kubernetes-validations");
    rules.or_insert(serde_json::json!([{
        "rule": "has(self.matchLabels) && size(self.matchLabels) > 0 || has(self.matchExpressions) && size(self.matchExpressions) > 0",
        "message": "may not select every namespace: that would keep nobody apart; `enforcement: Disabled` says so",
    }]));
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "atomic",
        "items": item,
    })
}
