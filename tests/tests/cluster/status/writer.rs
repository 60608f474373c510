//! Who writes: one agent for all, another one when that is gone, none without the right.

use ringfence_tests::{apiserver::available, chart::own_rules, lab::patiently, node::Node};
use serde_json::{Value, json};

use super::{
    super::{cluster, kinds},
    apply, condition, metric, reported, rule, says, started, status, two, zone,
};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases/ringfence-status";

#[test]
fn when_the_agent_that_writes_is_killed_another_one_does() {
    if !available("cluster::when_the_agent_that_writes_is_killed_another_one_does") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let (nodes, mut agents) = two(&api, &kubeconfig);
    let holder = || {
        let lease = api.request("GET", LEASE, "", None).ok()?;
        let holder = lease["spec"]["holderIdentity"].as_str()?.to_owned();
        nodes.iter().position(|node| node.name == holder)
    };
    apply(&api, "SecurityZone", "z", &zone("a"));
    says(&api, ("SecurityZone", "z"), 1, ("Ready", "True", "Ready"));
    let first = patiently("somebody writes", holder);
    let other = 1 - first;
    let leads = "ringfence_status_leader";
    assert_eq!(metric(&agents[first], leads), Some(1));
    assert_eq!(metric(&agents[other], leads), Some(0));
    // What is settled is not written again.
    let writes = "ringfence_status_writes_total{result=\"written\"}";
    assert_eq!(metric(&agents[other], writes), None);

    agents[first].kill();
    let second = patiently("another one writes", || holder().filter(|&it| it != first));
    assert_eq!(second, other);
    apply(&api, "ZonePolicy", "p", &rule("z", "z", 80));
    let said = says(
        &api,
        ("ZonePolicy", "p"),
        1,
        ("Programmed", "False", "NodesPending"),
    );
    let message = condition(&said, "Programmed")["message"].clone();
    let waiting = format!("1/2, waiting: {}", nodes[first].name);
    assert_eq!(message, waiting.as_str());
    agents[first].spawn();
    says(&api, ("ZonePolicy", "p"), 1, ("Ready", "True", "Ready"));
}

#[test]
fn without_the_right_to_write_status_one_line_says_so_and_policies_are_in_force() {
    if !available(
        "cluster::without_the_right_to_write_status_one_line_says_so_and_policies_are_in_force",
    ) {
        return;
    }
    let (api, kubeconfig) = cluster();
    kinds::define(&api);
    let mut rules = ringfence_tests::chart::rules();
    let mine = rules.as_array_mut().expect("a list");
    mine.retain(|rule| {
        let resources = rule["resources"].to_string();
        !resources.contains("/status")
    });
    api.allow("ringfence", &rules);
    let node = Node::up(&api, 1, &["a", "b"], &[80]);
    for pod in ["a", "b"] {
        node.run(&api, pod, &json!({ "app": pod }));
    }
    let agent = started(&node, &kubeconfig);
    apply(&api, "SecurityZone", "z", &zone("b"));
    patiently("the zone is in force", || {
        (node.answered("a", node.addresses("b"), 80) == 0).then_some(())
    });
    let failed = "ringfence_node_reports_total{result=\"failed\"}";
    patiently("it is tried again", || {
        metric(&agent, failed).filter(|&count| count >= 2)
    });
    let said = agent.said();
    assert_eq!(said.matches("is not reported").count(), 1, "{said}");
    assert!(said.contains("nodezonestates/status"), "{said}");
    assert_eq!(status(&api, "SecurityZone", "z"), Value::Null);

    // With the right to report, and none to the Lease.
    api.allow("ringfence", &ringfence_tests::chart::rules());
    api.allow_in("default", "ringfence", &json!([]));
    reported(&api, "node1");
    patiently("it is said", || {
        let said = agent.said();
        said.contains("leases").then_some(())
    });
    api.allow_in("default", "ringfence", &own_rules());
    says(&api, ("SecurityZone", "z"), 1, ("Ready", "True", "Ready"));
}
