//! What the chart installs, as the kustomize base that is rendered from it has it.

use serde_json::Value;

/// `cargo xtask codegen --check` keeps it equal to the chart.
const BASE: &str = include_str!("../../deploy/kustomize/base/ringfence.yaml");

/// The chart's one object of this kind.
///
/// # Panics
///
/// If there is none, or more than one.
#[must_use]
pub fn object(kind: &str) -> Value {
    let mut found = objects()
        .into_iter()
        .filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    object
}

/// What the agent's account may do.
#[must_use]
pub fn rules() -> Value {
    named("ClusterRole")["rules"].take()
}

/// What the agent's account may do in its own namespace.
#[must_use]
pub fn own_rules() -> Value {
    named("Role")["rules"].take()
}

/// The chart's object of this kind that is called as the chart is: the agent's.
fn named(kind: &str) -> Value {
    let mut found = objects().into_iter();
    found
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == "ringfence")
        .unwrap_or_else(|| panic!("no {kind}"))
}

fn objects() -> Vec<Value> {
    serde_saphyr::from_multiple(BASE).expect("generated YAML")
}
