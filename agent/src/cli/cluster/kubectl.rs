//! kubectl, as far as asking agents takes it.

use std::{
    fmt, io,
    process::{Command, Output, Stdio},
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cli::failure::Failure;

/// The agents' pods by their labels, whatever the release is called.
const SELECTOR: &str = "app.kubernetes.io/name=ringfence";
/// The container that the agent is in, and the program there.
const CONTAINER: &str = "agent";
const PROGRAM: &str = "/usr/bin/ringfence";

/// kubectl with the context that was asked for; `KUBECONFIG` reaches it by itself.
#[derive(Clone, Debug)]
pub(super) struct Kubectl {
    context: Option<String>,
}

/// An agent's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgentPod {
    pub namespace: String,
    pub name: String,
    pub node: String,
    pub ready: bool,
}

impl fmt::Display for AgentPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Kubectl {
    pub(super) fn new(context: Option<String>) -> Self {
        Self { context }
    }

    /// `kubectl WORDS`, not run yet.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        if let Some(context) = &self.context {
            command.arg("--context").arg(context);
        }
        command.args(words).stdin(Stdio::null());
        command
    }

    /// `ringfence WORDS` in the agent's pod, not run yet.
    pub(super) fn exec(&self, agent: &AgentPod, words: &[&str]) -> Command {
        let mut all = vec![
            "exec",
            "-n",
            &agent.namespace,
            &agent.name,
            "-c",
            CONTAINER,
            "--",
        ];
        all.push(PROGRAM);
        all.extend(words);
        self.command(&all)
    }

    /// What kubectl prints.
    pub(super) fn output(&self, words: &[&str]) -> Result<Vec<u8>, Failure> {
        let output = self
            .command(words)
            .output()
            .map_err(|error| no_kubectl(&error))?;
        printed(output, &[]).map_err(|reason| {
            Failure::new(format!("kubectl {} failed: {reason}", words.join(" ")))
                .help("does `kubectl get pods` work with this KUBECONFIG and --context?")
        })
    }

    /// The agents of all nodes, sorted by node.
    pub(super) fn agents(&self) -> Result<Vec<AgentPod>, Failure> {
        let words = [
            "get",
            "pods",
            "--all-namespaces",
            "-l",
            SELECTOR,
            "-o",
            "json",
        ];
        let bytes = self.output(&words)?;
        let list: Value = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::new(format!("kubectl printed no JSON: {error}")))?;
        let agents = agents(&list);
        if agents.is_empty() {
            return Err(Failure::new("no agent's pod is in this cluster")
                .at(format!("kubectl get pods --all-namespaces -l {SELECTOR}"))
                .help("install Ringfence, or choose another cluster with --context or KUBECONFIG; without --all-nodes this machine's own agent is asked"));
        }
        Ok(agents)
    }

    /// What an agent's pod says to `ringfence WORDS`, as JSON.
    pub(super) fn json<T: DeserializeOwned>(
        &self,
        agent: &AgentPod,
        words: &[&str],
        fine: &[i32],
    ) -> Result<T, String> {
        let bytes = self.bytes(agent, words, fine)?;
        serde_json::from_slice(&bytes).map_err(|error| {
            format!("its answer cannot be read: {error}; is it of another version?")
        })
    }

    /// What an agent's pod prints to `ringfence WORDS`.
    pub(super) fn bytes(
        &self,
        agent: &AgentPod,
        words: &[&str],
        fine: &[i32],
    ) -> Result<Vec<u8>, String> {
        let output = self
            .exec(agent, words)
            .output()
            .map_err(|error| no_kubectl(&error).to_string())?;
        printed(output, fine)
    }
}

fn no_kubectl(error: &io::Error) -> Failure {
    Failure::new(format!("cannot run kubectl: {error}"))
        .help("install kubectl, or ask this machine's own agent: `ringfence status`")
}

/// Standard output, or the first line of what was wrong.
fn printed(output: Output, fine: &[i32]) -> Result<Vec<u8>, String> {
    let code = output.status.code();
    if output.status.success() || code.is_some_and(|code| fine.contains(&code)) {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let first = text.lines().find(|line| !line.trim().is_empty());
    Err(first.map_or_else(|| output.status.to_string(), str::to_owned))
}

fn agents(list: &Value) -> Vec<AgentPod> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut agents: Vec<AgentPod> = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|pod| pod["spec"]["nodeName"].is_string())
        .map(|pod| AgentPod {
            namespace: text(&pod["metadata"]["namespace"]),
            name: text(&pod["metadata"]["name"]),
            node: text(&pod["spec"]["nodeName"]),
            ready: pod["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|it| it["type"] == "Ready" && it["status"] == "True"),
        })
        .collect();
    agents.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
    agents
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_without_a_node_have_no_agent_yet() {
        let pod = |name: &str, node: Value, ready: &str| {
            json!({"metadata": {"namespace": "s", "name": name}, "spec": {"nodeName": node},
                   "status": {"conditions": [{"type": "Ready", "status": ready}]}})
        };
        let list = json!({"items": [
            pod("b", json!("w2"), "False"), pod("c", Value::Null, "False"), pod("a", json!("w1"), "True"),
        ]});
        let found = agents(&list);
        let rows: Vec<(&str, &str, bool)> = found
            .iter()
            .map(|it| (it.node.as_str(), it.name.as_str(), it.ready))
            .collect();
        assert_eq!(rows, [("w1", "a", true), ("w2", "b", false)]);
        assert_eq!(found[0].to_string(), "s/a");
    }

    #[test]
    fn the_context_comes_before_the_verb() {
        let kubectl = Kubectl::new(Some("prod".to_owned()));
        let words: Vec<String> = kubectl
            .command(&["get", "pods"])
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        assert_eq!(words, ["--context", "prod", "get", "pods"]);
    }
}
