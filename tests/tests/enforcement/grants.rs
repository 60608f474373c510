//! `MetadataFirewall` and `MetadataAccess`: endpoints come and go while traffic flows, grants name some of them, and end.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use ringfence_agent::{
    lab::{
        Lab, names,
        wire::{Stream, Transport},
    },
    observe::flow::timestamp,
};
use ringfence_tests::{
    agent::Agent,
    lab::{binary, eventually},
};

use super::{attempt, flows_on, metadata::lab, patient_attempt, pod, stands_still, world};

const IMDS: &str = "169.254.169.254";
/// The host outside that every lab has: no cloud's.
const ROUTER: &str = "203.0.113.9";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn firewall(spec: &str) -> String {
    format!(
        "---\napiVersion: ringfence.dev/v1alpha1\nkind: MetadataFirewall\nmetadata: {{ name: default }}\nspec: {{ {spec} }}\n"
    )
}

const WITH_ROUTER: &str =
    "endpoints: [ { name: router, addresses: [ 203.0.113.9, \"2001:db8:9::9\" ], ports: [ 80 ] } ]";

/// A grant to pods with the label app: `to`.
fn grant(to: &str, more: &str) -> String {
    format!(
        "---\napiVersion: ringfence.dev/v1alpha1\nkind: MetadataAccess\nmetadata: {{ name: {to} }}\nspec:\n  podAnnotation: Ignored\n  \
         subjects: [ {{ namespaceSelector: {{}}, podSelector: {{ matchLabels: {{ app: {to} }} }} }} ]\n{more}"
    )
}

fn gets(lab: &Lab, who: &str, to: &str) -> bool {
    patient_attempt(lab, &pod(who), address(to), 80, Transport::Tcp).is_answered()
}

fn is_refused(lab: &Lab, who: &str, to: &str) -> bool {
    !attempt(lab, &pod(who), address(to), 80, Transport::Tcp).is_answered()
}

#[test]
fn an_endpoint_is_added_and_taken_away_while_traffic_flows_and_grants_open_what_they_name() {
    let lab = lab("router");
    let pods = world(&["a", "b"]);
    let agent = Agent::start(&lab, &pods, &[]);
    let b = pod("b");
    assert!(gets(&lab, "a", ROUTER) && gets(&lab, "b", ROUTER));
    let question = Stream {
        id: "s".to_owned(),
        protocol: Transport::Tcp,
        from: None,
        to: address(ROUTER),
        port: 80,
        interval_ms: 5,
    };
    lab.stream(&b, question).unwrap();
    flows_on(&lab, "s", &b, 10);

    let named = grant("a", "  endpointNames: [ router, no-such ]\n");
    agent.edit(
        "manifests.yaml",
        &(pods.clone() + &firewall(WITH_ROUTER) + &named),
    );
    stands_still(&lab, "s", &b);
    assert!(is_refused(&lab, "b", ROUTER) && gets(&lab, "a", ROUTER));
    assert!(
        is_refused(&lab, "a", IMDS),
        "what it does not name stays closed"
    );
    // Another port of the same address is nobody's business: nothing listens there, and that is said.
    let other = attempt(&lab, &b, address(ROUTER), 81, Transport::Tcp);
    assert!(
        !matches!(other, ringfence_agent::lab::Outcome::Denied),
        "{other:?}"
    );
    let said = agent.json(&["metadata", "who-can", ROUTER]);
    assert_eq!(said["endpoint"], "router");
    assert_eq!(said["pods"][0]["pod"], "t/a", "{said}");
    assert_eq!(said["pods"][0]["by"], "MetadataAccess/a");
    assert_eq!(said["pods"].as_array().unwrap().len(), 1);

    // The grant moves on to the other endpoint.
    let named = grant("a", "  endpointNames: [ imds ]\n");
    agent.edit(
        "manifests.yaml",
        &(pods.clone() + &firewall(WITH_ROUTER) + &named),
    );
    eventually("the other one is open", || {
        gets(&lab, "a", IMDS).then_some(())
    });
    assert!(is_refused(&lab, "a", ROUTER));

    agent.edit("manifests.yaml", &pods);
    eventually("what is no endpoint any more is open", || {
        (gets(&lab, "b", ROUTER) && gets(&lab, "a", ROUTER)).then_some(())
    });
    assert!(is_refused(&lab, "a", IMDS));
    flows_on(&lab, "s", &b, 10);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn what_a_firewall_adds_is_denied_while_no_agent_runs_and_when_one_starts_again() {
    let lab = lab("kept");
    let pods = world(&["a", "b"]) + &firewall(WITH_ROUTER);
    let mut agent = Agent::start(&lab, &pods, &[]);
    assert!(is_refused(&lab, "b", ROUTER));
    agent.kill();
    assert!(is_refused(&lab, "b", ROUTER) && is_refused(&lab, "b", IMDS));
    drop(agent);
    let agent = Agent::start(&lab, &pods, &[]);
    assert!(is_refused(&lab, "b", ROUTER) && is_refused(&lab, "b", IMDS));
    let report = agent.json(&["metadata", "report"]);
    let pods = report["pods"].as_array().unwrap();
    let b = pods.iter().find(|pod| pod["pod"] == "t/b").unwrap();
    let denied = b["denied"].as_array().unwrap();
    let names: Vec<&str> = denied
        .iter()
        .filter_map(|it| it["endpoint"].as_str())
        .collect();
    assert!(
        names.contains(&"router") && names.contains(&"imds"),
        "{report}"
    );
    drop(agent);
    lab.down().unwrap();
}

/// A process with the node's network in a cgroup below the pods' root.
fn on_the_node(lab: &Lab, cgroup: &Path) -> String {
    let output = Command::new(binary())
        .args(["lab", "enter", "--cgroup"])
        .arg(cgroup)
        .args(["--", "ip", "netns", "exec", &names::node_netns(lab.name())])
        .args(["timeout", "5", "bash", "-c"])
        .arg(format!("exec 3<>/dev/tcp/{IMDS}/80 && echo reached"))
        .output()
        .expect("the binary is there");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A pod with the node's network, and its cgroup.
fn host_pod(lab: &Lab) -> (String, PathBuf) {
    let cgroup = names::pods_cgroup(lab.name())
        .expect("the lab has one")
        .join("host-pod");
    fs::create_dir(&cgroup).expect("it is new");
    let text = "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: h\n  namespace: t\n  labels: { app: h }\n  annotations: { \
                ringfence.dev/cgroup: host-pod }\nspec: { nodeName: w1, hostNetwork: true, containers: [] }\nstatus: { phase: \
                Running, podIPs: [ { ip: 10.0.9.1 } ] }\n";
    (text.to_owned(), cgroup)
}

#[test]
fn pods_of_the_nodes_network_have_what_grants_say_until_these_end() {
    let lab = lab("host");
    let (host, cgroup) = host_pod(&lab);
    let pods = world(&["a", "b"]) + &host;
    let agent = Agent::start(&lab, &pods, &[]);
    let refused = || on_the_node(&lab, &cgroup).contains("Operation not permitted");
    let reached = || on_the_node(&lab, &cgroup).contains("reached");
    assert!(refused());

    agent.edit(
        "manifests.yaml",
        &(pods.clone() + &firewall("hostNetworkPods: Allow")),
    );
    eventually("all of them are granted", || reached().then_some(()));
    assert!(is_refused(&lab, "a", IMDS), "and only they");
    let by = || agent.json(&["metadata", "who-can", "imds"])["pods"][0]["by"].clone();
    assert_eq!(by(), "hostNetworkPods");
    let except =
        "hostNetworkExceptions: [ { name: odd, podSelector: { matchLabels: { app: h } } } ]";
    let allow_but = format!("hostNetworkPods: Allow, {except}");
    agent.edit("manifests.yaml", &(pods.clone() + &firewall(&allow_but)));
    eventually("all but this one are", || refused().then_some(()));
    agent.edit("manifests.yaml", &(pods.clone() + &firewall(except)));
    eventually("none but this one is", || reached().then_some(()));
    assert!(
        is_refused(&lab, "a", IMDS),
        "and only pods of the node's network"
    );
    assert_eq!(by(), "hostNetworkExceptions/odd");
    agent.edit("manifests.yaml", &pods);
    eventually("none of them is", || refused().then_some(()));

    let ends = SystemTime::now() + Duration::from_secs(20);
    let named = grant("h", &format!("  expirationTime: \"{}\"\n", timestamp(ends)));
    agent.edit("manifests.yaml", &(pods.clone() + &named));
    eventually("this one is granted by name", || reached().then_some(()));
    let said = agent.json(&["metadata", "who-can", "imds"]);
    assert_eq!(said["pods"][0]["pod"], "t/h", "{said}");
    assert_eq!(said["pods"][0]["hostNetwork"], true);
    eventually("the grant ends by itself", || refused().then_some(()));
    drop(agent);
    fs::remove_dir(&cgroup).unwrap();
    lab.down().unwrap();
}

#[test]
fn the_agents_own_pod_needs_no_grant_and_is_told_of() {
    let lab = lab("itself");
    let (host, cgroup) = host_pod(&lab);
    let pods = world(&["a", "b"]) + &host;
    let access = |agent: &Agent| {
        let status = agent.json(&["status"]);
        status["agentAccess"].as_str().expect("a text").to_owned()
    };
    let agent = Agent::start(&lab, &pods, &["--pod", "t/h"]);
    assert!(on_the_node(&lab, &cgroup).contains("reached"));
    assert!(is_refused(&lab, "a", IMDS), "and nobody else");
    let said = agent.json(&["metadata", "who-can", "ecs-task"]);
    let expect = serde_json::json!([
        { "pod": "t/h", "hostNetwork": true, "reaches": "ecs-task", "by": "agent" }
    ]);
    assert_eq!(said["pods"], expect);
    let told = access(&agent);
    assert!(
        told.starts_with("reaches metadata as pod t/h, by its cgroup "),
        "{told}"
    );
    drop(agent);
    // The same pod is anybody's to an agent that runs in none; that agent is outside of all of them.
    let agent = Agent::start(&lab, &pods, &[]);
    assert!(on_the_node(&lab, &cgroup).contains("Operation not permitted"));
    let told = access(&agent);
    assert!(
        told.starts_with("reaches metadata: it runs in no pod's cgroup"),
        "{told}"
    );
    drop(agent);
    fs::remove_dir(&cgroup).unwrap();
    lab.down().unwrap();
}
