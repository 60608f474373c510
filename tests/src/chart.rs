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
    let objects: Vec<Value> = serde_saphyr::from_multiple(BASE).expect("generated YAML");
    let mut found = objects.into_iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    object
}

/// What the agent's account may do.
#[must_use]
pub fn rules() -> Value {
    object("ClusterRole")["rules"].take()
}
