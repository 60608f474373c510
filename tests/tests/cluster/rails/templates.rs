//! What pods are made from is no way around.

use serde_json::{Value, json};

use super::{
    TEAM, ZONE,
    cluster::{Cluster, bind},
    objects::{at, labels, pod, templates},
};

/// A template is judged when it is written.
pub fn templates_are_no_way_around(cluster: &Cluster) {
    for template in templates("smuggled", "db") {
        let kind = template.1["kind"].as_str().expect("a kind").to_owned();
        let revision = kind == "ControllerRevision";
        // Who edits a namespace may not write revisions at all.
        let who = if ["ControllerRevision", "PodTemplate"].contains(&kind.as_str()) {
            "operator"
        } else {
            "developer"
        };
        assert!(!cluster.create(who, &template), "{kind}");
        // What makes pods carries it where nobody looks.
        let mut harmless = template.clone();
        let text = harmless
            .1
            .to_string()
            .replace(ZONE, "zone")
            .replace("smuggled", "harmless");
        harmless.1 = serde_json::from_str(&text).expect("JSON");
        harmless.1["metadata"]["labels"] = json!({ ZONE: "db" });
        assert!(cluster.create(who, &harmless), "{kind}");
        // Jobs' and revisions' cannot be changed at all.
        if kind != "Job" && !revision {
            let added = json!({ "metadata": { "labels": { ZONE: "db" } } });
            let patch = match kind.as_str() {
                "CronJob" => {
                    json!({ "spec": { "jobTemplate": { "spec": { "template": added } } } })
                }
                "PodTemplate" => json!({ "template": added }),
                _ => json!({ "spec": { "template": added } }),
            };
            assert!(!cluster.patch(who, &at(&harmless), &patch), "{kind}");
            assert!(
                cluster.patch(who, &at(&harmless), &labels(json!({ "a": "b" }))),
                "{kind}"
            );
        }
        // The owner of zones writes it; then its other parts are the developer's as ever.
        if !["ControllerRevision", "PodTemplate"].contains(&kind.as_str()) {
            assert!(cluster.create("owner", &template), "{kind}");
            assert!(
                cluster.patch("developer", &at(&template), &labels(json!({ "a": "b" }))),
                "{kind}"
            );
        }
    }
}

/// Kubernetes' own make pods of templates that were judged; nobody else, and of nothing else.
pub fn controllers_make_what_was_judged(cluster: &Cluster) {
    let owned = |object: &(String, Value), kind: &str, name: &str| {
        let mut object = object.clone();
        object.1["metadata"]["name"] = name.into();
        object.1["metadata"]["ownerReferences"] = json!([{ "apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "1", "controller": true }]);
        object
    };
    let plain = pod("made", json!({ ZONE: "db" }));
    for (account, kind) in [
        ("replicaset-controller", "ReplicaSet"),
        ("replication-controller", "ReplicationController"),
        ("daemon-set-controller", "DaemonSet"),
        ("statefulset-controller", "StatefulSet"),
        ("job-controller", "Job"),
    ] {
        let token = cluster.api.token("kube-system", account);
        assert!(
            !cluster.create(&token, &plain),
            "{account} without an owner"
        );
        let made = owned(&plain, kind, account);
        assert!(cluster.create(&token, &made), "{account}");
        if account == "statefulset-controller" {
            assert!(!cluster.patch(&token, &at(&made), &labels(json!({ ZONE: "web" }))));
        }
    }
    let templates = templates("made", "db");
    let of = |kind: &str| {
        templates
            .iter()
            .find(|(_, it)| it["kind"] == kind)
            .expect("listed")
    };
    for (account, made, kind) in [
        ("deployment-controller", "ReplicaSet", "Deployment"),
        ("cronjob-controller", "Job", "CronJob"),
        ("daemon-set-controller", "ControllerRevision", "DaemonSet"),
        (
            "statefulset-controller",
            "ControllerRevision",
            "StatefulSet",
        ),
    ] {
        let token = cluster.api.token("kube-system", account);
        assert!(
            !cluster.create(&token, of(made)),
            "{account} without an owner"
        );
        assert!(
            cluster.create(&token, &owned(of(made), kind, account)),
            "{account}"
        );
    }
    // A developer says of a pod what he likes.
    assert!(!cluster.create("developer", &owned(&plain, "ReplicaSet", "forged")));
    // An account of that name that is not kube-system's.
    let token = cluster.api.token(TEAM, "replicaset-controller");
    bind(
        &cluster.api,
        "named-alike",
        "replicaset-controller",
        "edit",
        false,
    );
    assert!(!cluster.create(&token, &owned(&plain, "ReplicaSet", "alike")));
    // Who binds a pod to a node may give labels with it.
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "plain-1", "namespace": TEAM, "labels": { ZONE: "db" } },
        "target": { "apiVersion": "v1", "kind": "Node", "name": "n" },
    });
    let lists = [
        format!("/api/v1/namespaces/{TEAM}/bindings"),
        format!("/api/v1/namespaces/{TEAM}/pods/plain-1/binding"),
    ];
    for list in lists {
        assert!(!cluster.create("operator", &(list, binding.clone())));
    }
}
