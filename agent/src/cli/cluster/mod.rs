//! Every node's agent at once, as a kubectl plugin asks them: through `kubectl exec`, with the user's own rights.
//!
//! **Invariants.** A node that does not answer is a row with the reason, never left out, and makes the exit code 2. What is
//! asked on a node is what a user could type there.

mod check;
mod endpoints;
mod kubectl;
mod observe;
mod status;
mod sysdump;

use std::{
    ffi::OsString,
    path::Path,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde::{Serialize, de::DeserializeOwned};

use super::failure::Failure;
use crate::args::ClusterArgs;
pub(super) use check::run as check;
pub(super) use endpoints::run as endpoints;
use kubectl::{AgentPod, Kubectl};
pub(super) use observe::run as observe;
pub(super) use status::run as status;
pub(super) use sysdump::run as sysdump;

/// The name under which kubectl takes this binary for its plugin.
const PLUGIN: &str = "kubectl-ringfence";
/// Nodes that are asked at the same time.
const AT_ONCE: usize = 16;

/// Whether a process of this name is kubectl's plugin.
pub(super) fn is_plugin(program: Option<&OsString>) -> bool {
    let name = program.and_then(|program| Path::new(program).file_name());
    name.is_some_and(|name| name == PLUGIN)
}

/// Whether every node is meant.
pub(super) fn is_meant(args: &ClusterArgs) -> bool {
    args.all_nodes
        || args.context.is_some()
        || !args.nodes.is_empty()
        || is_plugin(std::env::args_os().next().as_ref())
}

/// What one node said.
#[derive(Debug, Serialize)]
struct Row<T> {
    node: String,
    pod: String,
    #[serde(flatten)]
    answer: Answer<T>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Answer<T> {
    /// What was asked for.
    #[serde(rename = "answer")]
    Said(T),
    /// Why there is nothing.
    Error(String),
}

impl<T> Row<T> {
    fn said(&self) -> Result<&T, &str> {
        match &self.answer {
            Answer::Said(said) => Ok(said),
            Answer::Error(error) => Err(error),
        }
    }
}

/// The agents that are meant, sorted by node.
fn agents(args: &ClusterArgs) -> Result<(Kubectl, Vec<AgentPod>), Failure> {
    let kubectl = Kubectl::new(args.context.clone());
    let mut agents = kubectl.agents()?;
    for node in &args.nodes {
        if !agents.iter().any(|agent| agent.node == *node) {
            let known: Vec<&str> = agents.iter().map(|agent| agent.node.as_str()).collect();
            return Err(Failure::new(format!("no agent is on a node {node:?}"))
                .at(format!("--on-node {node}"))
                .help(format!("there are agents on {}", known.join(", "))));
        }
    }
    agents.retain(|agent| args.nodes.is_empty() || args.nodes.contains(&agent.node));
    Ok((kubectl, agents))
}

/// Does something for every agent, some at a time; the results in the agents' order.
fn each<T: Send>(agents: &[AgentPod], work: impl Fn(&AgentPod) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(agents.len()) {
            scope.spawn(|| {
                while let Some((number, agent)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    agents.get(number).map(|agent| (number, agent))
                } {
                    let result = work(agent);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Asks every agent with the same words, and reads what each says as JSON. Codes of `fine` are no errors.
fn ask<T: DeserializeOwned + Send>(
    kubectl: &Kubectl,
    agents: &[AgentPod],
    words: &[&str],
    fine: &[i32],
) -> Vec<Row<T>> {
    each(agents, |agent| Row {
        node: agent.node.clone(),
        pod: agent.to_string(),
        answer: match kubectl.json(agent, words, fine) {
            Ok(said) => Answer::Said(said),
            Err(error) => Answer::Error(error),
        },
    })
}

/// 0 if every node answered, else 2; the reasons go to standard error.
fn outcome<T>(rows: &[Row<T>]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for row in rows {
        if let Err(error) = row.said() {
            say!(
                "error: node {} does not answer: {error}\n  {}",
                row.node,
                row.pod
            );
            code = ExitCode::from(2);
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_known_by_its_name() {
        for (program, plugin) in [
            ("/usr/local/bin/kubectl-ringfence", true),
            ("kubectl-ringfence", true),
            ("ringfence", false),
            ("/kubectl-ringfence/ringfence", false),
        ] {
            assert_eq!(
                is_plugin(Some(&OsString::from(program))),
                plugin,
                "{program}"
            );
        }
        assert!(!is_plugin(None));
    }

    #[test]
    fn results_keep_the_agents_order() {
        let agents: Vec<AgentPod> = (0..50)
            .map(|number| AgentPod {
                namespace: "n".to_owned(),
                name: format!("p{number}"),
                node: format!("w{number}"),
                ready: true,
            })
            .collect();
        let names = each(&agents, |agent| agent.node.clone());
        let expect: Vec<String> = agents.iter().map(|agent| agent.node.clone()).collect();
        assert_eq!(names, expect);
        assert!(each(&[], |_| ()).is_empty());
    }
}
