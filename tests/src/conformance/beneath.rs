//! Zones, tenants and their policies that let everything pass: whatever lies beneath them must mean what it always means.

use serde_json::{Value, json};

use super::Case;

/// Loads them above every step of a case.
pub fn beneath_zones(case: &mut Case) {
    for step in &mut case.steps {
        step.world.above = passing();
    }
}

/// Each way of passing once: open, allowed, excepted, shared, in audit, disabled.
fn passing() -> Vec<Value> {
    let object = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "ringfence.dev/v1alpha1", "kind": kind,
            "metadata": { "name": format!("above-{name}") }, "spec": spec,
        })
    };
    let pods = |requirement: Value| json!([{ "workloads": { "namespaceSelector": { "matchExpressions": [requirement] } } }]);
    let named = |operator: &str, values: &[&str]| json!({ "key": "kubernetes.io/metadata.name", "operator": operator, "values": values });
    let everywhere = json!({ "networks": { "cidrs": ["0.0.0.0/0", "::/0"] } });
    let any = json!([{ "entity": "Any" }]);
    let all_pods = || pods(json!({ "key": "kubernetes.io/metadata.name", "operator": "Exists" }));
    let deny = |except: Value| json!([{ "name": "all", "action": "Deny", "from": any, "to": any, "except": except }]);
    let one = [
        "x",
        "default",
        "test",
        "network-policy-conformance-gryffindor",
    ];
    vec![
        // Some pods, isolated, and all others, open: so that there is traffic within and between zones.
        object(
            "SecurityZone",
            "isolated",
            json!({ "members": pods(named("In", &one)), "ingress": "Isolated", "egress": "Isolated", "intraZoneTraffic": "Deny" }),
        ),
        object("SecurityZone", "open", json!({ "members": pods(named("NotIn", &one)) })),
        object("SecurityZone", "everywhere", json!({ "members": [everywhere] })),
        object("SecurityZone", "part", json!({ "members": [{ "networks": { "cidrs": ["10.0.0.0/9", "fd00::/9"] } }] })),
        object(
            "SecurityZone",
            "audited",
            json!({ "members": all_pods(), "ingress": "Isolated", "egress": "Isolated", "enforcement": "Audit" }),
        ),
        object(
            "ZonePolicy",
            "allowed",
            json!({ "rules": [
                { "name": "all", "action": "Allow", "from": any, "to": any },
                { "name": "named", "action": "Allow", "from": [{ "zoneNames": ["above-isolated", "above-open"] }],
                  "to": [{ "zoneNames": ["above-everywhere"] }], "ports": [{ "protocol": "TCP", "port": 80, "endPort": 81 }] },
            ] }),
        ),
        object("ZonePolicy", "excepted", json!({ "rules": deny(json!([{ "name": "all", "from": any }])) })),
        object("ZonePolicy", "audited", json!({ "enforcement": "Audit", "rules": deny(Value::Null) })),
        object("ZonePolicy", "disabled", json!({ "enforcement": "Disabled", "rules": deny(Value::Null) })),
        object(
            "ZonePolicy",
            "over",
            json!({ "rules": [{ "name": "all", "action": "Deny", "from": any, "to": any,
                                "expirationTime": "2020-01-01T00:00:00Z" }] }),
        ),
        object(
            "TenantIsolation",
            "shared",
            json!({ "namespaceLabelKey": "kubernetes.io/metadata.name",
                    "sharedNamespaces": [{ "matchExpressions": [{ "key": "kubernetes.io/metadata.name", "operator": "Exists" }] }] }),
        ),
        object(
            "TenantIsolation",
            "audited",
            json!({ "namespaceLabelKey": "kubernetes.io/metadata.name", "enforcement": "Audit" }),
        ),
    ]
    .into_iter()
    .map(without_null)
    .collect()
}

/// A rule's `except` is absent, not null.
fn without_null(mut object: Value) -> Value {
    let rules = object.pointer_mut("/spec/rules");
    let rules = rules.and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten().filter_map(Value::as_object_mut) {
        rule.retain(|_, value| !value.is_null());
    }
    object
}
