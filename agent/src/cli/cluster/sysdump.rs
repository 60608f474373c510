//! `ringfence sysdump --all-nodes`.

use serde_json::Value;

use super::{AgentPod, Kubectl};
use crate::{
    args::SysdumpArgs,
    cli::{failure::Outcome, sysdump},
    sysdump::{Dump, without_secrets},
};

/// What is taken of each agent's log.
const LINES: &str = "--tail=20000";

/// Objects, by the file that they go to: never Secrets, and ConfigMaps neither.
const OBJECTS: [(&str, &[&str]); 6] = [
    (
        "networkpolicies.json",
        &["get", "networkpolicies", "-A", "-o", "json"],
    ),
    ("namespaces.json", &["get", "namespaces", "-o", "json"]),
    ("nodes.json", &["get", "nodes", "-o", "json"]),
    ("services.json", &["get", "services", "-A", "-o", "json"]),
    (
        "ringfence.json",
        &[
            "get",
            "daemonsets,pods",
            "-A",
            "-l",
            "app.kubernetes.io/name=ringfence",
            "-o",
            "json",
        ],
    ),
    (
        "pods.txt",
        &["get", "pods", "-A", "-o", "wide", "--show-labels"],
    ),
];

pub(in crate::cli) fn run(args: &SysdumpArgs) -> Outcome {
    let (kubectl, agents) = super::agents(&args.cluster)?;
    let mut dump = Dump::default();
    for (name, words) in OBJECTS {
        let text = kubectl
            .output(words)
            .map_err(|failure| failure.to_string().replace('\n', " "))
            .and_then(|bytes| object(name, &bytes));
        dump.text(format!("cluster/{name}"), text);
    }
    for (agent, node) in agents
        .iter()
        .zip(super::each(&agents, |agent| of(&kubectl, agent)))
    {
        say!("node {}: {} files", agent.node, node.len());
        dump.below(&format!("nodes/{}", agent.node), node);
    }
    sysdump::finish(&dump, args.output.as_deref())
}

/// Objects without what may be secret; tables as they are.
fn object(name: &str, bytes: &[u8]) -> Result<String, String> {
    let text = || String::from_utf8_lossy(bytes).into_owned();
    if !name.ends_with(".json") {
        return Ok(text());
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    serde_json::to_string_pretty(&without_secrets(value)).map_err(|error| error.to_string())
}

/// What one agent's pod tells: from inside if it runs, and its logs in any case.
fn of(kubectl: &Kubectl, agent: &AgentPod) -> Dump {
    let mut node = match kubectl
        .bytes(agent, &["sysdump", "--output=-"], &[])
        .and_then(|bytes| Dump::read(&bytes).map_err(|error| error.to_string()))
    {
        Ok(dump) => dump,
        Err(reason) => {
            let mut dump = Dump::default();
            dump.text("from-inside", Err(reason));
            dump
        }
    };
    for (name, more) in [
        ("agent.log", None),
        ("agent-before.log", Some("--previous")),
    ] {
        let mut words = vec![
            "logs",
            "-n",
            &agent.namespace,
            &agent.name,
            "-c",
            "agent",
            LINES,
        ];
        words.extend(more);
        let text = kubectl
            .output(&words)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|failure| failure.to_string().replace('\n', " "));
        node.text(name, text);
    }
    node
}
