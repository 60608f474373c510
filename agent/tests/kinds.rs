//! The table of refused objects, offline: each is refused with its line, and a caret can be put under what is wrong.

use std::{fs, path::Path};

use ringfence_agent::{
    index,
    model::{Diagnostic, ZonePeer},
    watch,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// What the API server refuses (or not) is tried in tests/tests/cluster/kinds.rs.
const TABLE: &str = include_str!("../../tests/kinds/refused.yaml");

/// An object that is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    kind: String,
    name: Option<String>,
    spec: Value,
    field: String,
    says: Option<String>,
    server: Option<String>,
    offline: Option<String>,
    why: Option<String>,
}

#[test]
fn every_object_of_the_table_is_refused_where_it_is_wrong() {
    let table: Vec<Refused> = serde_saphyr::from_str(TABLE).unwrap();
    assert!(table.len() >= 40, "{}", table.len());
    let mut wrong = Vec::new();
    for refused in &table {
        let same = refused.server.as_deref() != Some("accepted");
        assert_eq!(refused.why.is_none(), same, "{}", refused.spec);
        let version = match refused.kind.as_str() {
            "ClusterNetworkPolicy" => "policy.networking.k8s.io/v1alpha2",
            _ => "ringfence.dev/v1alpha1",
        };
        let object = json!({
            "apiVersion": version,
            "kind": refused.kind,
            "metadata": { "name": refused.name.as_deref().unwrap_or("a") },
            "spec": refused.spec,
        });
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("m.json");
        fs::write(&file, serde_json::to_string_pretty(&object).unwrap()).unwrap();
        let says = refused.says.as_deref().or(refused.offline.as_deref());
        let says = says.expect("the table says what is said offline");
        let found = match index::load(&[file], watch::Options::default()) {
            Ok(_) => Vec::new(),
            Err(found) => found,
        };
        let right = |found: &&Diagnostic| {
            found.field == refused.field
                && found.message.contains(says)
                && found.origin.line > 0
                && watch::excerpt(found).is_some_and(|shown| shown.contains('^'))
        };
        if !found.iter().any(|found| right(&found)) {
            wrong.push(format!(
                "{}\n  wanted {}: {says}\n  found {found:#?}",
                refused.spec, refused.field
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_ten_rules_of_the_example_are_read() {
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/hybrid-cloud/zones");
    let snapshot = index::load(&[example], watch::Options::default()).unwrap();
    let counts = [
        snapshot.zones.len(),
        snapshot.zone_policies.len(),
        snapshot.tenants.len(),
        snapshot.grants.len(),
    ];
    assert_eq!(counts, [14, 10, 1, 1]);
    // Every zone that a rule names is there.
    let names = |peers: &[ZonePeer]| -> Vec<String> {
        let names = peers.iter().filter_map(|peer| match peer {
            ZonePeer::Zone(name) => Some(name.clone()),
            ZonePeer::Entity(_) => None,
        });
        names.collect()
    };
    for rule in snapshot.zone_policies.values().flat_map(|it| &it.rules) {
        let except = rule.except.iter();
        let except = except.flat_map(|it| it.from.iter().chain(&it.to).flatten().cloned());
        let except: Vec<ZonePeer> = except.collect();
        for name in [&rule.from, &rule.to, &except].map(|it| names(it)).concat() {
            assert!(snapshot.zones.contains_key(&name), "{}: {name}", rule.name);
        }
    }
}
