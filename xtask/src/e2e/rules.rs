//! The ten rules of the hybrid-cloud example as objects of a real cluster, and the world around it.
//!
//! Its namespaces are prefixed, for a cluster may have some of these names. Its rules bind every pod of the cluster while they
//! are there; a cluster that has one of the same name is refused. Hosts outside are
//! one process's ([`super::outsider`]), and a control-plane node is itself, by a pod with its network.

mod folder;
mod objects;

use std::net::IpAddr;

use anyhow::{Result, bail};
use serde_json::Value;

pub use folder::{Host, documents, hosts};

use super::{
    cluster::{Cluster, items, names},
    eventually,
    example::LABEL,
};
use objects::{account, moved, pod, stand_in};

/// Before the example's namespaces.
pub const PREFIX: &str = "rules-";
/// The node of the control plane, among the hosts of the lab.
pub const MASTER: &str = "master-1";
/// Its label.
const MASTERS: &str = "node-role.kubernetes.io/control-plane";
/// The kinds of the rules, as kubectl takes them.
pub const KINDS: [&str; 5] = [
    "securityzones",
    "zonepolicies",
    "tenantisolations",
    "metadatafirewalls",
    "metadataaccesses",
];

/// Makes the pods, waits until all are ready, then makes the rules and waits until they are in force everywhere.
pub fn apply(cluster: &Cluster) -> Result<()> {
    let kubectl = &cluster.kubectl;
    let documents = documents()?;
    let of = |kinds: &[&str]| -> Vec<&Value> {
        let is = |it: &&Value| kinds.contains(&it["kind"].as_str().unwrap_or_default());
        documents.iter().filter(is).collect()
    };
    refuse_others(cluster, &documents)?;
    let master = master(cluster)?;
    let mut objects: Vec<Value> = of(&["Namespace"]).into_iter().map(moved).collect();
    objects.extend(of(&["Pod"]).into_iter().filter_map(account));
    objects.extend(of(&["Pod"]).into_iter().map(|it| pod(it, &cluster.agnhost)));
    if let Some(node) = &master {
        objects.extend(stand_in(node, &cluster.agnhost));
    }
    kubectl.apply(&objects)?;
    for namespace in made(cluster)? {
        let words = [
            "-n",
            &namespace,
            "wait",
            "--for=condition=Ready",
            "pod",
            "--all",
        ];
        eventually("the pods of the ten rules are ready", || {
            kubectl.run(&[&words[..], &["--timeout=60s"]].concat())
        })?;
    }
    let rules = documents.iter().filter(|it| {
        !["Node", "Namespace", "Pod"].contains(&it["kind"].as_str().unwrap_or_default())
    });
    kubectl.apply(&rules.map(moved).collect::<Vec<_>>())?;
    for kind in KINDS {
        let words = [
            "wait",
            "--for=condition=Programmed",
            kind,
            "--all",
            "--timeout=60s",
        ];
        kubectl.run(&words)?;
    }
    Ok(())
}

/// Fails if somebody has rules of the same names: they are not ours to change.
fn refuse_others(cluster: &Cluster, documents: &[Value]) -> Result<()> {
    for kind in KINDS {
        let found = cluster.kubectl.json(&["get", kind])?;
        for object in items(&found) {
            let name = &object["metadata"]["name"];
            let has = |it: &Value| it["kind"] == singular(kind) && it["metadata"]["name"] == *name;
            if object["metadata"]["labels"][LABEL].is_null() && documents.iter().any(has) {
                bail!(
                    "there is a {} {name} that this test did not make: use another cluster",
                    singular(kind)
                );
            }
        }
    }
    Ok(())
}

/// Takes away what [`apply`] made.
pub fn remove(cluster: &Cluster) -> Result<()> {
    for kind in KINDS {
        cluster.kubectl.run(&["delete", kind, "-l", LABEL])?;
    }
    for namespace in made(cluster)? {
        cluster
            .kubectl
            .run(&["delete", "namespace", &namespace, "--timeout=120s"])?;
    }
    let nodes = cluster.kubectl.json(&["get", "nodes", "-l", LABEL])?;
    for node in names(&nodes) {
        let away = [MASTERS, LABEL].map(|label| format!("{label}-"));
        cluster
            .kubectl
            .run(&["label", "node", &node, &away[0], &away[1]])?;
    }
    Ok(())
}

/// The node of the control plane; where none is labelled so, the first of several is for the time being.
fn master(cluster: &Cluster) -> Result<Option<String>> {
    let labelled = cluster.kubectl.json(&["get", "nodes", "-l", MASTERS])?;
    if let Some(node) = names(&labelled).into_iter().next() {
        return Ok(Some(node));
    }
    let nodes = cluster.nodes()?;
    let Some(node) = nodes.first().filter(|_| nodes.len() > 1) else {
        return Ok(None);
    };
    let labels = [format!("{MASTERS}="), format!("{LABEL}=true")];
    cluster
        .kubectl
        .run(&["label", "node", node, &labels[0], &labels[1]])?;
    Ok(Some(node.clone()))
}

/// Namespaces that were made here.
pub fn made(cluster: &Cluster) -> Result<Vec<String>> {
    let all = cluster.kubectl.json(&["get", "namespaces", "-l", LABEL])?;
    Ok(names(&all)
        .into_iter()
        .filter(|it| it.starts_with(PREFIX))
        .collect())
}

/// Names of kinds, of which kubectl takes the plural.
fn singular(plural: &str) -> &'static str {
    match plural {
        "securityzones" => "SecurityZone",
        "zonepolicies" => "ZonePolicy",
        "tenantisolations" => "TenantIsolation",
        "metadatafirewalls" => "MetadataFirewall",
        _ => "MetadataAccess",
    }
}

/// The addresses of the node that the stand-in is on; empty where there is none.
pub fn master_addresses(cluster: &Cluster) -> Result<Vec<IpAddr>> {
    let namespace = format!("{PREFIX}nodes");
    let list = cluster.kubectl.json(&["-n", &namespace, "get", "pods"])?;
    let Some(pod) = items(&list).first() else {
        return Ok(Vec::new());
    };
    let texts = pod["status"]["podIPs"].as_array().into_iter().flatten();
    Ok(texts
        .filter_map(|it| it["ip"].as_str()?.parse().ok())
        .collect())
}
