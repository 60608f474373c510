//! What cannot be used, or does nothing: each with its condition, until it is mended.

use ringfence_tests::{apiserver::available, lab::patiently, node::NAMESPACE};
use serde_json::{Value, json};

use super::{
    super::{cluster, kinds},
    apply, condition, says, two, zone,
};

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
    // The definition allows it for every kind, and this one cannot be switched off.
    apply(
        &api,
        firewall.0,
        firewall.1,
        &json!({ "enforcement": "Disabled" }),
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
    says(&api, firewall, 3, ("Enforcing", "True", "Enforced"));
    apply(
        &api,
        firewall.0,
        firewall.1,
        &json!({ "enforcement": "Audit" }),
    );
    says(&api, firewall, 4, ("Accepted", "True", "Accepted"));
    says(&api, firewall, 4, ("Programmed", "True", "Programmed"));
    says(&api, firewall, 4, ("Enforcing", "False", "AuditMode"));
    says(&api, firewall, 4, ("Ready", "True", "Ready"));

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
