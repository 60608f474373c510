//! What the agent tells of itself, with no privileges but its own, of what really happened.

use std::fs;

use ringfence_agent::lab::{Lab, LabSpec, OutsideHost, OutsidePort, state, wire::Transport};
use ringfence_common::ABI_VERSION;
use ringfence_tests::{
    agent::{Agent, get},
    lab::{addresses, eventually, small},
};

use super::{
    PATIENT, attempt, flows_on, is_closed, lets_in, pod, pod_manifest, reaches, stream, world,
};

/// What the chart gives the agent.
const PRIVILEGES: [&str; 3] = ["bpf", "net_admin", "perfmon"];

/// The value of a series, which must be there.
fn value(agent: &Agent, series: &str) -> f64 {
    found(agent, series).unwrap_or_else(|| panic!("no {series} in\n{}", scrape(agent)))
}

fn found(agent: &Agent, series: &str) -> Option<f64> {
    let text = scrape(agent);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().expect("a number"))
}

fn scrape(agent: &Agent) -> String {
    let answer = get(&agent.run_dir(), "/metrics").expect("it answers");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    answer
}

fn attached(program: &str, hook: &str) -> String {
    format!("ringfence_bpf_program_attached{{program=\"{program}\",hook=\"{hook}\"}}")
}

#[test]
fn everything_is_told_with_the_least_privileges_and_a_program_that_is_off_is_missed() {
    let lab = Lab::up(&small("told", &["a", "b"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b"]) + &lets_in("b", "a", 80);
    let agent = Agent::start_with_capabilities(&lab, &manifests, &[], &PRIVILEGES);
    assert!(reaches(&lab, &pod("a"), 2, 80));

    let shown = agent.json(&["bpf", "show"]);
    let objects = shown["items"].as_array().unwrap();
    let (mut maps, mut links) = (0, 0);
    for object in objects {
        assert!(object["id"].as_u64().unwrap() > 0, "{object}");
        if object["kind"] == "map" {
            maps += 1;
            assert!(object["memory"].is_u64(), "{object}");
        } else {
            links += 1;
        }
    }
    assert!(maps > 20 && links >= 9, "{maps} maps, {links} links");
    let status = agent.json(&["status"]);
    assert_eq!(
        (&status["ready"], &status["endpoints"]),
        (&true.into(), &2.into())
    );

    for (program, hook) in [
        ("from_pod", "from_pod"),
        ("to_pod", "to_pod"),
        ("from_host", "from_host"),
        ("to_host", "to_host"),
        ("connect4", "socket"),
        ("connect6", "socket"),
        ("sendmsg4", "socket"),
        ("sendmsg6", "socket"),
        ("to_node", "to_node"),
    ] {
        assert_eq!(value(&agent, &attached(program, hook)), 1.0, "{program}");
    }
    assert!(value(&agent, "process_open_fds") > 10.0);
    assert!(value(&agent, "process_resident_memory_bytes") > 1e6);
    assert!(value(&agent, "ringfence_bpf_map_max_entries{map=\"CELLS\"}") > 0.0);

    // A link whose pin is gone goes: that device's packets are judged no more.
    let links = state::bpffs(lab.name()).join(format!("v{ABI_VERSION}/links"));
    let of_pods = fs::read_dir(&links).unwrap().flatten();
    let of_pods: Vec<_> = of_pods
        .filter(|link| link.file_name().to_string_lossy().ends_with("-from_pod"))
        .collect();
    assert_eq!(of_pods.len(), 2);
    fs::remove_file(of_pods[0].path()).unwrap();
    assert_eq!(value(&agent, &attached("from_pod", "from_pod")), 0.0);
    assert_eq!(value(&agent, &attached("to_pod", "to_pod")), 1.0);
    fs::remove_file(links.join("connect6")).unwrap();
    assert_eq!(value(&agent, &attached("connect6", "socket")), 0.0);
    assert_eq!(value(&agent, &attached("connect4", "socket")), 1.0);
    assert!(!agent.said().contains("ERROR"), "{}", agent.said());
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn what_packets_and_policies_do_is_counted_and_outlives_the_agent() {
    let lab = Lab::up(&small("counted", &["a", "b", "c"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b", "c"]) + &lets_in("b", "a", 80);
    let mut agent = Agent::start_with_capabilities(&lab, &manifests, &[], &PRIVILEGES);
    let (a, c) = (pod("a"), pod("c"));
    let packets = "ringfence_packets_total{hook=\"to_pod\",verdict=\"denied\",reason=\"policy\"}";
    let bytes = "ringfence_denied_bytes_total{hook=\"to_pod\",reason=\"policy\"}";
    let in_force = "ringfence_policies{kind=\"NetworkPolicy\",state=\"in_force\"}";
    let invalid = "ringfence_policies{kind=\"NetworkPolicy\",state=\"invalid\"}";
    assert_eq!((found(&agent, packets), found(&agent, bytes)), (None, None));
    assert_eq!(value(&agent, "ringfence_endpoints{state=\"ready\"}"), 3.0);
    assert_eq!(
        (value(&agent, in_force), value(&agent, invalid)),
        (1.0, 0.0)
    );

    let tracked = value(&agent, "ringfence_conntrack_entries");
    assert!(reaches(&lab, &a, 2, 80) && reaches(&lab, &a, 3, 80));
    // Two families and two transports, each with an entry for either pod.
    assert!(value(&agent, "ringfence_conntrack_entries") >= tracked + 4.0);
    assert!(!reaches(&lab, &c, 2, 80));
    let (dropped, lost) = (value(&agent, packets), value(&agent, bytes));
    assert!(dropped >= 4.0, "two families and two transports: {dropped}");
    // Frames with Ethernet's header, the smallest of which are datagrams over IPv4.
    assert!(
        lost >= dropped * 42.0 && lost < dropped * 200.0,
        "{lost} bytes of {dropped}"
    );

    // A state that cannot be used is counted as such, and its last good one stays.
    let revision = agent.revision();
    let broken = lets_in("c", "a", 80).replace("port: 80 }", "port: 80, endPort: 1 }");
    agent.edit("more.yaml", &broken);
    eventually("the policy is told to be invalid", || {
        (value(&agent, invalid) == 1.0).then_some(())
    });
    assert_eq!(value(&agent, in_force), 1.0);
    agent.edit("more.yaml", &lets_in("c", "a", 80));
    agent.wait_beyond(revision);
    eventually("both are in force", || {
        (value(&agent, in_force) == 2.0 && value(&agent, invalid) == 0.0).then_some(())
    });

    agent.kill();
    assert!(!reaches(&lab, &c, 2, 80), "without an agent");
    agent.spawn();
    agent.wait_until_ready();
    assert!(value(&agent, packets) >= dropped + 4.0 && value(&agent, bytes) > lost);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_flow_counts_once_however_long_it_is_and_a_pod_that_comes_counts_its_wait() {
    let lab = Lab::up(&small("flows", &["a", "b", "c"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b"]) + &lets_in("b", "a", 80);
    let agent = Agent::start_with_capabilities(&lab, &manifests, &[], &PRIVILEGES);
    let a = pod("a");
    let flows = |direction: &str, verdict: &str, reason: &str| {
        let series = format!(
            "ringfence_flows_total{{direction=\"{direction}\",verdict=\"{verdict}\",reason=\"{reason}\"}}"
        );
        found(&agent, &series).unwrap_or_default()
    };
    let before = (
        flows("ingress", "allowed", "policy"),
        flows("egress", "allowed", "not_isolated"),
    );
    stream(&lab, "s", &a, addresses(2)[0], 80, Transport::Udp);
    flows_on(&lab, "s", &a, 100);
    let now = (
        flows("ingress", "allowed", "policy"),
        flows("egress", "allowed", "not_isolated"),
    );
    assert_eq!(now, (before.0 + 1.0, before.1 + 1.0));
    assert!(is_closed(&lab, &a, 2, 81));
    assert!(flows("ingress", "denied", "policy") >= 4.0);
    let metadata = "169.254.169.254".parse().unwrap();
    assert!(!attempt(&lab, &a, metadata, 80, Transport::Tcp).is_answered());
    assert_eq!(flows("egress", "denied", "metadata"), 1.0);
    assert_eq!(
        value(&agent, "ringfence_conntrack_insert_failures_total"),
        0.0
    );

    // Those that were there before have not waited for this agent.
    let count = "ringfence_endpoint_programming_duration_seconds_count";
    let sum = "ringfence_endpoint_programming_duration_seconds_sum";
    assert_eq!(value(&agent, count), 0.0);
    let revision = agent.revision();
    agent.edit("c.yaml", &pod_manifest("c", "c", 3, ""));
    agent.wait_beyond(revision);
    eventually("its wait is counted", || {
        (value(&agent, count) == 1.0).then_some(())
    });
    assert!(value(&agent, sum) > 0.0);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn runs_of_programs_are_told_while_the_kernel_keeps_them() {
    let lab = Lab::up(&small("stats", &["a", "b"], &[80, 81])).unwrap();
    let manifests = world(&["a", "b"]) + &lets_in("b", "a", 80);
    let agent = Agent::start_with_capabilities(&lab, &manifests, &[], &PRIVILEGES);
    let runs = "ringfence_bpf_program_runs_total{program=\"to_pod\"}";
    let time = "ringfence_bpf_program_run_time_seconds_total{program=\"to_pod\"}";
    // As the sysctl does, for as long as this descriptor is open.
    let kept = aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("a kernel from 5.8");
    assert!(reaches(&lab, &pod("a"), 2, 80));
    let (before, took) = (value(&agent, runs), value(&agent, time));
    assert!(before > 0.0 && took > 0.0);
    assert!(reaches(&lab, &pod("a"), 2, 80));
    let (after, longer) = (value(&agent, runs), value(&agent, time));
    assert!(after >= before + 8.0 && longer > took, "{before} {after}");
    // The whole is some microseconds for each run, not seconds.
    assert!(longer < after * 0.01, "{longer} s for {after} runs");
    drop(kept);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn attempts_to_reach_the_metadata_service_are_counted_by_verdict() {
    let mut spec: LabSpec = small("asked", &["a", "b"], &[80]);
    let service = "169.254.169.254".parse().expect("an address");
    spec.outside.push(OutsideHost {
        name: "metadata".to_owned(),
        addresses: vec![service],
        serves: vec![OutsidePort {
            protocol: Transport::Tcp,
            port: 80,
        }],
        only_answers: true,
    });
    let lab = Lab::up(&spec).unwrap();
    let manifests = "apiVersion: v1\nkind: Namespace\nmetadata: { name: t }\n".to_owned()
        + &pod_manifest("a", "a", 1, ", metadata.ringfence.dev/access: imds")
        + &pod_manifest("b", "b", 2, "");
    let agent = Agent::start_with_capabilities(&lab, &manifests, &[], &PRIVILEGES);
    let requests = |verdict: &str| {
        let series =
            format!("ringfence_metadata_requests_total{{hook=\"socket\",verdict=\"{verdict}\"}}");
        found(&agent, &series).unwrap_or(0.0)
    };
    assert_eq!((requests("denied"), requests("allowed")), (0.0, 0.0));
    let ask = |who: &str| {
        lab.probe(&pod(who), service, 80, Transport::Tcp, PATIENT)
            .expect("the lab obeys")
            .is_answered()
    };
    assert!(ask("a") && ask("a") && !ask("b"));
    assert_eq!((requests("denied"), requests("allowed")), (1.0, 2.0));
    // Other addresses are no attempts.
    assert!(attempt(&lab, &pod("b"), addresses(1)[0], 80, Transport::Tcp).is_answered());
    assert_eq!((requests("denied"), requests("allowed")), (1.0, 2.0));
    drop(agent);
    lab.down().unwrap();
}
