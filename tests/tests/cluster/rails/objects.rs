//! Objects that people try to make, each with the path of its list.

use serde_json::{Value, json};

use super::{TEAM, ZONE};

/// A namespace, and where it is made.
pub fn space(name: &str, labels: Value) -> (String, Value) {
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
    ("/api/v1/namespaces".to_owned(), object)
}

/// A node, likewise.
pub fn node(name: &str, labels: Value) -> (String, Value) {
    let object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels } });
    ("/api/v1/nodes".to_owned(), object)
}

fn containers() -> Value {
    json!([{ "name": "c", "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Never" }])
}

/// A pod of the team, likewise.
pub fn pod(name: &str, labels: Value) -> (String, Value) {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": TEAM, "labels": labels },
        "spec": { "containers": containers() },
    });
    (format!("/api/v1/namespaces/{TEAM}/pods"), object)
}

/// One of each kind that pods are made from, with this zone in its pods' labels.
pub fn templates(name: &str, zone: &str) -> Vec<(String, Value)> {
    let template = |policy: &str| {
        json!({
            "metadata": { "labels": { "app": "a", ZONE: zone } },
            "spec": { "containers": containers(), "restartPolicy": policy },
        })
    };
    let selector = json!({ "matchLabels": { "app": "a" } });
    let of = |group: &str, plural: &str, kind: &str, rest: Value| {
        let version = if group.is_empty() {
            "v1".to_owned()
        } else {
            format!("{group}/v1")
        };
        let root = if group.is_empty() { "api" } else { "apis" };
        let mut object = rest;
        object["apiVersion"] = version.clone().into();
        object["kind"] = kind.into();
        object["metadata"] = json!({ "name": name, "namespace": TEAM });
        (
            format!("/{root}/{version}/namespaces/{TEAM}/{plural}"),
            object,
        )
    };
    let set = json!({ "spec": { "selector": selector, "template": template("Always") } });
    let mut stateful = set.clone();
    stateful["spec"]["serviceName"] = "s".into();
    let job = json!({ "template": template("Never") });
    vec![
        of("apps", "deployments", "Deployment", set.clone()),
        of("apps", "replicasets", "ReplicaSet", set.clone()),
        of("apps", "daemonsets", "DaemonSet", set),
        of("apps", "statefulsets", "StatefulSet", stateful),
        of(
            "",
            "replicationcontrollers",
            "ReplicationController",
            json!({ "spec": { "selector": { "app": "a" }, "template": template("Always") } }),
        ),
        of("batch", "jobs", "Job", json!({ "spec": job })),
        of(
            "batch",
            "cronjobs",
            "CronJob",
            json!({ "spec": { "schedule": "0 0 1 1 *", "jobTemplate": { "spec": job } } }),
        ),
        of(
            "",
            "podtemplates",
            "PodTemplate",
            json!({ "template": template("Always") }),
        ),
        of(
            "apps",
            "controllerrevisions",
            "ControllerRevision",
            json!({ "revision": 1, "data": { "spec": { "template": template("Always") } } }),
        ),
    ]
}

/// A patch of labels.
pub fn labels(labels: Value) -> Value {
    json!({ "metadata": { "labels": labels } })
}

/// Where an object is.
pub fn at((list, object): &(String, Value)) -> String {
    format!(
        "{list}/{}",
        object["metadata"]["name"].as_str().expect("a name")
    )
}
