//! Who may create pods in a cluster does not choose whose device their policies govern.

use ringfence_agent::lab::{Actor, names};
use ringfence_tests::{
    agent::Agent,
    apiserver::{ApiServer, available},
    lab::patiently,
    node::{NAMESPACE, Node, path},
    reach::{is_closed, reaches},
};
use serde_json::{Value, json};

use super::{app, cluster, lets_in};

/// What an author of pods may write: each would lead to the victim, the last to the node itself.
fn lures(agent: &Agent, node: &Node) -> Vec<Value> {
    let victim = device(agent, "victim").expect("it is enforced");
    let netns = names::netns_prefix(node.lab.name()) + "victim";
    let cgroup = format!("{NAMESPACE}_victim");
    vec![
        json!({ "ringfence.dev/interface": victim }),
        json!({ "ringfence.dev/netns": "victim" }),
        json!({ "ringfence.dev/netns": netns }),
        json!({ "ringfence.dev/netns": format!("/run/netns/{netns}") }),
        json!({ "ringfence.dev/cgroup": cgroup }),
        json!({ "ringfence.dev/interface": victim, "ringfence.dev/cgroup": cgroup }),
        json!({ "ringfence.dev/interface": "uplink0" }),
    ]
}

/// The device at which a pod is enforced.
fn device(agent: &Agent, pod: &str) -> Option<String> {
    let endpoints = agent.json(&["endpoints"]);
    let items = endpoints["items"].as_array().cloned().unwrap_or_default();
    let of = |item: &&Value| item["pod"] == format!("{NAMESPACE}/{pod}");
    let item = items.iter().find(of)?;
    Some(item["interface"].as_str().expect("a name").to_owned())
}

fn not_found(agent: &Agent, pod: &str) -> Option<String> {
    let status = agent.json(&["status"]);
    let unplaced = status["unplaced"].as_array().cloned().unwrap_or_default();
    let of = |item: &&Value| item["pod"] == format!("{NAMESPACE}/{pod}");
    let item = unplaced.iter().find(of)?;
    Some(item["reason"].as_str().expect("a text").to_owned())
}

/// Creates a pod without a network of its own, which says that it is somewhere.
fn lure(api: &ApiServer, node: &Node, name: &str, number: u8, annotations: &Value) {
    api.apply(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": NAMESPACE, "labels": { "app": "lure" }, "annotations": annotations,
        },
        "spec": { "nodeName": node.name, "containers": [{ "name": "main", "image": "none" }] },
    }));
    let ips = ringfence_tests::node::addresses(node.number, number);
    let status = json!({
        "phase": "Running", "podIP": ips[0], "podIPs": ips.map(|ip| json!({ "ip": ip })),
    });
    api.merge(&(path(name) + "/status"), &json!({ "status": status }));
}

/// A node whose pod `victim` takes only what comes from the pod `friend`; pods `app: lure` would take what comes from `foe`.
fn world(api: &ApiServer) -> Node {
    let node = Node::up(api, 1, &["victim", "friend", "foe"], &[80]);
    for pod in ["victim", "friend", "foe"] {
        node.run(api, pod, &json!({ "app": pod }));
    }
    api.apply(&lets_in("victim", &app("friend")));
    api.apply(&lets_in("lure", &app("foe")));
    node
}

fn judged(node: &Node) {
    let victim = node.addresses("victim");
    let [friend, foe] = ["friend", "foe"].map(|name| Actor::pod(NAMESPACE, name));
    assert!(reaches(&node.lab, &friend, &victim, 80));
    assert!(is_closed(&node.lab, &foe, &victim, 80));
}

#[test]
fn annotations_point_the_agent_at_nobody_elses_device() {
    if !available("cluster::annotations_point_the_agent_at_nobody_elses_device") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let node = world(&api);
    let mut agent = node.wary_agent(&kubeconfig, &[]);
    agent.spawn();
    agent.wait_until_ready();
    judged(&node);
    let before = agent.json(&["endpoints"]);

    for (annotations, number) in lures(&agent, &node).iter().zip(100..) {
        let name = format!("lure{number}");
        lure(&api, &node, &name, number, annotations);
        let reason = patiently("the agent has looked for it", || not_found(&agent, &name));
        assert!(
            reason.contains("annotations that say where a pod is count in manifests only"),
            "{annotations}: {reason}"
        );
        assert_eq!(agent.json(&["endpoints"]), before, "{annotations}");
        judged(&node);
    }

    // Nor does one that runs change its place by what it says.
    let foe = device(&agent, "foe");
    let annotations = lures(&agent, &node);
    for annotations in &annotations {
        let revision = agent.revision();
        let change = json!({ "annotations": annotations, "labels": { "app": "lure" } });
        api.merge(&path("foe"), &json!({ "metadata": change }));
        // By the label the agent shows that it has seen the change.
        agent.wait_beyond(revision);
        assert_eq!(device(&agent, "foe"), foe, "{annotations}");
        assert!(device(&agent, "victim").is_some());
        judged(&node);
        let revision = agent.revision();
        let back = json!({ "labels": { "app": "foe" } });
        api.merge(&path("foe"), &json!({ "metadata": back }));
        agent.wait_beyond(revision);
    }

    // They are no words of another language: where pods are trusted with them they lead there.
    assert!(agent.stop());
    for number in 101..107 {
        api.delete(&path(&format!("lure{number}")));
    }
    let mut trusting = node.agent(&kubeconfig, &[]);
    trusting.spawn();
    trusting.wait_until_ready();
    let victim = annotations[0]["ringfence.dev/interface"].as_str();
    patiently("the device is taken for the lure's", || {
        (device(&trusting, "lure100").as_deref() == victim).then_some(())
    });
}
