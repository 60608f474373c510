//! `ringfence sysdump --all-nodes`.
//!
//! **Invariant.** An agent that does not answer, or that is not there, keeps nothing else from being collected.

use serde_json::Value;

use super::{AgentPod, Cluster, Found, Kubectl, Trouble};
use crate::{
    args::SysdumpArgs,
    cli::{
        daemon_set::{CONTAINER, LABEL},
        failure::{Failure, Outcome},
        sysdump::{self, one_line},
    },
    sysdump::{Dump, without_secrets},
    tell,
};

/// What is taken of each agent's log.
const LOG: [&str; 2] = ["--tail=20000", "--limit-bytes=8388608"];

/// Objects, by the file that they go to: never Secrets, and ConfigMaps neither.
const OBJECTS: [(&str, &[&str]); 5] = [
    (
        "networkpolicies.json",
        &["get", "networkpolicies", "-A", "-o", "json"],
    ),
    ("namespaces.json", &["get", "namespaces", "-o", "json"]),
    ("nodes.json", &["get", "nodes", "-o", "json"]),
    ("services.json", &["get", "services", "-A", "-o", "json"]),
    (
        "pods.txt",
        &["get", "pods", "-A", "-o", "wide", "--show-labels"],
    ),
];

pub(in crate::cli) fn run(args: &SysdumpArgs) -> Outcome {
    let cluster = Cluster::new(&args.cluster)?;
    let mut dump = Dump::default();
    let found = match cluster.find(&args.cluster) {
        Ok(found) => Some(found),
        Err(Trouble::Unclear(failure)) => return Err(failure),
        Err(Trouble::Absent(failure)) => {
            dump.text("nodes", Err(one_line(failure)));
            None
        }
    };
    cluster
        .runtime
        .block_on(objects(&cluster.kubectl, found.as_ref(), &mut dump));
    let agents = found.map(|found| found.agents).unwrap_or_default();
    for (agent, node) in agents.iter().zip(cluster.each(&agents, of)) {
        say!("node {}: {} files", agent.node, node.len());
        dump.below(&format!("nodes/{}", agent.node), node);
    }
    if dump.is_empty() {
        let mut failure = Failure::new("nothing could be collected")
            .help("does `kubectl get pods` work with this KUBECONFIG and --context?");
        for (path, reason) in dump.missing() {
            failure = failure.at(format!("{path}: {reason}"));
        }
        return Err(failure);
    }
    sysdump::finish(&dump, args.output.as_deref())
}

async fn objects(kubectl: &Kubectl, found: Option<&Found>, dump: &mut Dump) {
    let mut all: Vec<(&str, Vec<&str>)> = OBJECTS
        .iter()
        .map(|(name, words)| (*name, words.to_vec()))
        .collect();
    let told = format!("reportingComponent={}", tell::CONTROLLER);
    all.push((
        "events-by-ringfence.json",
        vec![
            "get",
            "events",
            "-A",
            "--field-selector",
            &told,
            "-o",
            "json",
        ],
    ));
    let own = ["get", "daemonsets,pods", "-o", "json"];
    match found {
        Some(found) => {
            let namespace = &found.daemon_set.namespace;
            let mut words = own.to_vec();
            words.extend(["-n", namespace]);
            if !found.selector.is_empty() {
                words.extend(["-l", &found.selector]);
            }
            all.push(("ringfence.json", words));
            all.push((
                "events-of-ringfence.json",
                vec!["get", "events", "-n", namespace, "-o", "json"],
            ));
        }
        None => all.push(("ringfence.json", [&own[..], &["-A", "-l", LABEL]].concat())),
    }
    for (name, words) in all {
        let text = kubectl
            .output(&words)
            .await
            .map_err(one_line)
            .and_then(|bytes| object(name, &bytes));
        dump.text(format!("cluster/{name}"), text);
    }
}

/// Objects without what may be secret; tables as they are.
fn object(name: &str, bytes: &[u8]) -> Result<String, String> {
    if !name.ends_with(".json") {
        return Ok(String::from_utf8_lossy(bytes).into_owned());
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    serde_json::to_string_pretty(&without_secrets(value)).map_err(|error| error.to_string())
}

/// What one agent's pod tells: from inside if it runs, and its logs in any case.
async fn of(kubectl: &Kubectl, agent: &AgentPod) -> Dump {
    let inside = kubectl.bytes(agent, &["sysdump", "--output=-"], &[]).await;
    let mut node = match inside {
        Ok(bytes) => Dump::read(bytes.as_slice()),
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
        let mut words = vec!["logs", "-n", &agent.namespace, &agent.name, "-c", CONTAINER];
        words.extend(LOG);
        words.extend(more);
        let text = kubectl
            .output(&words)
            .await
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(one_line);
        node.text(name, text);
    }
    node
}
