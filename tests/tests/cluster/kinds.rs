//! The definitions of the kinds on a real API server: it takes them, and refuses what the table says, with its words.

use ringfence_agent::api as kinds;
use ringfence_tests::{
    apiserver::{ApiServer, available},
    lab::patiently,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cluster;

/// What is said offline is tried in agent/tests/kinds.rs.
const TABLE: &str = include_str!("../../kinds/refused.yaml");

/// An object that is refused.
#[derive(Deserialize)]
struct Refused {
    kind: String,
    name: Option<String>,
    spec: Value,
    field: String,
    says: Option<String>,
    server: Option<String>,
}

/// Installs all definitions, and waits until their objects can be asked for.
pub fn define(api: &ApiServer) {
    for definition in kinds::definitions().into_iter().chain([kinds::foreign()]) {
        let mut object = kinds::json(&definition);
        object["apiVersion"] = "apiextensions.k8s.io/v1".into();
        object["kind"] = "CustomResourceDefinition".into();
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        // Groups of Kubernetes' own ask who has agreed.
        object["metadata"]["annotations"] =
            json!({ "api-approved.kubernetes.io": "unapproved, for a test" });
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        let path = format!("{path}?fieldManager=test&force=true");
        let applied = api.request(
            "PATCH",
            &path,
            "application/apply-patch+yaml",
            Some(&object),
        );
        applied.unwrap_or_else(|error| panic!("{name}: {error}"));
        patiently("the kind is served", || {
            api.request("GET", &list(&definition.spec.names.kind), "", None)
                .ok()
        });
    }
}

fn list(kind: &str) -> String {
    let (group, plural) = match kind {
        "ClusterNetworkPolicy" => (
            "policy.networking.k8s.io/v1alpha2",
            "clusternetworkpolicies",
        ),
        "SecurityZone" => ("ringfence.dev/v1alpha1", "securityzones"),
        "ZonePolicy" => ("ringfence.dev/v1alpha1", "zonepolicies"),
        "TenantIsolation" => ("ringfence.dev/v1alpha1", "tenantisolations"),
        "MetadataFirewall" => ("ringfence.dev/v1alpha1", "metadatafirewalls"),
        "MetadataAccess" => ("ringfence.dev/v1alpha1", "metadataaccesses"),
        other => panic!("{other}"),
    };
    format!("/apis/{group}/{plural}")
}

#[test]
fn the_api_server_takes_the_definitions_and_refuses_what_the_table_says() {
    if !available("cluster::the_api_server_takes_the_definitions_and_refuses_what_the_table_says") {
        return;
    }
    let (api, _) = cluster();
    define(&api);
    let table: Vec<Refused> = serde_saphyr::from_str(TABLE).expect("the table is YAML");
    let mut wrong = Vec::new();
    for refused in &table {
        let path = list(&refused.kind);
        let group = path.trim_start_matches("/apis/");
        let group = &group[..group.rfind('/').expect("a plural follows")];
        let object = json!({
            "apiVersion": group,
            "kind": refused.kind,
            "metadata": { "name": refused.name.as_deref().unwrap_or("a") },
            "spec": refused.spec,
        });
        let path = format!("{path}?dryRun=All&fieldValidation=Strict");
        let answer = api.request("POST", &path, "application/json", Some(&object));
        let says = refused.says.as_deref().or(refused.server.as_deref());
        let says = says.expect("the table says what the server says");
        let right = match &answer {
            Ok(_) => says == "accepted",
            Err(error) => error.to_string().contains(says),
        };
        if !right {
            let said = answer.map_or_else(|error| error.to_string(), |_| "accepted".to_owned());
            wrong.push(format!(
                "{} {}\n  wanted {says}\n  said   {said}",
                refused.field, refused.spec
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
