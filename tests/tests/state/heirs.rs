//! An address is another pod's within the same moment: what was allowed to the one is not the other's, at either end.

use ringfence_agent::lab::{Lab, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, eventually, small},
};

use super::field::{
    NAMESPACE, fares, is_closed, labelled, lets_in, manifest, pod, reaches, stream,
};

/// Waits until the agent guards this pod.
fn guards(agent: &Agent, name: &str) {
    eventually(name, || {
        let endpoints = agent.json(&["endpoints"]).to_string();
        endpoints.contains(&format!("t/{name}\"")).then_some(())
    });
}

#[test]
fn an_address_that_goes_from_pod_to_pod_and_back_is_each_time_judged_as_its_pod() {
    let lab = Lab::up(&small("heirs", &["a", "b"], &[80, 81])).unwrap();
    let fixed =
        NAMESPACE.to_owned() + &manifest("b", "b", 2) + &lets_in("b", &labelled(&["a"]), 80, true);
    let agent = Agent::start(&lab, &fixed, &[]);
    agent.edit("pod.yaml", &manifest("a", "a", 1));
    guards(&agent, "a");
    let (a, to) = (pod("a"), addresses(2));
    for round in 0..3 {
        let flows = Transport::ALL.map(|protocol| stream(&lab, "a", to[0], 80, protocol));
        // Deleted, and at once another one is there, in the same network namespace.
        let heir = format!("heir-{round}");
        agent.edit("pod.yaml", "");
        agent.edit(
            "pod.yaml",
            &manifest(&heir, "heir", 1).replace(&format!("netns: {heir}"), "netns: a"),
        );
        guards(&agent, &heir);
        assert!(is_closed(&lab, &a, &to, 80), "the heir is not a");
        for flow in &flows {
            flow.stands_still(&lab);
        }
        agent.edit("pod.yaml", "");
        agent.edit("pod.yaml", &manifest("a", "a", 1));
        guards(&agent, "a");
        assert!(reaches(&lab, &a, &to, 80), "a is a again");
        for flow in &flows {
            lab.stream_stop(&a, flow.name()).unwrap();
        }
    }
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn who_gets_a_guarded_pods_address_is_guarded_by_its_own_policies() {
    let lab = Lab::up(&small("wards", &["a", "b", "c"], &[80, 81])).unwrap();
    let fixed = NAMESPACE.to_owned()
        + &manifest("a", "a", 1)
        + &manifest("c", "c", 3)
        + &lets_in("b", &labelled(&["a"]), 80, true)
        // Nothing goes out: this lab's server lives on, and its answer to the last datagram would be the heir's own word to `a`.
        + &lets_in("heir", &labelled(&["c"]), 80, false);
    let agent = Agent::start(&lab, &fixed, &[]);
    agent.edit("pod.yaml", &manifest("b", "b", 2));
    guards(&agent, "b");
    let to = addresses(2);
    let fares = |name: &str, allowed| fares(&lab, &pod(name), &to, 80, allowed);
    assert!(fares("a", true) && fares("c", false));
    let datagrams = stream(&lab, "a", to[0], 80, Transport::Udp);
    agent.edit("pod.yaml", "");
    agent.edit(
        "pod.yaml",
        &manifest("heir", "heir", 2).replace("netns: heir", "netns: b"),
    );
    guards(&agent, "heir");
    assert!(fares("a", false) && fares("c", true));
    datagrams.stands_still(&lab);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn ended_pods_are_nobody_and_terminating_ones_are_who_they_were() {
    let lab = Lab::up(&small("ended", &["a", "b"], &[80, 81])).unwrap();
    let fixed =
        NAMESPACE.to_owned() + &manifest("b", "b", 2) + &lets_in("b", &labelled(&["a"]), 80, true);
    let running = manifest("a", "a", 1);
    let terminating = running.replace(
        "  name: a\n",
        "  name: a\n  deletionTimestamp: \"2026-01-01T00:00:00Z\"\n",
    );
    assert_ne!(running, terminating);
    let agent = Agent::start(&lab, &(fixed.clone() + &running), &[]);
    let to = addresses(2);
    for (what, text, allowed) in [
        ("running", running.clone(), true),
        (
            "succeeded",
            running.replace("phase: Running", "phase: Succeeded"),
            false,
        ),
        ("terminating", terminating.clone(), true),
        (
            "failed",
            running.replace("phase: Running", "phase: Failed"),
            false,
        ),
        // The address of one that has ended is already another one's.
        (
            "reused",
            running.replace("phase: Running", "phase: Succeeded")
                + &manifest("heir", "heir", 1).replace("netns: heir", "netns: a"),
            false,
        ),
        ("running again", running, true),
    ] {
        let before = agent.revision();
        agent.edit("manifests.yaml", &(fixed.clone() + &text));
        if what != "running" {
            agent.wait_beyond(before);
        }
        // A pod that has ended has no endpoint; what it still sends is dropped at its device, or is nobody's at b's.
        assert!(fares(&lab, &pod("a"), &to, 80, allowed), "{what}");
    }
    drop(agent);
    lab.down().unwrap();
}
