//! Nodes that are emptied, and nodes whose kubelet and container runtime are restarted.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::{End, agents, look, ways};
use crate::e2e::{
    cluster::{Cluster, items},
    eventually, example,
};

/// Set on a node that is cordoned, and taken away a little after it is uncordoned.
const CORDONED: &str = "node.kubernetes.io/unschedulable";

/// A node is drained of the example's pods: they are judged on the nodes where they go, and nothing of them stays.
pub(super) fn drain(cluster: &Cluster) -> Result<End> {
    if cluster.nodes()?.len() < 2 {
        return Ok(End::Skipped("there is one node only"));
    }
    let (before, _) = look(cluster)?;
    let node = &before[0].node;
    let drained = drained(cluster, node);
    // Whatever came of it.
    cluster.kubectl.run(&["uncordon", node])?;
    drained?;
    eventually("the node takes pods again", || {
        let found = cluster.kubectl.json(&["get", "node", node])?;
        let taints = found["spec"]["taints"].as_array();
        let closed = taints
            .into_iter()
            .flatten()
            .any(|taint| taint["key"] == CORDONED);
        ensure!(!closed, "{node} is still marked as one that takes none");
        Ok(())
    })?;
    // Back to where the scheduler wants them: one after the other, for all at once it would send to the empty node.
    for namespace in example::namespaces(&example::documents()?) {
        cluster
            .kubectl
            .run(&["-n", &namespace, "rollout", "restart", "deployment"])?;
        example::ready_in(cluster, &namespace)?;
    }
    example::ready(cluster)?;
    agents::status(cluster)?;
    ways::every(cluster)
}

fn drained(cluster: &Cluster, node: &str) -> Result<()> {
    cluster.kubectl.run(&[
        "drain",
        node,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        &format!("--pod-selector={}", example::LABEL),
        "--timeout=120s",
    ])?;
    example::ready(cluster)?;
    eventually("the pods run elsewhere", || {
        let (pods, _) = look(cluster)?;
        let left: Vec<String> = pods
            .iter()
            .filter(|pod| pod.node == node)
            .map(super::Pod::id)
            .collect();
        ensure!(left.is_empty(), "{left:?} still run on {node}");
        Ok(())
    })?;
    agents::status(cluster)?;
    eventually("the node enforces none of them", || {
        let list = cluster.ringfence(&["endpoints", "--on-node", node])?;
        let namespaces = example::namespaces(&example::documents()?);
        let mine = |pod: &str| {
            namespaces
                .iter()
                .any(|it| pod.split('/').next() == Some(it))
        };
        let left: Vec<&str> = items(&list)
            .iter()
            .filter_map(|it| it["pod"].as_str())
            .filter(|pod| mine(pod))
            .collect();
        ensure!(left.is_empty(), "{left:?} are endpoints of {node}");
        Ok(())
    })?;
    ways::every(cluster)?;
    Ok(())
}

/// kubelet and container runtime are restarted: pods go on being judged, and new ones are, from their start.
pub(super) fn restart(cluster: &Cluster) -> Result<End> {
    let Some(restart) = &cluster.restart_node else {
        return Ok(End::Skipped("--restart-node says how"));
    };
    let gates = gates(cluster)?;
    for node in cluster.nodes()? {
        Cluster::shell(restart, &node)?;
        eventually("the node is ready again", || {
            cluster.kubectl.run(&[
                "wait",
                "--for=condition=Ready",
                &format!("node/{node}"),
                "--timeout=60s",
            ])
        })?;
    }
    cluster.wait_for_agents()?;
    eventually("the gates are as before", || {
        let now = self::gates(cluster)?;
        ensure!(now == gates, "{now:?}, and before {gates:?}");
        Ok(())
    })?;
    example::ready(cluster)?;
    agents::status(cluster)?;
    ways::every(cluster)?;
    // That the runtime starts pods again, and asks again.
    super::pods::probes(cluster)?;
    ways::every(cluster)
}

/// What each agent says of its container runtime.
fn gates(cluster: &Cluster) -> Result<BTreeMap<String, String>> {
    let list = cluster.ringfence(&["status"])?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(items(&list)
        .iter()
        .map(|row| (text(&row["node"]), text(&row["answer"]["nri"])))
        .collect())
}
