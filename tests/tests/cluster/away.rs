//! The API server is away, forgets, or refuses.

use std::{fs, process::Output};

use ringfence_agent::watch::Kind;
use ringfence_tests::{
    agent::{Agent, get},
    apiserver::{ApiServer, available},
    chart::rules,
    lab::patiently,
    node::{Node, path},
};
use serde_json::json;

use super::{app, cluster, lets_in, policy};

/// A node with the pods a, b and c, which are in the cluster.
fn node(api: &ApiServer) -> Node {
    let node = Node::up(api, 1, &["a", "b", "c"], &[80, 81]);
    for pod in ["a", "b", "c"] {
        node.run(api, pod, &json!({ "app": pod }));
    }
    node
}

/// Waits until of a and c only these get through to b.
fn allowed(node: &Node, what: &str, who: &[&str]) {
    let b = node.addresses("b");
    patiently(what, || {
        ["a", "c"]
            .iter()
            .all(|pod| node.answered(pod, b, 80) == if who.contains(pod) { 4 } else { 0 })
            .then_some(())
    });
}

fn readiness(agent: &Agent) -> String {
    get(&agent.run_dir(), "/readyz?verbose").expect("it answers")
}

fn started(node: &Node, kubeconfig: &std::path::Path) -> Agent {
    let mut agent = node.agent(kubeconfig, &[]);
    agent.spawn();
    agent.wait_until_ready();
    agent
}

#[test]
fn enforcement_outlives_the_api_server_and_follows_it_when_it_is_back() {
    if !available("cluster::enforcement_outlives_the_api_server_and_follows_it_when_it_is_back") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let node = node(&api);
    let agent = started(&node, &kubeconfig);
    api.apply(&lets_in("b", &app("a")));
    allowed(&node, "the policy is in force", &["a"]);
    let ready = readiness(&agent);
    assert!(
        ready.contains("[+] watch NetworkPolicy: current"),
        "{ready}"
    );

    api.kill();
    patiently("it shows that the API server is away", || {
        let ready = readiness(&agent);
        assert!(ready.starts_with("HTTP/1.0 200"), "{ready}");
        (ready.matches("[!] watch").count() == Kind::ALL.len()).then_some(())
    });
    let status = agent.ringfence(&["status"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.contains("the last state stays in force"), "{status}");
    allowed(&node, "without the API server", &["a"]);

    api.restart();
    api.apply(&lets_in("b", &app("c")));
    allowed(&node, "changes are followed again", &["c"]);
    patiently("it shows that the API server is back", || {
        let current = readiness(&agent).matches("[+] watch").count() == Kind::ALL.len();
        (current && agent.json(&["status"])["diagnostics"] == json!([])).then_some(())
    });
}

#[test]
fn a_deletion_that_was_missed_before_a_compaction_is_found() {
    if !available("cluster::a_deletion_that_was_missed_before_a_compaction_is_found") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let node = node(&api);
    let agent = started(&node, &kubeconfig);
    api.apply(&lets_in("b", &app("a")));
    allowed(&node, "the policy is in force", &["a"]);

    // The server that deletes is none that the agent ever was connected to: not even a late segment tells it.
    api.reach(1, false);
    api.restart();
    api.delete(&policy("b"));
    api.delete(&path("c"));
    // The next one knows nothing of what was before, and neither does etcd.
    api.compact();
    api.restart();
    api.reach(1, true);
    patiently("the deletion of the policy is found", || {
        (node.answered("a", node.addresses("b"), 81) == 4).then_some(())
    });
    patiently("the deletion of the pod is found", || {
        let endpoints = agent.json(&["endpoints"]).to_string();
        (!endpoints.contains("t/c")).then_some(())
    });
    let said = agent.said();
    assert!(
        said.matches("read in full").count() > 5,
        "it was not told 410: {said}"
    );
}

#[test]
fn an_older_backup_is_followed_from_where_it_is() {
    if !available("cluster::an_older_backup_is_followed_from_where_it_is") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let node = node(&api);
    let agent = started(&node, &kubeconfig);
    api.apply(&lets_in("b", &app("a")));
    allowed(&node, "the policy is in force", &["a"]);
    api.back_up();
    api.apply(&lets_in("b", &app("c")));
    allowed(&node, "the change is in force", &["c"]);
    // A watch goes on from the last bookmark or event: this is one, and far ahead of what the backup reaches soon.
    api.grow(2000);
    api.apply(&lets_in("b", &app("nobody")));
    allowed(&node, "the last change is in force", &[]);

    api.restore();
    allowed(&node, "what the backup says", &["a"]);
    api.delete(&policy("b"));
    allowed(&node, "changes are followed again", &["a", "c"]);
    patiently("nothing is wrong any more", || {
        let current = readiness(&agent).matches("[+] watch").count() == Kind::ALL.len();
        (current && agent.json(&["status"])["diagnostics"] == json!([])).then_some(())
    });
}

#[test]
fn what_the_account_may_not_read_is_named_and_read_once_it_may() {
    if !available("cluster::what_the_account_may_not_read_is_named_and_read_once_it_may") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let node = node(&api);
    api.apply(&lets_in("b", &app("a")));
    let all = rules();
    api.allow("ringfence", &json!([all[0]]));
    let mut agent = node.agent(&kubeconfig, &[]);
    agent.spawn();
    let told = patiently("it is said what is refused", || {
        let Output { status, stdout, .. } = agent.ringfence(&["status"]);
        let text = String::from_utf8_lossy(&stdout).into_owned();
        (status.success() && text.contains("refuses")).then_some(text)
    });
    for part in [
        "NOT READY",
        "refuses networkpolicies to this agent",
        "get, list and watch on networkpolicies (apiGroup \"networking.k8s.io\")",
        "User \"system:serviceaccount:kube-system:ringfence\" cannot",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // Nothing is programmed before every kind is known: pods without policies would be open.
    assert_eq!(agent.revision(), 0, "{told}");
    assert!(!agent.said().contains("refuses pods"), "{}", agent.said());

    api.allow("ringfence", &all);
    patiently("it is ready once it may", || {
        readiness(&agent).starts_with("HTTP/1.0 200").then_some(())
    });
    allowed(&node, "the policy is in force", &["a"]);

    // Taken away from a running agent, it takes nothing out of force.
    api.allow("ringfence", &json!([all[0]]));
    api.restart();
    patiently("it is said that it is refused now", || {
        readiness(&agent)
            .contains("[!] watch NetworkPolicy")
            .then_some(())
    });
    allowed(&node, "the last state", &["a"]);
    api.merge(
        &path("c"),
        &json!({ "metadata": { "labels": { "app": "a" } } }),
    );
    allowed(&node, "what may be read is followed", &["a", "c"]);
}

#[test]
fn a_node_that_starts_without_its_api_server_enforces_what_was_last_known() {
    if !available("cluster::a_node_that_starts_without_its_api_server_enforces_what_was_last_known")
    {
        return;
    }
    let (api, kubeconfig) = cluster();
    let node = node(&api);
    let mut agent = started(&node, &kubeconfig);
    api.apply(&lets_in("b", &app("a")));
    allowed(&node, "the policy is in force", &["a"]);
    let file = agent.state_dir().join("state.jsonl");
    patiently("the policy is kept", || {
        let text = fs::read_to_string(&file).ok()?;
        text.contains("\"NetworkPolicy\"").then_some(())
    });
    agent.kill();
    api.kill();

    // Killed, it leaves everything in force; a new one takes it over and knows what it is.
    agent.spawn();
    agent.wait_until_ready();
    allowed(&node, "after a crash", &["a"]);
    let said = String::from_utf8_lossy(&agent.ringfence(&["status"]).stdout).into_owned();
    assert!(said.contains("[!] state from disk, "), "{said}");
    agent.kill();

    // As after a boot, which leaves no pins.
    assert!(agent.detach().status.success());
    allowed(&node, "nothing is enforced", &["a", "c"]);
    agent.spawn();
    agent.wait_until_ready();
    allowed(&node, "after a boot", &["a"]);
    agent.kill();

    // What is damaged is not used, and said to be.
    assert!(agent.detach().status.success());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replacen("\"a\"", "\"c\"", 1)).unwrap();
    agent.spawn();
    patiently("the damage is told", || {
        let said = agent.said();
        (said.contains("the state of before is not used") && said.contains("checksum"))
            .then_some(())
    });
    agent.kill();

    // Meanwhile the policy went: what was last known ends with the API server's own word.
    fs::write(&file, text).unwrap();
    agent.spawn();
    agent.wait_until_ready();
    allowed(&node, "what was last known", &["a"]);
    api.restart();
    api.delete(&policy("b"));
    allowed(&node, "what is known now", &["a", "c"]);
    patiently("nothing is from disk any more", || {
        (!readiness(&agent).contains("from disk")).then_some(())
    });
    patiently("the new state is kept", || {
        let text = fs::read_to_string(&file).ok()?;
        (!text.contains("\"NetworkPolicy\"")).then_some(())
    });
}
