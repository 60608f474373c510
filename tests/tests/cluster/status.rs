//! What objects say of themselves on a real API server: whether they are accepted, and in whose kernel they are.

use std::path::Path;

use ringfence_tests::{
    agent::{Agent, get},
    apiserver::{ApiServer, available},
    chart::own_rules,
    lab::patiently,
    node::{NAMESPACE, Node},
};
use serde_json::{Value, json};

use super::{cluster, kinds};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases/ringfence-status";

/// Two nodes with an agent each, which have reported.
fn two(api: &ApiServer, kubeconfig: &Path) -> ([Node; 2], [Agent; 2]) {
    kinds::define(api);
    let nodes = [(1, "a"), (2, "b")].map(|(number, pod)| {
        let node = Node::up(api, number, &[pod], &[80]);
        node.run(api, pod, &json!({ "app": pod }));
        node
    });
    let agents = nodes.each_ref().map(|node| started(node, kubeconfig));
    for node in &nodes {
        reported(api, &node.name);
    }
    (nodes, agents)
}

fn started(node: &Node, kubeconfig: &Path) -> Agent {
    let mut agent = node.agent(kubeconfig, &["--kube-event-interval", "3"]);
    agent.spawn();
    agent.wait_until_ready();
    agent
}

/// A node's report.
fn reported(api: &ApiServer, node: &str) -> Value {
    let path = kinds::list("NodeZoneState") + "/" + node;
    patiently("the node reports", || {
        let state = api.request("GET", &path, "", None).ok()?;
        state["status"]["renewTime"].is_string().then_some(state)
    })
}

fn apply(api: &ApiServer, kind: &str, name: &str, spec: &Value) -> Value {
    api.apply(&json!({
        "apiVersion": "ringfence.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec,
    }))
}

fn status(api: &ApiServer, kind: &str, name: &str) -> Value {
    let path = format!("{}/{name}", kinds::list(kind));
    let object = api.request("GET", &path, "", None).expect("it is there");
    object["status"].clone()
}

fn condition(status: &Value, condition: &str) -> Value {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut named = conditions.filter(|it| it["type"] == condition);
    let found = named.next().cloned().unwrap_or_default();
    assert!(named.next().is_none(), "{status}");
    found
}

/// Waits until a condition is so about this generation, for this reason; the status then.
fn says(
    api: &ApiServer,
    (kind, name): (&str, &str),
    generation: u64,
    (wanted, status_is, reason): (&str, &str, &str),
) -> Value {
    let mut last = Value::Null;
    let what = format!("{kind}/{name}: {wanted} is {status_is} ({reason})");
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        patiently(&what, || {
            last = status(api, kind, name);
            let found = condition(&last, wanted);
            let right = found["status"] == status_is
                && found["reason"] == reason
                && found["observedGeneration"] == generation;
            right.then(|| last.clone())
        })
    }));
    found.unwrap_or_else(|_| panic!("{what}: {last}"))
}

/// From a zone to another, at a port.
fn rule(from: &str, to: &str, port: u16) -> Value {
    json!({ "rules": [{
        "name": "r", "action": "Allow",
        "from": [{ "zoneNames": [from] }], "to": [{ "zoneNames": [to] }],
        "ports": [{ "protocol": "TCP", "port": port }],
    }] })
}

/// Pods with this label.
fn zone(app: &str) -> Value {
    json!({
        "members": [{ "workloads": { "namespaceSelector": {}, "podSelector": { "matchLabels": { "app": app } } } }],
        "ingress": "Isolated",
    })
}

fn metric(agent: &Agent, start: &str) -> Option<u64> {
    let text = get(&agent.run_dir(), "/metrics")?;
    let line = text.lines().find(|line| line.starts_with(start))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn programmed_means_in_the_kernel_of_every_node() {
    if !available("cluster::programmed_means_in_the_kernel_of_every_node") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let (nodes, mut agents) = two(&api, &kubeconfig);
    let state = reported(&api, "node2");
    let node = api.request("GET", "/api/v1/nodes/node2", "", None);
    let owner = &state["metadata"]["ownerReferences"][0];
    assert_eq!(owner["kind"], "Node");
    assert_eq!(owner["uid"], node.expect("it is there")["metadata"]["uid"]);

    for (name, app) in [("one", "a"), ("two", "b")] {
        apply(&api, "SecurityZone", name, &zone(app));
    }
    let everywhere = ("Programmed", "True", "Programmed");
    for name in ["one", "two"] {
        let said = says(&api, ("SecurityZone", name), 1, everywhere);
        assert_eq!(said["desiredNodeCount"], 2, "{said}");
        says(&api, ("SecurityZone", name), 1, ("Ready", "True", "Ready"));
    }

    // One node's agent is away: what is new is not in its kernel.
    assert!(agents[1].stop());
    apply(&api, "ZonePolicy", "p", &rule("one", "two", 80));
    let p = ("ZonePolicy", "p");
    let said = says(&api, p, 1, ("Programmed", "False", "NodesPending"));
    let message = condition(&said, "Programmed")["message"].clone();
    assert_eq!(message, "1/2, waiting: node2");
    says(&api, p, 1, ("Ready", "False", "NodesPending"));
    says(&api, p, 1, ("Enforcing", "False", "NotProgrammed"));
    agents[1].spawn();
    let said = says(&api, p, 1, everywhere);
    assert_eq!(
        (
            &said["nodes"],
            &said["realizedNodeCount"],
            &said["ruleCount"]
        ),
        (&json!("2/2"), &json!(2), &json!(1)),
        "{said}"
    );
    says(&api, p, 1, ("Enforcing", "True", "Enforced"));
    // What it says is so.
    nodes[0].meet(&nodes[1]);
    let b = nodes[1].addresses("b");
    patiently("the rule is in force", || {
        (nodes[0].answered("a", b, 80) == 2).then_some(())
    });

    // An edit that changes no table is another generation all the same.
    let since = condition(&said, "Accepted")["lastTransitionTime"].clone();
    api.merge(
        &(kinds::list("ZonePolicy") + "/p"),
        &json!({ "spec": { "description": "words" } }),
    );
    let said = says(&api, p, 2, everywhere);
    assert_eq!(said["observedGeneration"], 2);
    assert_eq!(condition(&said, "Accepted")["lastTransitionTime"], since);

    // A name that is nobody's, until it is somebody's.
    apply(&api, "ZonePolicy", "q", &rule("nobody", "two", 80));
    let q = ("ZonePolicy", "q");
    says(&api, q, 1, ("ResolvedRefs", "False", "ZoneNotFound"));
    says(&api, q, 1, ("Ready", "False", "ZoneNotFound"));
    says(&api, q, 1, everywhere);
    apply(&api, "SecurityZone", "nobody", &zone("c"));
    says(&api, q, 1, ("Ready", "True", "Ready"));
    says(
        &api,
        ("SecurityZone", "nobody"),
        1,
        ("Populated", "False", "NoMembers"),
    );

    // What `kubectl get` shows of it.
    let rows = api.table(&kinds::list("ZonePolicy"));
    let shown = |row: usize, names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| rows[row][*name].clone()).collect()
    };
    let columns = ["Name", "Mode", "Rules", "Nodes", "Ready"];
    assert_eq!(
        shown(0, &columns),
        [
            json!("p"),
            json!("Enforce"),
            json!(1),
            json!("2/2"),
            json!("True")
        ]
    );
    let zones = api.table(&kinds::list("SecurityZone"));
    let one = zones
        .iter()
        .find(|row| row["Name"] == "one")
        .expect("it is there");
    for (column, cell) in [
        ("Ingress", json!("Isolated")),
        ("Egress", json!("Open")),
        ("Mode", json!("Enforce")),
        ("Pods", json!(1)),
        ("Nodes", json!(0)),
        ("CIDRs", json!(0)),
        ("Ready", json!("True")),
    ] {
        assert_eq!(one[column], cell, "{column}: {one:?}");
    }
    // A report that somebody deletes is there again when it is renewed, whole.
    api.delete(&(kinds::list("NodeZoneState") + "/node1"));
    reported(&api, "node1");

    let states = api.table(&kinds::list("NodeZoneState"));
    assert_eq!(states.len(), 2);
    assert_eq!(states[0]["Objects"], 5, "{states:?}");
}

#[test]
fn what_cannot_be_used_says_so_and_what_stays_in_force() {
    if !available("cluster::what_cannot_be_used_says_so_and_what_stays_in_force") {
        return;
    }
    let (api, kubeconfig) = cluster();
    let (_nodes, _agents) = two(&api, &kubeconfig);
    let firewall = ("MetadataFirewall", "default");
    apply(&api, firewall.0, firewall.1, &json!({}));
    says(&api, firewall, 1, ("Ready", "True", "Ready"));
    // The definition allows it, and this agent does not do it yet.
    apply(
        &api,
        firewall.0,
        firewall.1,
        &json!({ "enforcement": "Audit" }),
    );
    let said = says(&api, firewall, 2, ("Accepted", "False", "NotSupported"));
    let message = condition(&said, "Accepted")["message"].to_string();
    assert!(message.contains("spec.enforcement"), "{message}");
    let said = says(&api, firewall, 2, ("Programmed", "False", "NotAccepted"));
    let message = condition(&said, "Programmed")["message"].to_string();
    assert!(message.contains("generation 1"), "{message}");
    says(&api, firewall, 2, ("Ready", "False", "NotSupported"));
    patiently("an Event says so too", || {
        let path = "/apis/events.k8s.io/v1/namespaces/default/events";
        let list = api.request("GET", path, "", None).expect("a list");
        let mut events = list["items"].as_array()?.iter();
        let about = |event: &&Value| {
            event["regarding"]["kind"] == "MetadataFirewall" && event["reason"] == "NotInForce"
        };
        let note = events.find(about)?["note"].to_string();
        note.contains("spec.enforcement").then_some(())
    });
    apply(
        &api,
        firewall.0,
        firewall.1,
        &json!({ "hostNetworkPods": "Allow" }),
    );
    says(&api, firewall, 3, ("Ready", "True", "Ready"));

    // A grant names an endpoint that there is not, until there is.
    let grant = ("MetadataAccess", "named");
    apply(
        &api,
        grant.0,
        grant.1,
        &json!({ "subjects": [{ "namespaceSelector": {} }], "endpointNames": ["imds", "router"] }),
    );
    let said = says(
        &api,
        grant,
        1,
        ("ResolvedRefs", "False", "EndpointNotFound"),
    );
    let message = condition(&said, "ResolvedRefs")["message"].to_string();
    assert!(message.contains("endpoint router:"), "{message}");
    says(&api, grant, 1, ("Programmed", "True", "Programmed"));
    let router = json!({ "name": "router", "addresses": ["10.99.0.1"], "ports": [80] });
    apply(
        &api,
        firewall.0,
        firewall.1,
        &json!({ "endpoints": [router] }),
    );
    says(&api, grant, 1, ("ResolvedRefs", "True", "ResolvedRefs"));
    says(&api, grant, 1, ("Ready", "True", "Ready"));

    // What another policy denies whole opens nothing, until that one goes.
    let rule = |name: &str, action: &str| {
        let any = json!([{ "entity": "Any" }]);
        json!({ "rules": [{
            "name": name, "action": action, "from": any, "to": any, "ports": [{ "protocol": "TCP", "port": 22 }],
        }] })
    };
    apply(&api, "ZonePolicy", "opens", &rule("ssh", "Allow"));
    says(
        &api,
        ("ZonePolicy", "opens"),
        1,
        ("Effective", "True", "NotContradicted"),
    );
    apply(&api, "ZonePolicy", "closes", &rule("no-ssh", "Deny"));
    let said = says(
        &api,
        ("ZonePolicy", "opens"),
        1,
        ("Effective", "False", "Contradicted"),
    );
    let message = condition(&said, "Effective")["message"].to_string();
    assert!(
        message.contains("ZonePolicy/closes rule no-ssh"),
        "{message}"
    );
    let path = kinds::list("ZonePolicy") + "/closes";
    api.request("DELETE", &path, "", None).expect("it is there");
    says(
        &api,
        ("ZonePolicy", "opens"),
        1,
        ("Effective", "True", "NotContradicted"),
    );

    // Kinds of others have conditions too, and keep what others say.
    let path = kinds::list("ClusterNetworkPolicy") + "/c";
    let mut policy = json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy", "metadata": { "name": "c" },
        "spec": { "tier": "Admin", "priority": 1, "subject": { "namespaces": {} } },
    });
    api.apply(&policy);
    let theirs = json!({
        "type": "Theirs", "status": "True", "reason": "Theirs", "message": "", "lastTransitionTime": "2020-01-01T00:00:00Z",
    });
    policy["status"] = json!({ "conditions": [theirs] });
    let applied = api.request(
        "PATCH",
        &format!("{path}/status?fieldManager=others"),
        "application/apply-patch+yaml",
        Some(&policy),
    );
    applied.expect("conditions are merged by type");
    let policy = ("ClusterNetworkPolicy", "c");
    let said = says(&api, policy, 1, ("Programmed", "True", "Programmed"));
    assert_eq!(condition(&said, "Theirs")["reason"], "Theirs", "{said}");

    // Tenants, grants, and zones that share somebody.
    apply(
        &api,
        "TenantIsolation",
        "t",
        &json!({ "namespaceLabelKey": "ringfence.dev/tenant" }),
    );
    says(
        &api,
        ("TenantIsolation", "t"),
        1,
        ("Ready", "True", "Ready"),
    );
    let grant = json!({
        "subjects": [{ "namespaceSelector": {} }], "expirationTime": "2020-01-01T00:00:00Z",
    });
    apply(&api, "MetadataAccess", "g", &grant);
    says(
        &api,
        ("MetadataAccess", "g"),
        1,
        ("Expired", "True", "Expired"),
    );
    says(&api, ("MetadataAccess", "g"), 1, ("Ready", "True", "Ready"));
    let all = json!({
        "members": [{ "workloads": { "namespaceSelector": {} } }, { "nodes": {} }],
        "ingress": "Isolated", "enforcement": "Audit",
    });
    apply(&api, "SecurityZone", "all", &all);
    apply(&api, "SecurityZone", "some", &zone("a"));
    let said = says(
        &api,
        ("SecurityZone", "all"),
        1,
        ("Overlapping", "True", "SharedMembers"),
    );
    let message = condition(&said, "Overlapping")["message"].to_string();
    assert!(
        message.contains(&format!("pod {NAMESPACE}/a (also in some)")),
        "{message}"
    );
    assert_eq!(
        (&said["podCount"], &said["nodeCount"]),
        (&json!(2), &json!(2)),
        "{said}"
    );
    says(
        &api,
        ("SecurityZone", "all"),
        1,
        ("Enforcing", "False", "AuditMode"),
    );
    apply(&api, "SecurityZone", "all", &{
        let mut all = all;
        all["enforcement"] = json!("Enforce");
        all
    });
    says(
        &api,
        ("SecurityZone", "all"),
        2,
        ("Enforcing", "False", "HostEnforcementOff"),
    );
}

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
