//! Events on the API server: what `kubectl describe` shows of denied metadata access and of what is not in force.

use std::net::IpAddr;

use ringfence_agent::lab::{Actor, wire::Transport};
use ringfence_tests::{
    agent::{Agent, get},
    apiserver::{ApiServer, available},
    chart::rules,
    lab::patiently,
    node::{NAMESPACE, Node, path},
};
use serde_json::{Value, json};

use super::{app, cluster, lets_in, policy};

/// What the chart lets the agent do, without telling of it.
fn reading() -> Value {
    let mut rules = rules();
    let reads = |rule: &Value| rule["resources"] != json!(["events"]);
    rules.as_array_mut().expect("a list").retain(reads);
    rules
}

/// Events about an object for a reason.
fn events(api: &ApiServer, kind: &str, name: &str, reason: &str) -> Vec<Value> {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events");
    let list = api.request("GET", &path, "", None).expect("a list");
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let about = |event: &Value| {
        let object = &event["regarding"];
        object["kind"] == kind && object["name"] == name && event["reason"] == reason
    };
    items.into_iter().filter(about).collect()
}

/// Waits for the only one that there is.
fn the_event(api: &ApiServer, kind: &str, name: &str, reason: &str) -> Value {
    patiently(reason, || {
        let found = events(api, kind, name, reason);
        assert!(found.len() < 2, "{found:?}");
        found.into_iter().next()
    })
}

fn uid(api: &ApiServer, path: &str) -> Value {
    let object = api.request("GET", path, "", None).expect("it is there");
    object["metadata"]["uid"].clone()
}

/// Asks for metadata in vain.
fn ask(node: &Node, pod: &str) {
    let metadata: IpAddr = "169.254.169.254".parse().expect("an address");
    let from = Actor::pod(NAMESPACE, pod);
    let patience = std::time::Duration::from_millis(400);
    let outcome = node
        .lab
        .probe(&from, metadata, 80, Transport::Tcp, patience);
    assert!(!outcome.expect("the lab obeys").is_answered());
}

fn started(node: &Node, kubeconfig: &std::path::Path) -> Agent {
    let mut agent = node.agent(kubeconfig, &["--kube-event-interval", "3"]);
    agent.spawn();
    agent.wait_until_ready();
    agent
}

fn metric(agent: &Agent, start: &str) -> Option<u64> {
    let text = get(&agent.run_dir(), "/metrics")?;
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn denied_metadata_access_is_one_event_on_the_pod_that_counts() {
    if !available("cluster::denied_metadata_access_is_one_event_on_the_pod_that_counts") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let node = Node::up(&api, 1, &["a", "b"], &[80]);
    for pod in ["a", "b"] {
        node.run(&api, pod, &json!({ "app": pod }));
    }
    let agent = started(&node, &kubeconfig);
    patiently("the pod is an endpoint", || {
        let endpoints = agent.json(&["endpoints"]).to_string();
        endpoints.contains("t/a").then_some(())
    });
    ask(&node, "a");
    let event = the_event(&api, "Pod", "a", "MetadataAccessDenied");
    assert_eq!(event["regarding"]["uid"], uid(&api, &path("a")), "{event}");
    assert_eq!(event["regarding"]["apiVersion"], "v1");
    assert_eq!(
        (
            &event["type"],
            &event["action"],
            &event["reportingInstance"]
        ),
        (&json!("Warning"), &json!("Deny"), &json!("node1"))
    );
    let note = event["note"].as_str().expect("a text");
    assert!(
        note.contains("169.254.169.254") && note.contains("AWS"),
        "{note}"
    );

    // Again and again is the same Event; how often is in it.
    for _ in 0..4 {
        ask(&node, "a");
    }
    patiently("it counts", || {
        let event = the_event(&api, "Pod", "a", "MetadataAccessDenied");
        (event["series"]["count"].as_u64() >= Some(5)).then_some(())
    });
    assert!(events(&api, "Pod", "b", "MetadataAccessDenied").is_empty());
    let written = "ringfence_kubernetes_events_total{result=\"written\"}";
    assert!(metric(&agent, written).is_some_and(|count| count >= 2));
}

#[test]
fn a_policy_that_is_not_in_force_says_so_itself_and_when_it_is_again() {
    if !available("cluster::a_policy_that_is_not_in_force_says_so_itself_and_when_it_is_again") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let nodes = [
        Node::up(&api, 1, &["a", "b"], &[80]),
        Node::up(&api, 2, &["c"], &[80]),
    ];
    for (node, pod) in [(&nodes[0], "a"), (&nodes[0], "b"), (&nodes[1], "c")] {
        node.run(&api, pod, &json!({ "app": pod }));
    }
    api.apply(&lets_in("b", &app("a")));
    let agents = nodes.each_ref().map(|node| started(node, &kubeconfig));
    // The API server takes it, and this agent does not know the word.
    let enforcement = |value: Value| {
        let annotations = json!({ "ringfence.dev/enforcement": value });
        api.merge(
            &policy("b"),
            &json!({ "metadata": { "annotations": annotations } }),
        );
    };
    enforcement(json!("Perhaps"));
    let event = the_event(&api, "NetworkPolicy", "b", "PolicyNotInForce");
    assert_eq!(
        event["regarding"]["uid"],
        uid(&api, &policy("b")),
        "{event}"
    );
    let note = event["note"].as_str().expect("a text");
    for part in ["last good state", "Perhaps", "enforcement"] {
        assert!(note.contains(part), "{part}: {note}");
    }
    // Both agents have tried to write it; it is one Event all the same.
    let written = "ringfence_kubernetes_events_total{result=\"written\"}";
    for agent in &agents {
        patiently("each agent tells it", || metric(agent, written));
    }
    the_event(&api, "NetworkPolicy", "b", "PolicyNotInForce");
    assert!(events(&api, "NetworkPolicy", "b", "PolicyInForce").is_empty());

    enforcement(Value::Null);
    let event = the_event(&api, "NetworkPolicy", "b", "PolicyInForce");
    assert_eq!(event["type"], "Normal");
}

#[test]
fn a_pod_that_is_not_found_and_a_map_that_is_too_small_are_told_of() {
    if !available("cluster::a_pod_that_is_not_found_and_a_map_that_is_too_small_are_told_of") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let node = Node::up(&api, 1, &["a", "b"], &[80]);
    node.run(&api, "b", &json!({ "app": "b" }));
    // Its network is nowhere.
    node.run(&api, "a", &json!({ "app": "a" }));
    let lost = json!({ "ringfence.dev/netns": "nowhere" });
    api.merge(&path("a"), &json!({ "metadata": { "annotations": lost } }));
    let mut agent = node.agent(
        &kubeconfig,
        &["--kube-event-interval", "3", "--rule-entries", "1"],
    );
    agent.spawn();
    agent.wait_until_ready();
    let event = the_event(&api, "Pod", "a", "PodNotEnforced");
    let note = event["note"].as_str().expect("a text");
    assert!(
        note.contains("node1") && note.contains("cannot be found"),
        "{note}"
    );

    let mut wide = lets_in("b", &app("a"));
    let rule = wide["spec"]["ingress"][0].clone();
    let rules = (1..=4).map(|port| {
        let mut rule = rule.clone();
        rule["ports"] = json!([{ "port": port }]);
        rule
    });
    wide["spec"]["ingress"] = rules.collect();
    api.apply(&wide);
    let event = the_event(&api, "NetworkPolicy", "b", "PolicyNotInForce");
    let note = event["note"].as_str().expect("a text");
    assert!(
        note.contains("node1") && note.contains("--rule-entries"),
        "{note}"
    );
    api.delete(&policy("b"));

    let found = json!({ "ringfence.dev/netns": "a" });
    api.merge(&path("a"), &json!({ "metadata": { "annotations": found } }));
    the_event(&api, "Pod", "a", "PodEnforced");
}

#[test]
fn without_the_right_to_write_events_one_line_says_so_and_nothing_else_changes() {
    if !available(
        "cluster::without_the_right_to_write_events_one_line_says_so_and_nothing_else_changes",
    ) {
        return;
    }
    let (api, kubeconfig) = cluster();
    api.allow("ringfence", &reading());
    let node = Node::up(&api, 1, &["a", "b"], &[80]);
    for pod in ["a", "b"] {
        node.run(&api, pod, &json!({ "app": pod }));
    }
    let agent = started(&node, &kubeconfig);
    patiently("the pod is an endpoint", || {
        let endpoints = agent.json(&["endpoints"]).to_string();
        endpoints.contains("t/a").then_some(())
    });
    for pod in ["a", "b"] {
        ask(&node, pod);
    }
    let refused = "ringfence_kubernetes_events_total{result=\"refused\"}";
    patiently("both are refused", || {
        metric(&agent, refused).filter(|&count| count >= 2)
    });
    let said = agent.said();
    assert_eq!(
        said.matches("Kubernetes Events are not written").count(),
        1,
        "{said}"
    );
    api.apply(&lets_in("b", &app("c")));
    patiently("policies are in force", || {
        (node.answered("a", node.addresses("b"), 80) == 0).then_some(())
    });
}
