//! What the chart installs, as the kustomize base that is rendered from it has it.

use serde_json::Value;

/// `cargo xtask codegen --check` keeps it equal to the chart.
const BASE: &str = include_str!("../../deploy/kustomize/base/ringfence.yaml");

/// The chart's objects of this kind.
///
/// # Panics
///
/// If there are none.
#[must_use]
pub fn objects(kind: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(BASE).expect("generated YAML");
    objects.retain(|object| object["kind"] == kind);
    assert!(!objects.is_empty(), "no {kind}");
    objects
}

/// The chart's object of this kind that is called like the release.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn object(kind: &str) -> Value {
    let mut objects = objects(kind).into_iter();
    let found = objects.find(|object| object["metadata"]["name"] == "ringfence");
    found.unwrap_or_else(|| panic!("no {kind} of this name"))
}

/// What the agent's account may do in its own namespace.
#[must_use]
pub fn own_rules() -> Value {
    object("Role")["rules"].take()
}

/// What the agent's account may do.
#[must_use]
pub fn rules() -> Value {
    object("ClusterRole")["rules"].take()
}
