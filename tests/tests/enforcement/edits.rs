//! An edit is in force at once, for new and for established flows; a bad one changes nothing.

use ringfence_agent::lab::{Lab, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, eventually, small},
};

use super::{
    flows_on, is_closed, lets_in, pod, pod_manifest, reaches, stands_still, stream, world,
};

#[test]
fn established_flows_follow_an_edit_both_ways() {
    let lab = Lab::up(&small("edit", &["a", "b", "c", "d"], &[80, 81])).unwrap();
    let base = world(&["a", "b", "c", "d"]);
    let both = lets_in("b", "a", 80) + &lets_in("c", "d", 80);
    let agent = Agent::start(&lab, &(base.clone() + &both), &[]);
    let (a, d) = (pod("a"), pod("d"));
    for (id, from, number, protocol) in [
        ("lost-tcp", &a, 2, Transport::Tcp),
        ("lost-udp", &a, 2, Transport::Udp),
        ("kept-tcp", &d, 3, Transport::Tcp),
        ("kept-udp", &d, 3, Transport::Udp),
    ] {
        stream(&lab, id, from, addresses(number)[0], 80, protocol);
        flows_on(&lab, id, from, 10);
    }
    agent.edit(
        "manifests.yaml",
        &(base + &lets_in("b", "a", 81) + &lets_in("c", "d", 80)),
    );
    stands_still(&lab, "lost-tcp", &a);
    stands_still(&lab, "lost-udp", &a);
    assert!(reaches(&lab, &a, 2, 81) && is_closed(&lab, &a, 2, 80));
    for id in ["kept-tcp", "kept-udp"] {
        flows_on(&lab, id, &d, 10);
        let report = lab.stream_stop(&d, id).unwrap();
        assert_eq!(
            (report.lost, report.error.as_deref()),
            (0, None),
            "{id}: {report:?}"
        );
    }
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn labels_and_policies_that_come_and_go_are_followed() {
    let lab = Lab::up(&small("labels", &["a", "b"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b"]) + &lets_in("b", "a", 80);
    let agent = Agent::start(&lab, &manifests, &[]);
    let a = pod("a");
    assert!(reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81));

    let revision = agent.revision();
    let relabelled = manifests.replace(
        &pod_manifest("a", "a", 1, ""),
        &pod_manifest("a", "other", 1, ""),
    );
    assert_ne!(relabelled, manifests);
    agent.edit("manifests.yaml", &relabelled);
    agent.wait_beyond(revision);
    assert!(is_closed(&lab, &a, 2, 80), "it is somebody else now");

    let revision = agent.revision();
    agent.edit("manifests.yaml", &world(&["a", "b"]));
    agent.wait_beyond(revision);
    assert!(
        reaches(&lab, &a, 2, 80) && reaches(&lab, &a, 2, 81),
        "no policy is left"
    );
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_misspelt_field_opens_no_door_and_is_told_with_its_line() {
    let lab = Lab::up(&small("misspelt", &["a", "b"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b"]) + &lets_in("b", "a", 80);
    let agent = Agent::start(&lab, &manifests, &[]);
    let (a, revision) = (pod("a"), agent.revision());
    let misspelt = manifests.replace("  ingress:\n", "  ingres:\n");
    let line = misspelt
        .lines()
        .position(|line| line == "  ingres:")
        .unwrap()
        + 1;
    agent.edit("manifests.yaml", &misspelt);
    let place = format!("manifests.yaml:{line}");
    eventually("the agent tells of it", || {
        let status = agent.json(&["status"]).to_string();
        (status.contains(&place) && status.contains("ingres")).then_some(())
    });
    assert_eq!(agent.revision(), revision);
    assert!(reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81));
    agent.edit("manifests.yaml", &manifests.replace("port: 80", "port: 81"));
    agent.wait_beyond(revision);
    assert!(
        is_closed(&lab, &a, 2, 80) && reaches(&lab, &a, 2, 81),
        "mended and in force"
    );
    drop(agent);
    lab.down().unwrap();
}
