//! A summary as the kinds' definitions have it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use super::{condition::differ, summary::Summary};
use crate::watch::Kind;

/// A summary as the kind's status has it; true if a condition has turned round.
pub(super) fn status(
    kind: Kind,
    generation: i64,
    summary: &Summary,
    before: &[Condition],
) -> (Value, bool) {
    // The API server keeps whole seconds.
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let said = summary.said.iter();
    let conditions: Vec<_> = said
        .map(|said| said.condition(generation, before, now))
        .collect();
    let turned = differ(before, &conditions);
    let mut status = json!({ "conditions": conditions });
    // The definition of this one has nothing else.
    if kind == Kind::ClusterNetworkPolicy {
        return (status, turned);
    }
    let (desired, realized) = (summary.realized.desired, summary.realized.realized);
    status["observedGeneration"] = json!(generation);
    status["desiredNodeCount"] = json!(desired);
    status["realizedNodeCount"] = json!(realized);
    match &summary.members {
        Some(members) => {
            status["podCount"] = json!(members.pods);
            status["nodeCount"] = json!(members.nodes);
            status["networkCount"] = json!(members.networks);
        }
        None => status["nodes"] = json!(format!("{realized}/{desired}")),
    }
    if let Some(rules) = summary.rules {
        status["ruleCount"] = json!(rules);
    }
    (status, turned)
}
