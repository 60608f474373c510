//! Pods that come late, cannot be found, or take another's address.

use ringfence_agent::lab::{Lab, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, small},
};

use super::{
    flows_on, is_closed, lets_in, pod, pod_manifest, reaches, stands_still, stream, world,
};

#[test]
fn a_pod_that_cannot_be_found_is_named_and_guarded_as_soon_as_it_can() {
    let lab = Lab::up(&small("late", &["a", "b"], &[80, 81])).unwrap();
    let astray = (world(&["a", "b"]) + &lets_in("b", "a", 80))
        .replace("ringfence.dev/netns: b ", "ringfence.dev/netns: nowhere ");
    let agent = Agent::start(&lab, &astray, &[]);
    let a = pod("a");
    let status = agent.json(&["status"]).to_string();
    assert!(
        status.contains("t/b") && status.contains("nowhere"),
        "{status}"
    );
    assert!(reaches(&lab, &a, 2, 81), "not guarded, and said so");
    let revision = agent.revision();
    agent.edit(
        "manifests.yaml",
        &(world(&["a", "b"]) + &lets_in("b", "a", 80)),
    );
    agent.wait_beyond(revision);
    assert!(reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81));
    assert!(
        !agent.json(&["status"])["unplaced"]
            .to_string()
            .contains("t/b")
    );
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn who_takes_a_dead_pods_address_takes_none_of_its_rights() {
    let lab = Lab::up(&small("reuse", &["a", "b"], &[80, 81])).unwrap();
    let policy = lets_in("b", "a", 80);
    let agent = Agent::start(&lab, &(world(&["a", "b"]) + &policy), &[]);
    let a = pod("a");
    stream(&lab, "s", &a, addresses(2)[0], 80, Transport::Tcp);
    flows_on(&lab, "s", &a, 10);
    let revision = agent.revision();
    // In one edit the pod a is gone and the pod heir has its address, in the same namespace.
    let heir = pod_manifest("heir", "heir", 1, "").replace("netns: heir", "netns: a");
    agent.edit(
        "manifests.yaml",
        &(world(&["a", "b"]).replace(&pod_manifest("a", "a", 1, ""), &heir) + &policy),
    );
    agent.wait_beyond(revision);
    stands_still(&lab, "s", &a);
    assert!(is_closed(&lab, &a, 2, 80), "the heir is not a");
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn two_labs_with_the_same_addresses_do_not_disturb_each_other() {
    let labs = ["one", "two"].map(|name| Lab::up(&small(name, &["a", "b"], &[80, 81])).unwrap());
    let base = world(&["a", "b"]);
    let agents = [80, 81].map(|port| base.clone() + &lets_in("b", "a", port));
    let agents = [0, 1].map(|at| Agent::start(&labs[at], &agents[at], &[]));
    let a = pod("a");
    assert!(reaches(&labs[0], &a, 2, 80) && is_closed(&labs[0], &a, 2, 81));
    assert!(is_closed(&labs[1], &a, 2, 80) && reaches(&labs[1], &a, 2, 81));
    drop(agents);
    for lab in labs {
        lab.down().unwrap();
    }
}

#[test]
fn an_agent_with_the_least_privileges_finds_pods_that_say_nothing_and_enforces() {
    let lab = Lab::up(&small("least", &["a", "b"], &[80, 81])).unwrap();
    let silent = world(&["a", "b"])
        .replace("annotations: { ringfence.dev/netns: a }", "annotations: {}")
        .replace("annotations: { ringfence.dev/netns: b }", "annotations: {}");
    assert!(!silent.contains("netns"));
    let agent = Agent::start_with_capabilities(
        &lab,
        &(silent + &lets_in("b", "a", 80)),
        &["--node", "w1"],
        &["bpf", "net_admin", "perfmon"],
    );
    let a = pod("a");
    assert!(reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81));
    assert!(!agent.said().contains("ERROR"), "{}", agent.said());
    drop(agent);
    lab.down().unwrap();
}
