//! A container runtime asks before it starts pods, and is answered when they are protected.

use std::path::PathBuf;

use ringfence_agent::{
    lab::{Actor, Lab, names, wire::Transport},
    nri::messages::PodSandbox,
};
use ringfence_tests::{
    agent::{Agent, get},
    lab::{addresses, eventually, small},
    runtime::{Runtime, sandbox},
};

use super::{attempt, flows_on, is_closed, lets_in, pod, pod_manifest, reaches, stream, world};

/// Nothing leaves `app: b`.
const SILENT: &str = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: silent, namespace: t }\n\
                      spec:\n  podSelector: { matchLabels: { app: b } }\n  policyTypes: [Egress]\n";

fn netns(lab: &Lab, pod: &str) -> PathBuf {
    format!("/run/netns/{}{pod}", names::netns_prefix(lab.name())).into()
}

/// The sandbox of a pod of the lab.
fn of(lab: &Lab, id: &str, pod: &str) -> PodSandbox {
    sandbox(id, "t", pod, &netns(lab, pod))
}

fn agent(lab: &Lab, runtime: &Runtime, manifests: &str, more: &[&str]) -> Agent {
    let socket = runtime.socket().display().to_string();
    let flags = ["--node", "w1", "--nri", "on", "--nri-socket", &socket];
    Agent::start(lab, manifests, &[&flags, more].concat())
}

/// Long, for the machine may be busy.
const PATIENT: [&str; 2] = ["--nri-timeout", "15000"];

fn endpoints(agent: &Agent) -> String {
    agent.json(&["endpoints"]).to_string()
}

fn metric(agent: &Agent, line: &str) -> bool {
    let text = get(&agent.run_dir(), "/metrics").unwrap_or_default();
    text.lines().any(|found| found == line)
}

#[test]
fn a_pod_that_no_source_knows_is_protected_before_the_runtime_is_answered() {
    let lab = Lab::up(&small("gate", &["a", "b"], &[80, 81])).unwrap();
    let runtime = Runtime::listen();
    let manifests = world(&["a"]) + &lets_in("b", "a", 80) + SILENT;
    let agent = agent(&lab, &runtime, &manifests, &PATIENT);
    let plugin = runtime.accept(&[]);
    assert!(!endpoints(&agent).contains("t/b"));

    // Its addresses are read from its interface: not every runtime tells them.
    plugin.runs(&of(&lab, "s1", "b")).answer().unwrap();
    assert!(endpoints(&agent).contains("t/b"), "{}", endpoints(&agent));
    let b = pod("b");
    for protocol in Transport::ALL {
        let outside = "203.0.113.9".parse().unwrap();
        assert!(!attempt(&lab, &b, outside, 80, protocol).is_answered());
    }
    let served = lab.served(&Actor::outside("client")).unwrap();
    assert!(served.visits.is_empty(), "its first packet was judged");
    assert!(reaches(&lab, &pod("a"), 2, 80) && is_closed(&lab, &pod("a"), 2, 81));
    assert!(metric(
        &agent,
        "ringfence_nri_pods_total{result=\"protected\"} 1"
    ));

    // Then the source knows it too, and it stays as it is; also when the runtime no longer speaks for it.
    let known = pod_manifest("b", "b", 2, "")
        .replace("  name: b\n", "  name: b\n  uid: uid-of-b\n")
        .replace("annotations: { ringfence.dev/netns: b }", "annotations: {}");
    let more = lets_in("b", "a", 81).replace("name: b,", "name: more,");
    let revision = agent.revision();
    agent.edit("b.yaml", &(known + &more));
    agent.wait_beyond(revision);
    plugin.ended(&of(&lab, "s1", "b"));
    assert!(reaches(&lab, &pod("a"), 2, 80) && reaches(&lab, &pod("a"), 2, 81));
    assert!(!attempt(&lab, &b, addresses(1)[0], 80, Transport::Tcp).is_answered());
    assert!(endpoints(&agent).contains("t/b"), "found by its address");
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_container_waits_too_where_its_pods_network_was_made_while_nobody_was_asked() {
    let lab = Lab::up(&small("late", &["a", "b"], &[80])).unwrap();
    let runtime = Runtime::listen();
    let manifests = world(&["a"]) + SILENT;
    let flags = ["--nri-fail", "closed", "--nri-timeout", "1000"];
    let agent = agent(&lab, &runtime, &manifests, &flags);
    let b = of(&lab, "s1", "b");
    let plugin = runtime.accept(std::slice::from_ref(&b));
    plugin.creates(&b).answer().unwrap();
    let outside = "203.0.113.9".parse().unwrap();
    assert!(!attempt(&lab, &pod("b"), outside, 80, Transport::Tcp).is_answered());
    // Another one of the same pod does not wait, and does not count.
    plugin.creates(&b).answer().unwrap();
    assert!(!metric(
        &agent,
        "ringfence_nri_pods_total{result=\"protected\"} 2"
    ));

    // One that cannot be protected is refused for as long as that lasts.
    let lost = sandbox("s2", "t", "c", &netns(&lab, "nowhere"));
    for _ in 0..2 {
        let reason = plugin.creates(&lost).answer().unwrap_err();
        assert!(reason.contains("pod t/c"), "{reason}");
    }
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_sandbox_that_is_made_anew_keeps_its_pods_policy() {
    let lab = Lab::up(&small("anew", &["a", "b", "c"], &[80, 81])).unwrap();
    let runtime = Runtime::listen();
    let manifests = world(&["a"]) + &lets_in("b", "a", 80);
    let agent = agent(&lab, &runtime, &manifests, &PATIENT);
    let plugin = runtime.accept(&[]);
    let first = of(&lab, "s1", "b");
    plugin.runs(&first).answer().unwrap();
    // The pod's second sandbox has another namespace, and other addresses.
    let second = sandbox("s2", "t", "b", &netns(&lab, "c"));
    plugin.runs(&second).answer().unwrap();
    assert!(reaches(&lab, &pod("a"), 3, 80) && is_closed(&lab, &pod("a"), 3, 81));
    plugin.ended(&first);
    assert!(reaches(&lab, &pod("a"), 3, 80) && is_closed(&lab, &pod("a"), 3, 81));
    plugin.ended(&second);
    eventually("it is no endpoint any more", || {
        (!endpoints(&agent).contains("t/b")).then_some(())
    });
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn what_runs_already_is_taken_over_with_its_connections_and_counted_if_nobody_watched_it_start() {
    let lab = Lab::up(&small("taken", &["a", "b", "c", "d"], &[80, 81])).unwrap();
    let a = pod("a");
    stream(&lab, "s", &a, addresses(2)[0], 80, Transport::Tcp);
    flows_on(&lab, "s", &a, 5);
    let runtime = Runtime::listen();
    let manifests = world(&["a"]) + &lets_in("b", "a", 80) + &lets_in("c", "a", 80);
    let mut agent = agent(&lab, &runtime, &manifests, &PATIENT);
    let plugin = runtime.accept(&[of(&lab, "s1", "b")]);
    eventually("it is taken over", || {
        endpoints(&agent).contains("t/b").then_some(())
    });
    flows_on(&lab, "s", &a, 20);
    assert!(is_closed(&lab, &a, 2, 81));
    eventually("it is counted", || {
        metric(&agent, "ringfence_nri_unwatched_pods_total 1").then_some(())
    });

    // The runtime restarts, and a pod starts before the plugin is back.
    plugin.hang_up();
    let plugin = runtime.accept(&[of(&lab, "s1", "b"), of(&lab, "s2", "c")]);
    eventually("the other is taken over", || {
        endpoints(&agent).contains("t/c").then_some(())
    });
    eventually("it is counted", || {
        metric(&agent, "ringfence_nri_unwatched_pods_total 2").then_some(())
    });
    assert!(metric(&agent, "ringfence_nri_connected 1"));
    let told = agent.json(&["status"])["nri"].to_string();
    assert!(told.contains("started while it did not: 2"), "{told}");
    flows_on(&lab, "s", &a, 20);

    // Another agent finds both guarded, so it counts neither; but one that it does not know.
    agent.kill();
    drop(plugin);
    agent.spawn();
    agent.wait_until_ready();
    let ended = sandbox("s0", "t", "b", &netns(&lab, "nowhere"));
    let d = of(&lab, "s3", "d");
    let plugin = runtime.accept(&[of(&lab, "s1", "b"), of(&lab, "s2", "c"), d, ended]);
    eventually("it is counted", || {
        metric(&agent, "ringfence_nri_unwatched_pods_total 1").then_some(())
    });
    flows_on(&lab, "s", &a, 20);
    drop(plugin);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_pod_that_cannot_be_protected_is_refused_or_let_through_as_configured() {
    for (mode, closed) in [("closed", true), ("open", false)] {
        let lab = Lab::up(&small(mode, &["a"], &[80])).unwrap();
        let runtime = Runtime::listen();
        let flags = ["--nri-fail", mode, "--nri-timeout", "300"];
        let agent = agent(&lab, &runtime, &world(&["a"]), &flags);
        let plugin = runtime.accept(&[]);
        let answer = plugin
            .runs(&sandbox("s1", "t", "b", &netns(&lab, "nowhere")))
            .answer();
        if closed {
            let reason = answer.unwrap_err();
            assert!(
                reason.contains("pod t/b") && reason.contains("no network namespace"),
                "{reason}"
            );
            assert!(metric(
                &agent,
                "ringfence_nri_pods_total{result=\"refused\"} 1"
            ));
        } else {
            answer.unwrap();
            assert!(agent.said().contains("starts unprotected"));
            assert!(metric(
                &agent,
                "ringfence_nri_pods_total{result=\"let_through\"} 1"
            ));
            assert!(
                agent.json(&["status"])["unplaced"]
                    .to_string()
                    .contains("t/b")
            );
        }
        // The plugin is still in: another pod is not held up.
        plugin.runs(&of(&lab, "s2", "a")).answer().unwrap();
        drop(agent);
        lab.down().unwrap();
    }
}

#[test]
fn whoever_waits_when_the_agent_stops_is_answered_as_configured() {
    for (mode, closed) in [("closed", true), ("open", false)] {
        let lab = Lab::up(&small(mode, &["a"], &[80])).unwrap();
        let runtime = Runtime::listen();
        let flags = ["--nri-fail", mode, PATIENT[0], PATIENT[1]];
        let mut agent = agent(&lab, &runtime, &world(&["a"]), &flags);
        let plugin = runtime.accept(&[]);
        let waiting = plugin.runs(&sandbox("s1", "t", "b", &netns(&lab, "nowhere")));
        eventually("it waits", || {
            let status = agent.json(&["status"])["unplaced"].to_string();
            status.contains("t/b").then_some(())
        });
        assert!(agent.stop());
        let answer = waiting.answer();
        if closed {
            let reason = answer.unwrap_err();
            assert!(
                reason.contains("pod t/b") && reason.contains("agent stopped"),
                "{reason}"
            );
        } else {
            answer.unwrap();
            assert!(agent.said().contains("starts unprotected"));
        }
        drop(plugin);
        drop(agent);
        lab.down().unwrap();
    }
}

#[test]
fn a_runtime_that_is_away_is_told_of_and_settled_when_it_is_there() {
    let lab = Lab::up(&small("away", &["a"], &[80])).unwrap();
    let runtime = Runtime::listen();
    let socket = runtime.socket();
    let beside = socket.with_extension("beside");
    std::fs::rename(&socket, &beside).unwrap();
    let agent = agent(&lab, &runtime, &world(&["a"]), &PATIENT);
    let told = || {
        agent
            .json(&["status"])
            .to_string()
            .contains("pods start without waiting")
    };
    eventually("it is told", || told().then_some(()));
    std::fs::rename(&beside, &socket).unwrap();
    let plugin = runtime.accept(&[]);
    eventually("it is settled", || (!told()).then_some(()));
    drop(plugin);
    drop(agent);
    lab.down().unwrap();
}
