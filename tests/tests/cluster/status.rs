//! What objects say of themselves on a real API server: whether they are accepted, and in whose kernel they are.

mod unusable;
mod writer;

use std::path::Path;

use ringfence_tests::{
    agent::{Agent, get},
    apiserver::{ApiServer, available},
    lab::patiently,
    node::Node,
};
use serde_json::{Value, json};

use super::{cluster, kinds};

/// Two nodes with an agent each, which have reported.
fn two(api: &ApiServer, kubeconfig: &Path) -> ([Node; 2], [Agent; 2]) {
    kinds::define(api);
    let nodes = [(1, "a"), (2, "b")].map(|(number, pod)| {
        let node = Node::up(api, number, &[pod], &[80]);
        node.run(api, pod, &json!({ "app": pod }));
        node
    });
    let agents = nodes.each_ref().map(|node| started(node, kubeconfig));
    for node in &nodes {
        reported(api, &node.name);
    }
    (nodes, agents)
}

fn started(node: &Node, kubeconfig: &Path) -> Agent {
    let mut agent = node.agent(kubeconfig, &["--kube-event-interval", "3"]);
    agent.spawn();
    agent.wait_until_ready();
    agent
}

/// A node's report.
fn reported(api: &ApiServer, node: &str) -> Value {
    let path = kinds::list("NodeZoneState") + "/" + node;
    patiently("the node reports", || {
        let state = api.request("GET", &path, "", None).ok()?;
        state["status"]["renewTime"].is_string().then_some(state)
    })
}

fn apply(api: &ApiServer, kind: &str, name: &str, spec: &Value) -> Value {
    api.apply(&json!({
        "apiVersion": "ringfence.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec,
    }))
}

fn status(api: &ApiServer, kind: &str, name: &str) -> Value {
    let path = format!("{}/{name}", kinds::list(kind));
    let object = api.request("GET", &path, "", None).expect("it is there");
    object["status"].clone()
}

fn condition(status: &Value, condition: &str) -> Value {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut named = conditions.filter(|it| it["type"] == condition);
    let found = named.next().cloned().unwrap_or_default();
    assert!(named.next().is_none(), "{status}");
    found
}

/// Waits until a condition is so about this generation, for this reason; the status then.
fn says(
    api: &ApiServer,
    (kind, name): (&str, &str),
    generation: u64,
    (wanted, status_is, reason): (&str, &str, &str),
) -> Value {
    let mut last = Value::Null;
    let what = format!("{kind}/{name}: {wanted} is {status_is} ({reason})");
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        patiently(&what, || {
            last = status(api, kind, name);
            let found = condition(&last, wanted);
            let right = found["status"] == status_is
                && found["reason"] == reason
                && found["observedGeneration"] == generation;
            right.then(|| last.clone())
        })
    }));
    found.unwrap_or_else(|_| panic!("{what}: {last}"))
}

/// From a zone to another, at a port.
fn rule(from: &str, to: &str, port: u16) -> Value {
    json!({ "rules": [{
        "name": "r", "action": "Allow",
        "from": [{ "zoneNames": [from] }], "to": [{ "zoneNames": [to] }],
        "ports": [{ "protocol": "TCP", "port": port }],
    }] })
}

/// Pods with this label.
fn zone(app: &str) -> Value {
    json!({
        "members": [{ "workloads": { "namespaceSelector": {}, "podSelector": { "matchLabels": { "app": app } } } }],
        "ingress": "Isolated",
    })
}

fn metric(agent: &Agent, start: &str) -> Option<u64> {
    let text = get(&agent.run_dir(), "/metrics")?;
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn programmed_means_in_the_kernel_of_every_node() {
    if !available("cluster::programmed_means_in_the_kernel_of_every_node") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let (nodes, mut agents) = two(&api, &kubeconfig);
    let state = reported(&api, "node2");
    let node = api.request("GET", "/api/v1/nodes/node2", "", None);
    let owner = &state["metadata"]["ownerReferences"][0];
    assert_eq!(owner["kind"], "Node");
    assert_eq!(owner["uid"], node.expect("it is there")["metadata"]["uid"]);

    for (name, app) in [("one", "a"), ("two", "b")] {
        apply(&api, "SecurityZone", name, &zone(app));
    }
    let everywhere = ("Programmed", "True", "Programmed");
    for name in ["one", "two"] {
        let said = says(&api, ("SecurityZone", name), 1, everywhere);
        assert_eq!(said["desiredNodeCount"], 2, "{said}");
        says(&api, ("SecurityZone", name), 1, ("Ready", "True", "Ready"));
    }

    // One node's agent is away: what is new is not in its kernel.
    assert!(agents[1].stop());
    apply(&api, "ZonePolicy", "p", &rule("one", "two", 80));
    let p = ("ZonePolicy", "p");
    let said = says(&api, p, 1, ("Programmed", "False", "NodesPending"));
    let message = condition(&said, "Programmed")["message"].clone();
    assert_eq!(message, "1/2, waiting: node2");
    says(&api, p, 1, ("Ready", "False", "NodesPending"));
    says(&api, p, 1, ("Enforcing", "False", "NotProgrammed"));
    agents[1].spawn();
    let said = says(&api, p, 1, everywhere);
    assert_eq!(
        (
            &said["nodes"],
            &said["realizedNodeCount"],
            &said["ruleCount"]
        ),
        (&json!("2/2"), &json!(2), &json!(1)),
        "{said}"
    );
    says(&api, p, 1, ("Enforcing", "True", "Enforced"));
    // What it says is so.
    nodes[0].meet(&nodes[1]);
    let b = nodes[1].addresses("b");
    patiently("the rule is in force", || {
        (nodes[0].answered("a", b, 80) == 2).then_some(())
    });

    // An edit that changes no table is another generation all the same.
    let since = condition(&said, "Accepted")["lastTransitionTime"].clone();
    api.merge(
        &(kinds::list("ZonePolicy") + "/p"),
        &json!({ "spec": { "description": "words" } }),
    );
    let said = says(&api, p, 2, everywhere);
    assert_eq!(said["observedGeneration"], 2);
    assert_eq!(condition(&said, "Accepted")["lastTransitionTime"], since);

    // A name that is nobody's, until it is somebody's.
    apply(&api, "ZonePolicy", "q", &rule("nobody", "two", 80));
    let q = ("ZonePolicy", "q");
    says(&api, q, 1, ("ResolvedRefs", "False", "ZoneNotFound"));
    says(&api, q, 1, ("Ready", "False", "ZoneNotFound"));
    says(&api, q, 1, everywhere);
    apply(&api, "SecurityZone", "nobody", &zone("c"));
    says(&api, q, 1, ("Ready", "True", "Ready"));
    says(
        &api,
        ("SecurityZone", "nobody"),
        1,
        ("Populated", "False", "NoMembers"),
    );

    // What `kubectl get` shows of it.
    let rows = api.table(&kinds::list("ZonePolicy"));
    let shown = |row: usize, names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| rows[row][*name].clone()).collect()
    };
    let columns = ["Name", "Mode", "Rules", "Nodes", "Ready"];
    assert_eq!(
        shown(0, &columns),
        [
            json!("p"),
            json!("Enforce"),
            json!(1),
            json!("2/2"),
            json!("True")
        ]
    );
    let zones = api.table(&kinds::list("SecurityZone"));
    let one = zones
        .iter()
        .find(|row| row["Name"] == "one")
        .expect("it is there");
    for (column, cell) in [
        ("Ingress", json!("Isolated")),
        ("Egress", json!("Open")),
        ("Mode", json!("Enforce")),
        ("Pods", json!(1)),
        ("Nodes", json!(0)),
        ("CIDRs", json!(0)),
        ("Ready", json!("True")),
    ] {
        assert_eq!(one[column], cell, "{column}: {one:?}");
    }
    // A report that somebody deletes is there again when it is renewed, whole.
    api.delete(&(kinds::list("NodeZoneState") + "/node1"));
    reported(&api, "node1");

    let states = api.table(&kinds::list("NodeZoneState"));
    assert_eq!(states.len(), 2);
    assert_eq!(states[0]["Objects"], 5, "{states:?}");
}
