//! What the objects of the API become.

use serde_json::json;

use super::{
    super::{Event, Object},
    resource::{NetworkPolicy, Pod, Resource},
};

fn event<R: Resource>(object: serde_json::Value) -> Event {
    serde_json::from_value::<R>(object).unwrap().into_event()
}

fn policy(spec: serde_json::Value) -> Event {
    event::<NetworkPolicy>(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "p", "namespace": "t", "resourceVersion": "7", "somethingNew": { "in": "metadata" },
            "managedFields": [{ "manager": "kubectl" }],
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "ringfence.dev/enforcement": "audit" }
        },
        "spec": spec,
        "status": { "conditions": [] }
    }))
}

#[test]
fn a_pod_keeps_what_counts_and_nothing_else() {
    let object = json!({
        "metadata": {
            "name": "a", "namespace": "t", "uid": "u-1", "resourceVersion": "5",
            "labels": { "app": "a" },
            "annotations": { "ringfence.dev/netns": "n", "metadata.ringfence.dev/access": "yes", "iam.amazonaws.com/role": "r", "big": "text" },
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a-1", "uid": "x", "controller": true }],
            "managedFields": [{ "fieldsV1": { "f:spec": {} } }]
        },
        "spec": {
            "nodeName": "n1", "hostNetwork": false, "serviceAccountName": "sa",
            "containers": [{ "name": "c", "image": "i", "ports": [{ "containerPort": 80, "name": "http", "protocol": "TCP" }], "env": [{ "name": "SECRET", "value": "x" }] }],
            "initContainers": null,
            "volumes": [{ "name": "v", "emptyDir": {} }]
        },
        "status": { "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{ "ip": "10.0.0.1" }, { "ip": "fd00::1" }], "conditions": [{ "type": "Ready" }] }
    });
    let Event::Apply(read) = event::<Pod>(object) else {
        panic!("a pod")
    };
    let Object::Pod(pod) = read.object else {
        panic!("a pod")
    };
    let text = serde_json::to_string(&*pod).unwrap();
    for kept in [
        "\"app\":\"a\"",
        "u-1",
        "ringfence.dev/netns",
        "\"iam.amazonaws.com/role\"",
        "n1",
        "\"sa\"",
        "http",
        "fd00::1",
        "ReplicaSet",
        "deletionTimestamp",
    ] {
        assert!(text.contains(kept), "{kept}: {text}");
    }
    for dropped in ["big", "SECRET", "volumes", "managedFields", "conditions"] {
        assert!(!text.contains(dropped), "{dropped}: {text}");
    }
}

#[test]
fn a_policy_is_read_to_the_last_field_and_its_metadata_is_not() {
    let Event::Apply(read) = policy(json!({
        "podSelector": { "matchLabels": { "app": "0123" } },
        "ingress": [{ "from": [{ "ipBlock": { "cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"] } }],
                      "ports": [{ "port": 80, "endPort": 90 }, { "port": "http", "protocol": "UDP" }] }],
        "policyTypes": ["Ingress"]
    })) else {
        panic!("a good policy")
    };
    let Object::NetworkPolicy(policy) = read.object else {
        panic!("a policy")
    };
    let annotations = policy.metadata.annotations.unwrap();
    assert_eq!(
        annotations.keys().collect::<Vec<_>>(),
        ["ringfence.dev/enforcement"]
    );
    let spec = policy.spec.unwrap();
    let selector = spec.pod_selector.unwrap();
    assert_eq!(selector.match_labels.unwrap()["app"], "0123");
}

#[test]
fn a_policy_with_a_field_that_is_not_known_is_broken_and_still_names_its_pods() {
    let Event::Broken(broken) = policy(json!({
        "podSelector": { "matchLabels": { "app": "db" } },
        "ingress": [{ "from": [{ "podSelectors": {} }] }],
        "policyTypes": ["Ingress"]
    })) else {
        panic!("a broken policy")
    };
    let said = broken.diagnostics[0].to_string();
    assert!(
        said.contains("unknown field `podSelectors`; did you mean `podSelector`?")
            && said.starts_with("API: "),
        "{said}"
    );
    let remnant = broken.remnant.unwrap();
    assert_eq!(remnant.metadata.name.as_deref(), Some("p"));
    assert_eq!(remnant.spec.unwrap().policy_types.unwrap(), ["Ingress"]);
}
