//! The metadata firewall in Audit, with real sockets: who has no grant gets through and is told of, once; then the grants are written, and
//! it denies again.

use std::{fs, path::PathBuf, process::Command};

use ringfence_agent::lab::{Lab, names, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{binary, eventually},
};
use serde_json::Value;

use super::{
    attempt, flows_on,
    metadata::{endpoints, lab, may_ask, shell_in, stream, visitors, world},
    pod, report as stream_report, stands_still,
};

const AUDIT: &str = "---\napiVersion: ringfence.dev/v1alpha1\nkind: MetadataFirewall\nmetadata: { name: default }\nspec: { enforcement: Audit }\n";

/// Puts these manifests into force.
fn switch(agent: &Agent, manifests: &str) {
    let before = agent.revision();
    agent.edit("manifests.yaml", manifests);
    agent.wait_beyond(before);
    let audited = manifests.contains(AUDIT);
    assert_eq!(agent.json(&["status"])["metadataAudited"], audited);
}

/// What the report has of a pod that reached an endpoint.
fn reached(agent: &Agent, pod: &str) -> Option<Value> {
    let report = agent.json(&["metadata", "report"]);
    let pods = report["pods"].as_array()?.clone();
    let found = pods.into_iter().find(|it| it["pod"] == pod)?;
    found["reached"].as_array().is_some().then_some(found)
}

/// Waits until so many flows of this pod were told of, each by one hook: a SYN that is sent again on a slow machine is one more.
fn await_told(agent: &Agent, pod: &str, times: u64) {
    let told = || reached(agent, pod)?["reached"][0]["times"].as_u64();
    let found = eventually("flows are told of", || told().filter(|it| *it >= times));
    assert!(found < 2 * times, "{pod}: each once, not {found} times");
}

#[test]
fn an_audit_lets_pods_through_and_tells_and_its_end_takes_that_back() {
    let lab = lab("audit");
    let pods = world(false);
    let mut agent = Agent::start(&lab, &pods, &[]);
    assert!(!may_ask(&lab, "a"));
    assert_eq!(visitors(&lab), 0);
    switch(&agent, &(pods.clone() + AUDIT));
    assert!(may_ask(&lab, "a"));
    let visits = visitors(&lab);
    assert!(visits >= 2, "the service has seen both families");
    await_told(&agent, "t/a", 2);
    assert!(may_ask(&lab, "a"));
    await_told(&agent, "t/a", 4);
    assert!(visitors(&lab) > visits);
    assert_eq!(reached(&agent, "t/b"), None, "it has not tried");
    let found = reached(&agent, "t/a").expect("it was just there");
    assert_eq!(found["reached"][0]["endpoint"], "imds");
    assert_eq!(found["serviceAccount"], "default");
    assert_eq!(found["grants"].as_array().map(Vec::len), Some(0));
    // As zones' audit is seen.
    let said = agent.ringfence(&["observe", "--verdict", "would-deny", "-o", "json"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let flows: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).expect("a flow in each line"))
        .collect();
    assert!((4..8).contains(&flows.len()), "{said}");
    for flow in flows {
        assert_eq!(
            (&flow["hook"], &flow["reason"]),
            (&"from_pod".into(), &"metadata".into())
        );
        assert_eq!(flow["metadata"]["endpoint"], "imds");
        assert_eq!(flow["endpoint"], "t/a");
    }

    // What is in force stays so without an agent, and with the next one.
    stream(&lab, &pod("a"), 10);
    agent.kill();
    assert!(may_ask(&lab, "b"));
    agent.spawn();
    agent.wait_until_ready();
    flows_on(&lab, "s", &pod("a"), 10);
    assert!(may_ask(&lab, "b"));
    switch(&agent, &pods);
    stands_still(&lab, "s", &pod("a"));
    let visits = visitors(&lab);
    assert!(!may_ask(&lab, "a") && !may_ask(&lab, "b"));
    assert_eq!(visitors(&lab), visits, "the server saw nobody");
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_policy_denies_in_an_audit_what_it_says() {
    const ISOLATED: &str = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: no, namespace: t }\nspec: \
                            { podSelector: { matchLabels: { app: b } }, policyTypes: [ Egress ] }\n";
    let lab = lab("auditpolicy");
    let pods = world(false) + AUDIT;
    let agent = Agent::start(&lab, &(pods.clone() + ISOLATED), &[]);
    assert!(may_ask(&lab, "a"));
    let visits = visitors(&lab);
    for to in endpoints() {
        for transport in [Transport::Tcp, Transport::Udp] {
            assert!(!attempt(&lab, &pod("b"), to, 80, transport).is_answered());
        }
    }
    assert_eq!(visitors(&lab), visits, "the server saw nobody");
    assert_eq!(reached(&agent, "t/b"), None, "it has not reached it");
    switch(&agent, &pods);
    assert!(may_ask(&lab, "b"));
    drop(agent);
    lab.down().unwrap();
}

/// A pod with the node's network, and its cgroup.
fn host_pod(lab: &Lab) -> (String, PathBuf) {
    let root = names::pods_cgroup(lab.name()).expect("the lab has one");
    let cgroup = root.join("host-pod");
    fs::create_dir(&cgroup).expect("it is new");
    let text = "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: h\n  namespace: t\n  labels: { app: h }\n  annotations: { \
                ringfence.dev/cgroup: host-pod }\nspec: { nodeName: w1, hostNetwork: true, serviceAccountName: h, containers: [] }\n\
                status: { phase: Running, podIPs: [ { ip: 10.0.9.1 } ] }\n";
    (text.to_owned(), cgroup)
}

#[test]
fn pods_with_the_nodes_network_are_told_of_by_each_layer_alone_and_once_by_all() {
    let lab = lab("audithost");
    let (host, cgroup) = host_pod(&lab);
    let pods = world(false) + &host + AUDIT;
    let node = names::node_netns(lab.name());
    for layers in [
        "sockets",
        "socket-packets",
        "to-host",
        "from-pod,to-host,lo,socket-packets,sockets",
    ] {
        let agent = Agent::start(&lab, &pods, &["--metadata-layers", layers]);
        for to in endpoints().map(|to| to.to_string()) {
            let said = shell_in(&node, &cgroup, &to);
            assert!(said.contains("reached"), "{layers}, {to}: {said}");
        }
        await_told(&agent, "t/h", 2);
        let found = reached(&agent, "t/h").expect("it was just there");
        assert_eq!(
            (&found["hostNetwork"], &found["serviceAccount"]),
            (&true.into(), &"h".into())
        );
        // The node itself is nobody who would be denied.
        let outside = names::host_cgroup(lab.name()).expect("the lab has one");
        let said = shell_in(&node, &outside, &endpoints()[0].to_string());
        assert!(said.contains("reached"), "{layers}: {said}");
        await_told(&agent, "t/h", 2);
        let all = agent.json(&["metadata", "report"]);
        let others = all["pods"].as_array().expect("a list").iter();
        let others = others.filter(|it| it["reached"].is_array()).count();
        assert_eq!(others, 1, "{layers}: {all}");
    }
    fs::remove_dir(&cgroup).unwrap();
    lab.down().unwrap();
}

#[test]
fn the_grants_that_an_audit_prints_keep_open_what_was_used_and_nothing_else() {
    let lab = lab("auditgrants");
    let pods = world(false);
    let agent = Agent::start(&lab, &(pods.clone() + AUDIT), &[]);
    stream(&lab, &pod("a"), 10);
    eventually("it is told of", || reached(&agent, "t/a"));
    let table = agent.ringfence(&["metadata", "report"]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(
        table.contains("is in audit") && table.contains("SERVICE ACCOUNT"),
        "{table}"
    );
    let printed = agent.ringfence(&["metadata", "report", "--from", "audit"]);
    assert!(printed.status.success(), "{printed:?}");
    let grants = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(
        grants.contains("# pod a, service account default: "),
        "{grants}"
    );

    // Both at once: nothing is denied on the way.
    let answered = stream_report(&lab, "s", &pod("a")).answered;
    switch(&agent, &(pods + "---\n" + &grants));
    flows_on(&lab, "s", &pod("a"), 20);
    assert!(stream_report(&lab, "s", &pod("a")).answered > answered);
    assert!(may_ask(&lab, "a"));
    let visits = visitors(&lab);
    assert!(!may_ask(&lab, "b"));
    assert_eq!(visitors(&lab), visits, "the server saw nobody");
    let printed = agent.ringfence(&["metadata", "report", "--from", "audit"]);
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(
        text.contains("# No pod without a grant has reached it."),
        "{text}"
    );
    drop(agent);

    // Manifests do not tell who has reached it.
    let output = Command::new(binary())
        .args(["metadata", "report", "--from", "audit", "-f", "/dev/null"])
        .output()
        .expect("the binary is there");
    assert_eq!(output.status.code(), Some(2));
    lab.down().unwrap();
}
