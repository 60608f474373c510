//! Pods on a bridge, which forgets who is behind its ports: no runtime tells of them, and they may be silent for long.

use ringfence_agent::lab::{Actor, Lab, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, eventually, small},
};

use super::{
    flows_on, is_closed, lets_in, pod, pod_manifest,
    services::bridge::{bridged, run},
    stream, world,
};

fn endpoints(agent: &Agent) -> String {
    agent.json(&["endpoints"]).to_string()
}

#[test]
fn a_pod_that_its_bridge_forgets_stays_protected_and_connected() {
    let lab = Lab::up(&small("forgets", &["a", "b"], &[80, 81])).unwrap();
    bridged(&lab, &["a", "b"]);
    let silent = world(&["a", "b"])
        .replace("annotations: { ringfence.dev/netns: a }", "annotations: {}")
        .replace("annotations: { ringfence.dev/netns: b }", "annotations: {}");
    let manifests = silent + &lets_in("b", "a", 80);
    let flags = [
        "--node",
        "w1",
        "--netns-directory",
        "/run/none",
        "--pod-processes",
        "off",
    ];
    let agent = Agent::start(&lab, &manifests, &flags);
    eventually("both are found by their ports", || {
        let endpoints = endpoints(&agent);
        (endpoints.contains("t/a") && endpoints.contains("t/b")).then_some(())
    });
    let a = pod("a");
    stream(&lab, "s", &a, addresses(2)[0], 80, Transport::Tcp);
    flows_on(&lab, "s", &a, 10);

    for port in ["p0-a", "p1-b"] {
        run(
            &lab,
            &Actor::Node,
            &format!("bridge link set dev {port} learning off"),
        );
        let forget = format!("bridge fdb flush dev cni0 brport {port} dynamic");
        run(&lab, &Actor::Node, &forget);
    }
    // Everybody is looked for again.
    let more = pod_manifest("c", "c", 3, "").replace("ringfence.dev/netns: c", "")
        + &lets_in("b", "c", 80).replace("name: b,", "name: more,");
    let revision = agent.revision();
    agent.edit("more.yaml", &more);
    agent.wait_beyond(revision);
    let status = agent.json(&["status"]).to_string();
    assert!(status.contains("no neighbour on a bridge"), "{status}");
    let endpoints = endpoints(&agent);
    assert!(
        endpoints.contains("t/a") && endpoints.contains("t/b"),
        "{endpoints}"
    );
    flows_on(&lab, "s", &a, 100);
    assert!(is_closed(&lab, &a, 2, 81), "and protected");
    drop(agent);
    lab.down().unwrap();
}
