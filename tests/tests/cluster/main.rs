//! The real agent on a real API server: what is said there is what real sockets meet.

mod away;
mod churn;
mod kinds;
mod left;
mod places;
mod policies;
mod rails;
mod status;
mod told;
mod uninstall;

use std::path::PathBuf;

use ringfence_tests::{
    apiserver::ApiServer,
    chart::{own_rules, rules},
    node::NAMESPACE,
};
use serde_json::{Value, json};

/// An API server with the namespace of the pods, and the agents' right to it, which is the chart's.
fn cluster() -> (ApiServer, PathBuf) {
    let api = ApiServer::start();
    namespace(&api, NAMESPACE, json!({}));
    let kubeconfig = api.account("ringfence", &rules());
    // Outside of a pod that is the namespace of whoever names none.
    api.allow_in("default", "ringfence", &own_rules());
    (api, kubeconfig)
}

fn namespace(api: &ApiServer, name: &str, labels: Value) {
    api.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } }));
}

/// A policy of pods `app: to` that lets in whom `peer` names, on TCP and UDP 80, and nobody else.
fn lets_in(to: &str, peer: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": to, "namespace": NAMESPACE },
        "spec": {
            "podSelector": { "matchLabels": { "app": to } },
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": [peer], "ports": [{ "port": 80 }, { "port": 80, "protocol": "UDP" }] }],
        },
    })
}

/// Where a policy lies.
fn policy(name: &str) -> String {
    format!("/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies/{name}")
}

/// A peer: pods of the same namespace with this label.
fn app(name: &str) -> Value {
    json!({ "podSelector": { "matchLabels": { "app": name } } })
}
