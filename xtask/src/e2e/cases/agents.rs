//! What the agents of all nodes say of themselves, asked as a user asks.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};

use super::{End, look, ways};
use crate::e2e::{
    cluster::{Cluster, items},
    eventually,
    expect::{self, Pod},
    probe::{self, Outcome},
};

/// `status` has a row for each node, and `endpoints` every pod.
pub(super) fn status(cluster: &Cluster) -> Result<End> {
    let nodes: BTreeSet<String> = cluster.nodes()?.into_iter().collect();
    let (pods, _) = look(cluster)?;
    eventually("every agent is ready", || {
        let list = cluster.ringfence(&["status"])?;
        let rows = items(&list);
        let seen: BTreeSet<String> = rows
            .iter()
            .filter_map(|row| row["node"].as_str().map(str::to_owned))
            .collect();
        ensure!(seen == nodes, "agents on {seen:?}, nodes {nodes:?}");
        for row in rows {
            ensure!(row["answer"]["ready"] == true, "not ready: {row}");
            let unplaced = &row["answer"]["unplaced"];
            ensure!(
                unplaced.as_array().is_some_and(Vec::is_empty),
                "not found: {unplaced}"
            );
        }
        Ok(())
    })?;
    eventually("every pod is an endpoint of its node", || {
        let list = cluster.ringfence(&["endpoints"])?;
        for pod in &pods {
            let mut found = items(&list).iter().filter(|it| it["pod"] == pod.id());
            let first = found
                .next()
                .with_context(|| format!("{} is no endpoint", pod.id()))?;
            ensure!(
                first["node"] == pod.node && found.next().is_none(),
                "{} is an endpoint on {}, or elsewhere too",
                pod.id(),
                first["node"]
            );
        }
        Ok(())
    })?;
    Ok(End::Passed)
}

/// What is denied on any node is seen by who asks all of them, with the names of both pods.
pub(super) fn observe(cluster: &Cluster) -> Result<End> {
    let (pods, objects) = look(cluster)?;
    let expected = expect::matrix(&objects)?;
    // A closed way into each node that has one.
    let mut closed: Vec<(&Pod, &Pod, String, u64)> = Vec::new();
    for node in pods.iter().map(|pod| &pod.node).collect::<BTreeSet<_>>() {
        let there = pods.iter().filter(|pod| pod.node == *node);
        let found = there
            .flat_map(|to| pods.iter().map(move |from| (from, to)))
            .filter(|(from, to)| from.node == to.node && from.id() != to.id())
            .flat_map(|(from, to)| {
                let ways = ways::ways(from, to).into_iter();
                ways.map(move |(target, way)| (from, to, target, way))
            })
            .find(|(_, _, _, way)| expected.get(way) == Some(&false));
        closed.extend(found.map(|(from, to, target, way)| (from, to, target, way.port)));
    }
    if closed.is_empty() {
        bail!("no node has a closed way between pods of its own");
    }
    for (from, to, target, port) in &closed {
        eventually("a denial is told", || {
            let outcomes = probe::connect(cluster, from, std::slice::from_ref(target))?;
            let outcome = outcomes.get(target);
            ensure!(
                outcome != Some(&Outcome::Reached),
                "{} reached {target}",
                from.id()
            );
            let flows = cluster.flows(&["--verdict", "deny", "--from", &from.id()])?;
            let told = flows.iter().any(|flow| {
                flow["node"] == to.node.as_str()
                    && flow["dst"]["namespace"] == to.namespace.as_str()
                    && flow["dst"]["pod"] == to.name.as_str()
                    && flow["dst"]["port"] == *port
            });
            ensure!(
                told,
                "none of {} flows is {} -> {} {port} on {}",
                flows.len(),
                from.id(),
                to.id(),
                to.node
            );
            Ok(())
        })?;
    }
    eprintln!("denials were told of {} nodes", closed.len());
    Ok(End::Passed)
}
