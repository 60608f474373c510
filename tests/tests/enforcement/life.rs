//! The agent's life and death, and what packets notice of it.

use std::process::Command;

use ringfence_agent::lab::{Lab, names, state, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, eventually, small},
};

use super::{flows_on, is_closed, lets_in, pod, reaches, stands_still, stream, world};

#[test]
fn nothing_is_lost_across_an_edit_a_crash_and_a_restart_and_denied_stays_denied() {
    let lab = Lab::up(&small("life", &["a", "b", "c"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b", "c"]) + &lets_in("b", "a", 80);
    let mut agent = Agent::start(&lab, &manifests, &[]);
    let (a, c) = (pod("a"), pod("c"));
    let [v4, v6] = addresses(2);
    let streams = [
        ("tcp4", v4, Transport::Tcp),
        ("tcp6", v6, Transport::Tcp),
        ("udp4", v4, Transport::Udp),
        ("udp6", v6, Transport::Udp),
    ];
    for (id, to, protocol) in streams {
        stream(&lab, id, &a, to, 80, protocol);
        flows_on(&lab, id, &a, 20);
    }
    let all_flow = |what: &str| {
        for (id, ..) in streams {
            flows_on(&lab, id, &a, 20);
        }
        assert!(is_closed(&lab, &c, 2, 80), "{what}: c -> b:80");
        assert!(is_closed(&lab, &a, 2, 81), "{what}: a -> b:81");
    };
    all_flow("at first");

    let revision = agent.revision();
    agent.edit("more.yaml", &lets_in("c", "a", 81));
    agent.wait_beyond(revision);
    let edited = agent.revision();
    assert!(
        reaches(&lab, &a, 3, 81) && is_closed(&lab, &a, 3, 80),
        "the edit is in force"
    );
    all_flow("after an edit");

    agent.kill();
    all_flow("without an agent");
    assert!(reaches(&lab, &a, 2, 80), "new flows that are allowed");
    assert!(is_closed(&lab, &a, 3, 80));

    agent.spawn();
    agent.wait_until_ready();
    assert_eq!(
        agent.revision(),
        edited,
        "nothing had changed, so nothing was done"
    );
    all_flow("after a restart");

    agent.kill();
    agent.edit("more.yaml", &lets_in("c", "a", 80));
    agent.spawn();
    agent.wait_until_ready();
    assert!(
        reaches(&lab, &a, 3, 80) && is_closed(&lab, &a, 3, 81),
        "what was edited meanwhile is in force"
    );
    all_flow("after another restart");

    // TCP would hide a loss by sending again; the datagrams beside it cannot.
    for (id, ..) in streams {
        let report = lab.stream_stop(&a, id).unwrap();
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
fn a_connection_that_loses_its_permission_ends_though_the_agent_was_away_when_it_did() {
    let lab = Lab::up(&small("away", &["a", "b"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b"]);
    let mut agent = Agent::start(&lab, &(manifests.clone() + &lets_in("b", "a", 80)), &[]);
    let a = pod("a");
    stream(&lab, "s", &a, addresses(2)[0], 80, Transport::Tcp);
    flows_on(&lab, "s", &a, 10);
    agent.kill();
    agent.edit("manifests.yaml", &(manifests + &lets_in("b", "a", 81)));
    flows_on(&lab, "s", &a, 10);
    agent.spawn();
    agent.wait_until_ready();
    stands_still(&lab, "s", &a);
    assert!(reaches(&lab, &a, 2, 81));
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn sigterm_leaves_everything_and_detach_takes_it_away() {
    let lab = Lab::up(&small("end", &["a", "b"], &[80, 81])).unwrap();
    let mut agent = Agent::start(&lab, &(world(&["a", "b"]) + &lets_in("b", "a", 80)), &[]);
    let a = pod("a");
    let second = agent.command().output().unwrap();
    assert_eq!(second.status.code(), Some(2), "a second agent: {second:?}");
    let state_dir = tempfile::tempdir().unwrap();
    let kept = state_dir.path().join("state.jsonl");
    std::fs::write(&kept, "{}\n").unwrap();
    let forget = ["--state-dir", state_dir.path().to_str().unwrap()];
    let detach = agent.detach_with(&forget);
    assert_eq!(
        detach.status.code(),
        Some(2),
        "detach under a running agent: {detach:?}"
    );
    assert!(is_closed(&lab, &a, 2, 81));

    assert!(agent.stop(), "{}", agent.said());
    assert!(
        reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81),
        "it stopped, its tables have not"
    );

    assert!(kept.exists(), "an agent may still need it");
    let detach = agent.detach_with(&forget);
    assert!(detach.status.success(), "{detach:?}");
    assert!(
        !kept.exists(),
        "an agent that comes next would enforce it again"
    );
    eventually("all enforcement is gone", || {
        (!is_closed(&lab, &a, 2, 81)).then_some(())
    });
    assert!(reaches(&lab, &a, 2, 81));
    let version = format!("v{}", ringfence_common::ABI_VERSION);
    let pins = state::bpffs(lab.name()).join(version);
    assert!(!pins.exists(), "pins are left");
    lab.down().unwrap();
}

/// As the pods of a DaemonSet that is about to be deleted do, whose readiness is this answer.
#[test]
fn who_detaches_and_stays_says_so_only_while_nothing_is_enforced() {
    let lab = Lab::up(&small("stay", &["a", "b"], &[80, 81])).unwrap();
    let mut agent = Agent::start(&lab, &(world(&["a", "b"]) + &lets_in("b", "a", 80)), &[]);
    let done = |agent: &Agent| {
        let status = agent.detach_command().arg("--done").status();
        status.expect("the binary is there").code()
    };
    assert_eq!(done(&agent), Some(1), "an agent runs");
    assert!(agent.stop(), "{}", agent.said());
    assert_eq!(done(&agent), Some(1), "everything is in force");

    let mut stays = agent.detach_command().arg("--stay").spawn().unwrap();
    eventually("it says so", || (done(&agent) == Some(0)).then_some(()));
    assert!(reaches(&lab, &pod("a"), 2, 81));
    let version = format!("v{}", ringfence_common::ABI_VERSION);
    assert!(!state::bpffs(lab.name()).join(version).exists());

    stays.kill().unwrap();
    stays.wait().unwrap();
    assert_eq!(done(&agent), Some(1), "nobody keeps an agent from starting");
    lab.down().unwrap();
}

#[test]
fn clsact_filters_enforce_the_same_survive_a_crash_and_do_not_stack() {
    let lab = Lab::up(&small("clsact", &["a", "b"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b"]) + &lets_in("b", "a", 80);
    let mut agent = Agent::start(&lab, &manifests, &["--tcx", "off"]);
    let a = pod("a");
    stream(&lab, "s", &a, addresses(2)[0], 80, Transport::Udp);
    for round in 0..3 {
        assert!(
            reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81),
            "round {round}"
        );
        assert_eq!(
            filters(&lab),
            4,
            "two filters for each of two pods, round {round}"
        );
        agent.kill();
        assert!(
            reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81),
            "killed, round {round}"
        );
        agent.spawn();
        agent.wait_until_ready();
    }
    flows_on(&lab, "s", &a, 20);
    let report = lab.stream_stop(&a, "s").unwrap();
    assert_eq!(report.lost, 0, "{report:?}");
    assert!(agent.stop());
    assert!(agent.detach().status.success());
    assert_eq!(filters(&lab), 0);
    assert!(reaches(&lab, &a, 2, 81));
    lab.down().unwrap();
}

/// BPF filters on the devices of the node.
fn filters(lab: &Lab) -> usize {
    let netns = names::node_netns(lab.name());
    let run = |words: &[&str]| {
        let output = Command::new("ip")
            .args(["netns", "exec", &netns])
            .args(words)
            .output()
            .expect("iproute2 is installed");
        String::from_utf8(output.stdout).expect("text")
    };
    let devices = run(&["ls", "/sys/class/net"]);
    let count = |device: &str, side: &str| {
        let listed = run(&["tc", "filter", "show", "dev", device, side]);
        listed
            .lines()
            .filter(|line| line.contains("from_pod") || line.contains("to_pod"))
            .count()
    };
    devices
        .split_whitespace()
        .map(|device| count(device, "ingress") + count(device, "egress"))
        .sum()
}

#[test]
fn an_unreadable_manifest_at_start_programs_nothing_and_keeps_what_is_pinned() {
    let lab = Lab::up(&small("broken", &["a", "b"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b"]) + &lets_in("b", "a", 80);
    let mut agent = Agent::start(&lab, &manifests, &[]);
    let a = pod("a");
    agent.kill();
    agent.edit("manifests.yaml", &(manifests.clone() + "---\nkind: [\n"));
    agent.spawn();
    eventually("the agent says what is wrong", || {
        agent.said().contains("manifests.yaml:").then_some(())
    });
    assert!(reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81));
    agent.edit("manifests.yaml", &manifests);
    agent.wait_until_ready();
    assert!(reaches(&lab, &a, 2, 80) && is_closed(&lab, &a, 2, 81));
    drop(agent);
    lab.down().unwrap();
}

/// The names of pinned links that begin so.
fn links(lab: &Lab, prefix: &str) -> Vec<String> {
    let versions =
        std::fs::read_dir(state::bpffs(lab.name())).expect("the agent has pinned something");
    versions
        .flatten()
        .filter_map(|version| std::fs::read_dir(version.path().join("links")).ok())
        .flat_map(|links| links.flatten())
        .map(|link| link.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(prefix))
        .collect()
}

#[test]
fn a_device_that_is_gone_takes_its_pins_with_it_and_holds_up_no_agent() {
    let lab = Lab::up(&small("gone", &["a", "b", "c"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b", "c"]) + &lets_in("c", "a", 80);
    let mut agent = Agent::start(&lab, &manifests, &[]);
    let netns = names::node_netns(lab.name());
    let device = |pod: &str| {
        let endpoints = agent.json(&["endpoints"]);
        let endpoints = endpoints["items"].as_array().unwrap().clone();
        let endpoint = endpoints.iter().find(|it| it["pod"] == pod).unwrap();
        (
            endpoint["interface"].as_str().unwrap().to_owned(),
            format!("{}-", endpoint["ifindex"]),
        )
    };
    let remove = |device: &str| {
        let removed = Command::new("ip")
            .args(["-n", &netns, "link", "del", device])
            .status();
        assert!(removed.unwrap().success());
    };
    let ((a, _), (b, b_pins), (_, c_pins)) = (device("t/a"), device("t/b"), device("t/c"));
    assert!(!links(&lab, &b_pins).is_empty());
    remove(&b);
    eventually("its pins are gone", || {
        links(&lab, &b_pins).is_empty().then_some(())
    });

    let (_, a_pins) = device("t/a");
    agent.kill();
    remove(&a);
    agent.spawn();
    agent.wait_until_ready();
    eventually("its pins are gone too", || {
        links(&lab, &a_pins).is_empty().then_some(())
    });
    assert!(!links(&lab, &c_pins).is_empty(), "those of others stay");
    drop(agent);
    lab.down().unwrap();
}
