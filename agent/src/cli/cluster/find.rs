//! Which pods the agents are.
//!
//! **Invariant.** A label alone makes no agent: whoever may create pods anywhere could wear it, and would be asked and believed.
//! Agents are the pods that one DaemonSet controls, and which one that is must be beyond doubt.

use serde_json::Value;

use super::kubectl::{AgentPod, Kubectl};
use crate::{
    args::ClusterArgs,
    cli::{
        daemon_set::{DaemonSetName, LABEL},
        failure::Failure,
    },
};

/// Why there are no agents.
pub(super) enum Trouble {
    /// It is not clear who is meant.
    Unclear(Failure),
    /// None are there, or nobody tells.
    Absent(Failure),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unclear(failure) | Trouble::Absent(failure) => failure,
        }
    }
}

/// The agents and whose they are.
#[derive(Debug)]
pub(super) struct Found {
    pub daemon_set: DaemonSetName,
    /// The labels by which it selects pods, as kubectl takes them; empty if it has none.
    pub selector: String,
    /// Sorted by node.
    pub agents: Vec<AgentPod>,
}

/// The agents of all nodes, or of those that are meant.
pub(super) async fn find(kubectl: &Kubectl, args: &ClusterArgs) -> Result<Found, Trouble> {
    let set = daemon_set(kubectl, args).await?;
    let text = |pointer: &str| {
        let value = set.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let daemon_set = DaemonSetName {
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    };
    let selector = selector(&set);
    let mut words = vec!["get", "pods", "-n", &daemon_set.namespace, "-o", "json"];
    if !selector.is_empty() {
        words.extend(["-l", &selector]);
    }
    let list = kubectl.object(&words).await.map_err(Trouble::Absent)?;
    let mut agents = agents(&list, &text("/metadata/uid"));
    if agents.is_empty() {
        let failure = Failure::new("no agent's pod is on any node")
            .at(format!("DaemonSet/{daemon_set}"))
            .help(format!(
                "kubectl -n {} describe daemonset {}",
                daemon_set.namespace, daemon_set.name
            ));
        return Err(Trouble::Absent(failure));
    }
    for node in &args.nodes {
        if !agents.iter().any(|agent| agent.node == *node) {
            let known: Vec<&str> = agents.iter().map(|agent| agent.node.as_str()).collect();
            let failure = Failure::new(format!("no agent is on a node {node:?}"))
                .at(format!("--on-node {node}"))
                .help(format!("there are agents on {}", known.join(", ")));
            return Err(Trouble::Unclear(failure));
        }
    }
    agents.retain(|agent| args.nodes.is_empty() || args.nodes.contains(&agent.node));
    Ok(Found {
        daemon_set,
        selector,
        agents,
    })
}

/// The one that is meant.
async fn daemon_set(kubectl: &Kubectl, args: &ClusterArgs) -> Result<Value, Trouble> {
    if let Some(text) = &args.daemon_set {
        let DaemonSetName { namespace, name } = text.parse().map_err(Trouble::Unclear)?;
        let words = ["get", "daemonset", "-n", &namespace, &name, "-o", "json"];
        return kubectl.object(&words).await.map_err(Trouble::Absent);
    }
    let mut words = vec!["get", "daemonsets"];
    match &args.namespace {
        Some(namespace) => words.extend(["-n", namespace]),
        None => words.push("--all-namespaces"),
    }
    words.extend(["-l", LABEL, "-o", "json"]);
    let mut list = kubectl.object(&words).await.map_err(Trouble::Absent)?;
    let mut sets = match list["items"].take() {
        Value::Array(sets) => sets,
        _ => Vec::new(),
    };
    match sets.len() {
        1 => Ok(sets.remove(0)),
        0 => Err(Trouble::Absent(
            Failure::new("no DaemonSet of Ringfence's is in this cluster")
                .at(format!("kubectl {}", words.join(" ")))
                .help("install Ringfence, name its DaemonSet with --daemon-set NAMESPACE/NAME, or choose another cluster with --context or KUBECONFIG; without --all-nodes this machine's own agent is asked"),
        )),
        _ => {
            let mut failure = Failure::new(format!(
                "{} DaemonSets say that they are Ringfence's, and only one of them can be meant",
                sets.len()
            ))
            .help("name it with --daemon-set NAMESPACE/NAME, or its namespace with --namespace");
            for set in &sets {
                let text = |name: &str| set["metadata"][name].as_str().unwrap_or_default();
                failure = failure.at(format!("{}/{}", text("namespace"), text("name")));
            }
            Err(Trouble::Unclear(failure))
        }
    }
}

fn selector(set: &Value) -> String {
    let labels = set.pointer("/spec/selector/matchLabels");
    let pairs: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)))
        .collect();
    pairs.join(",")
}

/// The pods of the DaemonSet with this UID that are on a node, one for each node: while one makes room for another, the other.
fn agents(list: &Value, uid: &str) -> Vec<AgentPod> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let is_controlled = |pod: &&Value| {
        let owners = pod["metadata"]["ownerReferences"].as_array();
        owners.into_iter().flatten().any(|owner| {
            owner["kind"] == "DaemonSet"
                && owner["controller"] == true
                && !uid.is_empty()
                && owner["uid"] == uid
        })
    };
    let mut agents: Vec<(bool, AgentPod)> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|pod| pod["spec"]["nodeName"].is_string())
        .filter(is_controlled)
        .map(|pod| {
            let agent = AgentPod {
                namespace: text(&pod["metadata"]["namespace"]),
                name: text(&pod["metadata"]["name"]),
                node: text(&pod["spec"]["nodeName"]),
            };
            (pod["metadata"]["deletionTimestamp"].is_string(), agent)
        })
        .collect();
    agents.sort_by(|(a_ends, a), (b_ends, b)| {
        (&a.node, a_ends, &a.name).cmp(&(&b.node, b_ends, &b.name))
    });
    let mut agents: Vec<AgentPod> = agents.into_iter().map(|(_, agent)| agent).collect();
    agents.dedup_by(|later, earlier| later.node == earlier.node);
    agents
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_daemon_set_controls_is_an_agent() {
        let pod = |name: &str, node: Value, owner: Value, ends: Value| {
            json!({"metadata": {"namespace": "s", "name": name, "ownerReferences": [owner], "deletionTimestamp": ends,
                    "labels": {"app.kubernetes.io/name": "ringfence"}}, "spec": {"nodeName": node}})
        };
        let ours = json!({"kind": "DaemonSet", "uid": "u1", "controller": true});
        let list = json!({"items": [
            pod("b", json!("w2"), ours.clone(), Value::Null),
            pod("unscheduled", Value::Null, ours.clone(), Value::Null),
            pod("old", json!("w1"), ours.clone(), json!("2026-01-01T00:00:00Z")),
            pod("a", json!("w1"), ours.clone(), Value::Null),
            pod("wears-the-label", json!("w1"), Value::Null, Value::Null),
            pod("another-sets", json!("w1"), json!({"kind": "DaemonSet", "uid": "u2", "controller": true}), Value::Null),
            pod("no-controller", json!("w1"), json!({"kind": "DaemonSet", "uid": "u1"}), Value::Null),
        ]});
        let found = agents(&list, "u1");
        let rows: Vec<(&str, &str)> = found
            .iter()
            .map(|it| (it.node.as_str(), it.name.as_str()))
            .collect();
        assert_eq!(rows, [("w1", "a"), ("w2", "b")]);
        assert_eq!(found[0].to_string(), "s/a");
        assert!(agents(&list, "").is_empty());
    }

    #[test]
    fn its_labels_are_those_that_it_selects_by() {
        let set = json!({"spec": {"selector": {"matchLabels": {"a": "b", "c": "d"}}}});
        assert_eq!(selector(&set), "a=b,c=d");
        assert_eq!(selector(&json!({})), "");
    }
}
