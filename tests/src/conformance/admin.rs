//! Admin policies of the API before `ClusterNetworkPolicy`: what of them means the same today, in today's words.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use super::{
    actions::{add_pod, put, put_cluster},
    case::{Case, Step},
    expand::tables,
    file::StaticFile,
    world::World,
};

/// Why a case is not asked.
const GONE: &str = "sameLabels and notSameLabels are not part of the API any more";

/// The cases of these files.
///
/// # Errors
///
/// If one is not what a case should be.
pub fn read(files: &[std::path::PathBuf]) -> Result<Vec<Case>> {
    files.iter().map(|path| case(path)).collect()
}

fn case(path: &Path) -> Result<Case> {
    let say = || path.display().to_string();
    let text = fs::read_to_string(path).with_context(say)?;
    let file: StaticFile = serde_json::from_str(&text).with_context(say)?;
    let mut case = Case {
        id: file.id,
        description: file.description,
        flags: Vec::new(),
        steps: Vec::new(),
        refused: None,
        waits: None,
    };
    if text.contains("ameLabels\"") {
        case.waits = Some(GONE.to_owned());
        return Ok(case);
    }
    let mut world = World {
        namespaces: file.initial.namespaces,
        nodes: file.initial.nodes,
        ..World::default()
    };
    for pod in file.initial.pods {
        add_pod(&mut world, pod).with_context(say)?;
    }
    for policy in file.network_policies {
        put(&mut world, policy).with_context(say)?;
    }
    let tiers = [
        ("Admin", file.admin_network_policies),
        ("Baseline", file.baseline_admin_network_policies),
    ];
    for (tier, policies) in tiers {
        for (number, policy) in policies.iter().enumerate() {
            let name = format!("{}-{number}", tier.to_lowercase());
            put_cluster(
                &mut world,
                translated(&name, tier, policy).with_context(say)?,
            )?;
        }
    }
    let mut questions = Vec::new();
    tables(&world, &file.expected, &mut questions).with_context(say)?;
    case.steps.push(Step { world, questions });
    Ok(case)
}

fn translated(name: &str, tier: &str, policy: &Value) -> Result<Value> {
    let spec = &policy["spec"];
    let mut new = json!({
        "tier": tier,
        "priority": spec.get("priority").cloned().unwrap_or_else(|| json!(0)),
        "subject": spec["subject"],
    });
    for (direction, side) in [("ingress", "from"), ("egress", "to")] {
        let Some(rules) = spec.get(direction).and_then(Value::as_array) else {
            continue;
        };
        let rules = rules.iter().map(|rule| translated_rule(rule, side));
        new[direction] = rules.collect::<Result<Vec<Value>>>()?.into();
    }
    Ok(json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": new,
    }))
}

fn translated_rule(rule: &Value, side: &str) -> Result<Value> {
    let action = match rule["action"].as_str() {
        Some("Allow") => "Accept",
        Some(same @ ("Deny" | "Pass")) => same,
        other => bail!("no action: {other:?}"),
    };
    let peers = rule[side].as_array().context("no peers")?;
    let peers: Vec<Value> = peers.iter().map(translated_peer).collect();
    let mut new = json!({"action": action, side: peers});
    if let Some(ports) = rule.get("ports").and_then(Value::as_array) {
        let protocols = ports.iter().map(translated_port);
        new["protocols"] = protocols.collect::<Result<Vec<Value>>>()?.into();
    }
    Ok(new)
}

/// Namespaces were a choice of several ways to name them; their selector is what has stayed.
fn translated_peer(peer: &Value) -> Value {
    let selector = |namespaces: &Value| namespaces["namespaceSelector"].clone();
    match peer.get("pods") {
        Some(pods) => json!({"pods": {
            "namespaceSelector": selector(&pods["namespaces"]),
            "podSelector": pods["podSelector"],
        }}),
        None => json!({"namespaces": selector(&peer["namespaces"])}),
    }
}

fn translated_port(port: &Value) -> Result<Value> {
    if let Some(name) = port.get("namedPort") {
        return Ok(json!({"destinationNamedPort": name}));
    }
    let (of, destination) = if let Some(number) = port.get("portNumber") {
        (number, json!({"number": number["port"]}))
    } else if let Some(range) = port.get("portRange") {
        (
            range,
            json!({"range": {"start": range["start"], "end": range["end"]}}),
        )
    } else {
        bail!("no port: {port}");
    };
    let protocol = match of["protocol"].as_str() {
        // What the API server fills in.
        Some("") | None => "tcp".to_owned(),
        Some(name) => name.to_lowercase(),
    };
    let mut new = Map::new();
    new.insert(protocol, json!({"destinationPort": destination}));
    Ok(new.into())
}
