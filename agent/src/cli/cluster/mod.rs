//! Every node's agent at once, as a kubectl plugin asks them: through `kubectl exec`, with the user's own rights.
//!
//! **Invariants.** A node that does not answer is a row with the reason, never left out, and makes the exit code 2. What is
//! asked on a node is what a user could type there.

mod check;
mod endpoints;
mod find;
mod kubectl;
mod metadata;
mod observe;
mod status;
mod sysdump;

use std::{ffi::OsString, io, path::Path, process::ExitCode, time::Duration};

use futures::{StreamExt as _, stream};
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::{Builder, Runtime};

use super::failure::{Failure, Plain};
use crate::args::ClusterArgs;
pub(super) use check::run as check;
pub(super) use endpoints::run as endpoints;
use find::{Found, Trouble};
use kubectl::{AgentPod, Kubectl};
pub(super) use metadata::{agents as metadata, served};
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
        || args.daemon_set.is_some()
        || args.namespace.is_some()
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

/// What is asked and awaited.
struct Cluster {
    kubectl: Kubectl,
    runtime: Runtime,
}

impl Cluster {
    fn new(args: &ClusterArgs) -> io::Result<Self> {
        let patience = Duration::from_secs(args.timeout);
        Ok(Self {
            kubectl: Kubectl::new(args.context.clone(), patience),
            runtime: Builder::new_current_thread().enable_all().build()?,
        })
    }

    fn find(&self, args: &ClusterArgs) -> Result<Found, Trouble> {
        self.runtime.block_on(find::find(&self.kubectl, args))
    }

    /// Does something for every agent, some at a time; the results in the agents' order.
    fn each<'a, T, F: Future<Output = T>>(
        &'a self,
        agents: &'a [AgentPod],
        work: impl Fn(&'a Kubectl, &'a AgentPod) -> F,
    ) -> Vec<T> {
        let work = stream::iter(agents)
            .map(|agent| work(&self.kubectl, agent))
            .buffered(AT_ONCE);
        self.runtime.block_on(work.collect())
    }
}

/// Asks every agent that is meant with the same words, and reads what each says as JSON. Codes of `fine` are no errors.
fn ask<T: DeserializeOwned>(
    args: &ClusterArgs,
    words: &[&str],
    fine: &[i32],
) -> Result<Vec<Row<T>>, Failure> {
    let cluster = Cluster::new(args)?;
    let found = cluster.find(args)?;
    Ok(cluster.each(&found.agents, async |kubectl, agent| Row {
        node: agent.node.clone(),
        pod: agent.to_string(),
        answer: match kubectl.json(agent, words, fine).await {
            Ok(said) => Answer::Said(said),
            Err(error) => Answer::Error(error),
        },
    }))
}

/// 0 if every node answered, else 2; the reasons go to standard error.
fn outcome<T>(rows: &[Row<T>]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for row in rows {
        if let Err(error) = row.said() {
            say!(
                "error: node {} does not answer: {}\n  {}",
                row.node,
                Plain(error),
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
            })
            .collect();
        let cluster = Cluster::new(&ClusterArgs::default()).unwrap();
        let names = cluster.each(&agents, async |_, agent| agent.node.clone());
        let expect: Vec<String> = agents.iter().map(|agent| agent.node.clone()).collect();
        assert_eq!(names, expect);
        assert!(cluster.each(&[], async |_, _| ()).is_empty());
    }
}
