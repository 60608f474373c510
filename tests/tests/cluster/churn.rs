//! Pods come and go by the hundred with all that is theirs, also while the agent is killed: nothing is left of them, and
//! who stays notices nothing.

use ringfence_agent::lab::{
    Actor,
    wire::{Stream, Transport},
};
use ringfence_tests::{
    agent::Agent,
    apiserver::available,
    kubelet::{End, Kubelet, Running},
    lab::patiently,
    node::{NAMESPACE, Node},
    reach::{is_closed, reaches},
};
use serde_json::json;

use super::{
    app, cluster,
    left::{Left, descriptors},
    lets_in,
};

/// Pods that come and go together.
const TOGETHER: usize = 20;
/// How often they do.
const ROUNDS: usize = 10;
/// Pods that stay.
const STAY: [&str; 3] = ["a", "b", "c"];

/// The pods that are endpoints.
fn endpoints(agent: &Agent) -> Vec<(String, String)> {
    let endpoints = agent.json(&["endpoints"]);
    let items = endpoints["items"].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    items
        .iter()
        .map(|item| (text(&item["pod"]), text(&item["interface"])))
        .collect()
}

/// Waits until each of these is enforced at the device that it has now.
fn guarded(agent: &Agent, pods: &[Running]) {
    patiently("all are guarded", || {
        let endpoints = endpoints(agent);
        let has = |pod: &Running| {
            let pod = (format!("{NAMESPACE}/{}", pod.name), pod.device.clone());
            endpoints.contains(&pod)
        };
        (pods.iter().all(has) && endpoints.len() == pods.len() + STAY.len()).then_some(())
    });
}

/// One that is allowed and one that is not, both ways.
fn judged(node: &Node, pod: &Running) {
    let [a, c] = ["a", "c"].map(|name| Actor::pod(NAMESPACE, name));
    assert!(reaches(&node.lab, &a, &pod.addresses, 80), "{pod:?}");
    assert!(is_closed(&node.lab, &c, &pod.addresses, 80), "{pod:?}");
    assert!(pod.reaches(node.addresses("c"), 80), "{pod:?}");
    assert!(pod.is_closed(node.addresses("b"), 80), "{pod:?}");
}

/// Their own traffic, of which some is allowed and some is not.
fn busy(node: &Node, pods: &[Running]) {
    for pod in pods {
        pod.stream("allowed", node.addresses("c")[0], 80);
        pod.stream("denied", node.addresses("b")[1], 80);
    }
}

/// Streams of a to b, which each round of others must not touch.
fn streams(node: &Node) {
    for (id, to, protocol) in [
        ("tcp4", 0, Transport::Tcp),
        ("udp4", 0, Transport::Udp),
        ("tcp6", 1, Transport::Tcp),
        ("udp6", 1, Transport::Udp),
    ] {
        let stream = Stream {
            id: id.to_owned(),
            protocol,
            from: None,
            to: node.addresses("b")[to],
            port: 80,
            interval_ms: 10,
        };
        let started = node.lab.stream(&Actor::pod(NAMESPACE, "a"), stream);
        started.expect("the lab obeys");
    }
}

/// Ends them: not one message was lost.
fn nothing_lost(node: &Node) {
    for id in ["tcp4", "udp4", "tcp6", "udp6"] {
        let report = node.lab.stream_stop(&Actor::pod(NAMESPACE, "a"), id);
        let report = report.expect("the lab obeys");
        assert_eq!(
            (report.lost, report.error.as_deref()),
            (0, None),
            "{id}: {report:?}"
        );
        assert!(report.answered > 0, "{id}: {report:?}");
    }
}

#[test]
fn two_hundred_pods_leave_nothing_behind_also_over_an_agent_that_is_killed() {
    if !available(
        "cluster::two_hundred_pods_leave_nothing_behind_also_over_an_agent_that_is_killed",
    ) {
        return;
    }
    let (api, kubeconfig) = cluster();
    let node = Node::up(&api, 1, &STAY, &[80]);
    for pod in STAY {
        node.run(&api, pod, &json!({ "app": pod }));
    }
    api.apply(&lets_in("b", &app("a")));
    let mut guests = lets_in("guests", &app("a"));
    guests["spec"]["podSelector"] = json!({ "matchLabels": { "kind": "guest" } });
    api.apply(&guests);
    let flags = ["--kube-event-interval", "0", "--pod-processes", "on"];
    let mut agent = node.wary_agent(&kubeconfig, &flags);
    agent.spawn();
    agent.wait_until_ready();
    guarded(&agent, &[]);
    streams(&node);
    let a = Actor::pod(NAMESPACE, "a");

    // They have the same names and addresses each time, and nothing else of those before.
    let kubelet = Kubelet::of(&api, &node);
    let names: Vec<String> = (0..TOGETHER).map(|number| format!("p{number}")).collect();
    let pods: Vec<&str> = names.iter().map(String::as_str).collect();
    let alone = Left::of(&agent);
    // Once for what is there from then on.
    let running = kubelet.start(&pods, "guest");
    guarded(&agent, &running);
    kubelet.end(running, End::Graceful);
    guarded(&agent, &[]);
    let before = patiently("the devices of the first are gone", || {
        Some(Left::of(&agent)).filter(|now| now.pins_what(&alone))
    });
    let open = descriptors(&agent);

    for round in 0..ROUNDS {
        let end = [End::Graceful, End::Forced][round % 2];
        let mut running = kubelet.start(&pods, "guest");
        if round == ROUNDS / 2 {
            // In the middle of it, with what it had begun.
            agent.kill();
            assert!(reaches(&node.lab, &a, &node.addresses("b"), 80));
            let kept = running[0].is_closed(node.addresses("b"), 80);
            assert!(kept, "what is pinned stays in force");
            busy(&node, &running);
            let rest = running.split_off(TOGETHER / 2);
            kubelet.end(running, end);
            agent.spawn();
            agent.wait_until_ready();
            guarded(&agent, &rest);
            judged(&node, &rest[0]);
            running = rest;
        } else {
            guarded(&agent, &running);
            busy(&node, &running);
            // One whose namespace has a name, and one that is known by its process only.
            let named = running.iter().find(|pod| pod.is_named == (round % 4 < 2));
            judged(&node, named.expect("some are"));
            let denied = running[round].report("denied");
            assert_eq!(denied.answered, 0, "{denied:?}");
        }
        kubelet.end(running, end);
        guarded(&agent, &[]);
    }
    nothing_lost(&node);

    // What nothing points at goes after a grace period.
    patiently("nothing is left of them", || {
        let now = Left::of(&agent);
        let nothing = now.is_no_more_than(&before);
        if !nothing {
            eprintln!("before {before:?}\nnow {now:?}");
        }
        nothing.then_some(())
    });
    patiently("no descriptor is left open", || {
        let now = descriptors(&agent);
        eprintln!("descriptors: {now:?}, before: {open:?}");
        let fits = |(kind, count): (&&str, &usize)| *count <= open.get(kind).copied().unwrap_or(0);
        now.iter().all(fits).then_some(())
    });
    assert!(reaches(&node.lab, &a, &node.addresses("b"), 80));
}
