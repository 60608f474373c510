//! The first thing that a pod does is forbidden: how many get through.

use std::time::{Duration, Instant};

use ringfence_agent::lab::{
    Actor, Lab, LabSpec, Outcome, OutsidePort, Probe, names, wire::Transport,
};
use ringfence_tests::{
    agent::Agent,
    lab::{eventually, small},
    runtime::{Runtime, sandbox},
};

use super::{pod, pod_manifest, world};

/// Pods that start together.
const TOGETHER: usize = 20;
/// How often they do.
const ROUNDS: usize = 10;
/// How long an answer may take that must not come; what comes late is counted by the server all the same.
const MOMENT: Duration = Duration::from_millis(40);
/// Pods that are measured without the gate.
const MEASURED: usize = 20;

/// Nothing leaves a pod of the namespace.
const SILENT: &str = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: silent, namespace: t }\n\
                      spec:\n  podSelector: {}\n  policyTypes: [Egress]\n";

fn lab(name: &str, pods: &[String]) -> Lab {
    let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
    let mut spec: LabSpec = small(name, &pods, &[]);
    spec.outside[0].serves = Transport::ALL
        .map(|protocol| OutsidePort { protocol, port: 80 })
        .to_vec();
    Lab::up(&spec).expect("a lab")
}

/// A connection and a datagram, each by both families.
fn first_act(lab: &Lab, name: &str) -> Vec<Outcome> {
    let to = ["203.0.113.9", "2001:db8:9::9"].map(|text| text.parse().expect("an address"));
    let probes = to.into_iter().flat_map(|to| {
        Transport::ALL.map(|protocol| Probe {
            from: pod(name),
            to,
            port: 80,
            protocol,
            timeout: MOMENT,
        })
    });
    let probes: Vec<Probe> = probes.collect();
    lab.probe_all(&probes).expect("the lab obeys")
}

/// Who got through, as the server saw it.
fn reached(lab: &Lab) -> u64 {
    let served = lab
        .served(&Actor::outside("client"))
        .expect("the lab obeys");
    served.forgotten + u64::try_from(served.visits.len()).expect("few")
}

#[test]
fn of_two_hundred_pods_whose_first_act_is_forbidden_none_gets_through_the_gate() {
    let pods: Vec<String> = (0..TOGETHER).map(|number| format!("p{number}")).collect();
    let lab = lab("first", &pods);
    // Without an agent the same act reaches the server: what is counted is counted.
    assert!(first_act(&lab, "p0").iter().any(Outcome::is_answered) || reached(&lab) > 0);
    eventually("the server has seen it", || {
        (reached(&lab) >= 4).then_some(())
    });
    let before = reached(&lab);

    let runtime = Runtime::listen();
    let socket = runtime.socket().display().to_string();
    let flags = [
        "--node",
        "w1",
        "--nri",
        "on",
        "--nri-socket",
        &socket,
        "--nri-timeout",
        "15000",
    ];
    let agent = Agent::start(&lab, &(world(&[]) + SILENT), &flags);
    let plugin = runtime.accept(&[]);
    let mut started = 0;
    for round in 0..ROUNDS {
        let sandboxes = pods.iter().map(|name| {
            let netns = format!("/run/netns/{}{name}", names::netns_prefix(lab.name()));
            sandbox(&format!("{name}-{round}"), "t", name, netns.as_ref())
        });
        let sandboxes: Vec<_> = sandboxes.collect();
        // All are asked about at once; each starts when it is answered.
        let pending: Vec<_> = sandboxes.iter().map(|it| plugin.runs(it)).collect();
        for (name, pending) in pods.iter().zip(pending) {
            pending.answer().expect("it may start");
            let outcomes = first_act(&lab, name);
            assert!(
                !outcomes.iter().any(Outcome::is_answered),
                "{name}: {outcomes:?}"
            );
            started += 1;
        }
        for it in &sandboxes {
            plugin.ended(it);
        }
        eventually("they are gone", || {
            let endpoints = agent.json(&["endpoints"]);
            endpoints["items"].as_array()?.is_empty().then_some(())
        });
    }
    assert_eq!((started, reached(&lab) - before), (TOGETHER * ROUNDS, 0));
    drop(agent);
    lab.down().unwrap();
}

/// Not what a pod may do, but for how long, is what this prints.
#[test]
fn without_the_gate_the_window_of_a_pod_is_as_long_as_it_takes_to_hear_of_it() {
    let pods: Vec<String> = (0..MEASURED).map(|number| format!("p{number}")).collect();
    let lab = lab("window", &pods);
    let agent = Agent::start(&lab, &(world(&[]) + SILENT), &["--nri", "off"]);
    let mut windows = Vec::new();
    for (name, number) in pods.iter().zip(1..) {
        let start = Instant::now();
        agent.edit(
            &format!("{name}.yaml"),
            &pod_manifest(name, name, number, ""),
        );
        eventually("nothing gets out any more", || {
            let outcomes = first_act(&lab, name);
            (!outcomes.iter().any(Outcome::is_answered)).then_some(())
        });
        // The last act took this long, and it was in vain.
        windows.push(start.elapsed().saturating_sub(MOMENT));
    }
    windows.sort();
    println!(
        "window without the gate, from the source's word on: median {:?}, longest {:?} of {MEASURED} pods; {} acts got through",
        windows[MEASURED / 2],
        windows[MEASURED - 1],
        reached(&lab)
    );
    drop(agent);
    lab.down().unwrap();
}
