//! The definitions of the kinds on a real API server: it takes them, and refuses what the table says, with its words.

use std::{path::PathBuf, sync::Arc, thread};

use ringfence_agent::{
    api as kinds,
    index::{self, State},
    lab::netns,
    model::Diagnostic,
    watch::{Connection, Health, Kubernetes, Places},
};
use ringfence_tests::{
    apiserver::{ApiServer, available},
    lab::patiently,
    refused,
};
use serde_json::json;

use super::cluster;

const GROUP: &str = "ringfence.dev/v1alpha1";

/// Installs all definitions, and waits until their objects can be asked for.
pub fn define(api: &ApiServer) {
    for definition in kinds::definitions().into_iter().chain([kinds::foreign()]) {
        let mut object = kinds::json(&definition);
        object["apiVersion"] = "apiextensions.k8s.io/v1".into();
        object["kind"] = "CustomResourceDefinition".into();
        let name = definition.metadata.name.as_deref().unwrap_or_default();
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

pub fn list(kind: &str) -> String {
    let (group, plural) = match kind {
        "ClusterNetworkPolicy" => (
            "policy.networking.k8s.io/v1alpha2",
            "clusternetworkpolicies",
        ),
        "SecurityZone" => (GROUP, "securityzones"),
        "ZonePolicy" => (GROUP, "zonepolicies"),
        "TenantIsolation" => (GROUP, "tenantisolations"),
        "MetadataFirewall" => (GROUP, "metadatafirewalls"),
        "MetadataAccess" => (GROUP, "metadataaccesses"),
        "NodeZoneState" => (GROUP, "nodezonestates"),
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
    let mut wrong = Vec::new();
    for refused in refused::table() {
        let path = list(&refused.kind);
        let path = format!("{path}?dryRun=All&fieldValidation=Strict");
        let answer = api.request("POST", &path, "application/json", Some(&refused.object()));
        let says = refused.server();
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

/// Follows the cluster as an agent does, in the API server's namespace; the newest state.
fn follow(api: &ApiServer, kubeconfig: PathBuf) -> tokio::sync::watch::Receiver<Arc<State>> {
    let name = api.netns().to_owned();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        netns::enter(&name).expect("the API server is there");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let connection = Connection::find(Some(kubeconfig), None).await;
            let connection = connection.expect("a kubeconfig");
            let health = Arc::new(Health::default());
            let source = Kubernetes::new(connection, health, Places::Ignored);
            let (states, task) = index::follow(source);
            sender.send(states).expect("the test waits");
            // It ends when the test holds no receiver any more.
            let _: Result<_, _> = task.await;
        });
    });
    receiver.recv().expect("the thread lives")
}

#[test]
fn kinds_that_are_not_defined_are_absent_until_they_are() {
    if !available("cluster::kinds_that_are_not_defined_are_absent_until_they_are") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let states = follow(&api, kubeconfig);
    patiently("all kinds are read, defined or not", || {
        states.borrow().synced.then_some(())
    });
    assert_eq!(states.borrow().diagnostics, []);

    define(&api);
    let any = json!([{ "entity": "Any" }]);
    for (kind, spec) in [
        (
            "SecurityZone",
            json!({ "members": [{ "networks": { "cidrs": ["10.0.0.0/8"] } }] }),
        ),
        (
            "ZonePolicy",
            json!({ "rules": [{
                "name": "over", "action": "Deny", "from": any, "to": any, "expirationTime": "2020-01-01T00:00:00Z",
            }] }),
        ),
        ("TenantIsolation", json!({ "namespaceLabelKey": "tenant" })),
        (
            "MetadataAccess",
            json!({ "subjects": [{ "namespaceSelector": {} }] }),
        ),
        ("MetadataFirewall", json!({ "enforcement": "Disabled" })),
    ] {
        api.apply(&json!({
            "apiVersion": GROUP, "kind": kind, "metadata": { "name": "default" }, "spec": spec,
        }));
    }
    api.apply(&json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": { "name": "p" },
        "spec": { "tier": "Admin", "priority": 1, "subject": { "namespaces": {} } },
    }));
    patiently("objects of the new kinds are there", || {
        let state = Arc::clone(&states.borrow());
        let snapshot = &state.snapshot;
        let counts = [
            snapshot.zones.len(),
            snapshot.zone_policies.len(),
            snapshot.tenants.len(),
            snapshot.grants.len(),
            snapshot.cluster_policies.len(),
        ];
        let unsupported = state.diagnostics.iter().any(|found| {
            found.reason() == Diagnostic::NOT_SUPPORTED && found.field == "spec.enforcement"
        });
        (counts == [1; 5] && unsupported && snapshot.past == 1_577_836_800).then_some(())
    });

    // With a definition go its objects.
    api.delete(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/securityzones.ringfence.dev",
    );
    patiently("the zone is gone, and nothing else", || {
        let state = Arc::clone(&states.borrow());
        (state.snapshot.zones.is_empty() && state.snapshot.tenants.len() == 1).then_some(())
    });
}
