//! Pods come and go by the hundred, also while the agent is killed: nothing is left of them.

use std::{collections::BTreeMap, fs, path::Path};

use ringfence_tests::{
    agent::Agent,
    apiserver::{ApiServer, available},
    lab::patiently,
    node::{Node, path},
};
use serde_json::json;

use super::{app, cluster, lets_in};

/// Pods that come and go together.
const TOGETHER: usize = 20;
/// How often they do.
const ROUNDS: usize = 10;

/// What there is of the agent's in the kernel, and of the kernel's in the agent.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    pins: Vec<String>,
    /// Maps and links by kind.
    objects: BTreeMap<String, usize>,
    /// Entries of maps that the agent alone writes.
    entries: BTreeMap<String, u64>,
}

fn left(agent: &Agent) -> Left {
    let mut pins = Vec::new();
    collect(&agent.bpffs(), &mut pins);
    pins.sort();
    let (mut objects, mut entries) = (BTreeMap::new(), BTreeMap::new());
    let shown = agent.json(&["bpf", "show"]);
    for object in shown["items"].as_array().expect("a list") {
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        *objects.entry(kind).or_default() += 1;
        let pin = object["pin"].as_str().expect("a pin");
        let name = pin.rsplit('/').next().expect("a name");
        // What packets leave behind goes with its own time.
        let by_packets = ["CONNECTION", "REVOKED", "FRAGMENT"];
        if let Some(count) = object["entries"].as_u64()
            && !by_packets.iter().any(|start| name.starts_with(start))
        {
            entries.insert(name.to_owned(), count);
        }
    }
    Left {
        pins,
        objects,
        entries,
    }
}

fn collect(folder: &Path, pins: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the bpffs").flatten() {
        pins.push(entry.path().display().to_string());
        if entry.path().is_dir() {
            collect(&entry.path(), pins);
        }
    }
}

fn descriptors(agent: &Agent) -> usize {
    let folder = format!("/proc/{}/fd", agent.pid());
    fs::read_dir(folder).expect("it runs").count()
}

fn endpoints(agent: &Agent) -> usize {
    let endpoints = agent.json(&["endpoints"]);
    endpoints["items"].as_array().map_or(0, Vec::len)
}

fn come(api: &ApiServer, node: &Node, pods: &[&str]) {
    for pod in pods {
        node.run(api, pod, &json!({ "app": pod, "kind": "guest" }));
    }
}

fn go(api: &ApiServer, pods: &[&str]) {
    for pod in pods {
        api.delete(&path(pod));
    }
}

/// Waits until nobody but the two that stay is an endpoint.
fn settled(agent: &Agent) {
    patiently("the pods are gone", || {
        (endpoints(agent) == 2).then_some(())
    });
}

#[test]
fn two_hundred_pods_leave_nothing_behind_also_over_an_agent_that_is_killed() {
    if !available(
        "cluster::two_hundred_pods_leave_nothing_behind_also_over_an_agent_that_is_killed",
    ) {
        return;
    }
    let (api, kubeconfig) = cluster();
    let names: Vec<String> = (0..TOGETHER).map(|number| format!("p{number}")).collect();
    let pods: Vec<&str> = names.iter().map(String::as_str).collect();
    let node = Node::up(&api, 1, &[&["a", "b"], &pods[..]].concat(), &[80]);
    for pod in ["a", "b"] {
        node.run(&api, pod, &json!({ "app": pod }));
    }
    api.apply(&lets_in("b", &app("a")));
    let mut guests = lets_in("guests", &app("a"));
    guests["spec"]["podSelector"] = json!({ "matchLabels": { "kind": "guest" } });
    api.apply(&guests);
    let mut agent = node.agent(&kubeconfig, &["--kube-event-interval", "0"]);
    agent.spawn();
    agent.wait_until_ready();
    settled(&agent);
    let b = node.addresses("b");
    // Once for what is there from then on.
    come(&api, &node, &pods);
    patiently("all are guarded", || {
        (endpoints(&agent) == TOGETHER + 2).then_some(())
    });
    go(&api, &pods);
    settled(&agent);
    let (before, open) = (left(&agent), descriptors(&agent));

    for round in 0..ROUNDS {
        come(&api, &node, &pods);
        if round == ROUNDS / 2 {
            // In the middle of it, with what it had begun.
            agent.kill();
            assert!(node.reaches("a", b, 80));
            assert!(
                !node.reaches(pods[0], b, 80),
                "what is pinned stays in force"
            );
            go(&api, &pods[..TOGETHER / 2]);
            agent.spawn();
            agent.wait_until_ready();
            go(&api, &pods[TOGETHER / 2..]);
        } else {
            patiently("all are guarded", || {
                (endpoints(&agent) == TOGETHER + 2).then_some(())
            });
            assert!(!node.reaches(pods[round], b, 80));
            go(&api, &pods);
        }
        settled(&agent);
    }
    // What nothing points at goes after a grace period.
    let mut now = left(&agent);
    patiently("nothing is left of them", || {
        now = left(&agent);
        if now != before {
            eprintln!("before {before:?}\nnow {now:?}");
        }
        (now == before).then_some(())
    });
    patiently("no descriptor is left open", || {
        let now = descriptors(&agent);
        eprintln!("descriptors: {now}, before: {open}");
        (now <= open).then_some(())
    });
    assert!(node.reaches("a", b, 80));
}
