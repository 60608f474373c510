//! kubectl, as far as asking agents takes it.
//!
//! **Invariant.** Whatever runs at the other end: an answer ends after a time and after so many bytes.

use std::{
    fmt, io,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::cli::{
    daemon_set::{CONTAINER, PROGRAM},
    failure::Failure,
};

/// Most of one answer; all pods of a large cluster are about 50 MiB.
const MOST: u64 = 256 << 20;
/// Most of what is said about what went wrong.
const MOST_WORDS: u64 = 64 << 10;

/// kubectl with the context that was asked for; `KUBECONFIG` reaches it by itself.
#[derive(Clone, Debug)]
pub(super) struct Kubectl {
    context: Option<String>,
    patience: Duration,
}

/// An agent's pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgentPod {
    pub namespace: String,
    pub name: String,
    pub node: String,
}

impl fmt::Display for AgentPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Kubectl {
    pub(super) fn new(context: Option<String>, patience: Duration) -> Self {
        Self { context, patience }
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
    pub(super) async fn output(&self, words: &[&str]) -> Result<Vec<u8>, Failure> {
        self.run(self.command(words), &[]).await.map_err(|reason| {
            Failure::new(format!("kubectl {} failed: {reason}", words.join(" ")))
                .help("does `kubectl get pods` work with this KUBECONFIG and --context?")
        })
    }

    /// What kubectl prints, as JSON.
    pub(super) async fn object(&self, words: &[&str]) -> Result<Value, Failure> {
        let bytes = self.output(words).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(format!(
                "kubectl {} printed no JSON: {error}",
                words.join(" ")
            ))
        })
    }

    /// What an agent's pod says to `ringfence WORDS`, as JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        agent: &AgentPod,
        words: &[&str],
        fine: &[i32],
    ) -> Result<T, String> {
        let bytes = self.bytes(agent, words, fine).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            format!("its answer cannot be read: {error}; is it of another version?")
        })
    }

    /// What an agent's pod prints to `ringfence WORDS`.
    pub(super) async fn bytes(
        &self,
        agent: &AgentPod,
        words: &[&str],
        fine: &[i32],
    ) -> Result<Vec<u8>, String> {
        self.run(self.exec(agent, words), fine).await
    }

    async fn run(&self, command: Command, fine: &[i32]) -> Result<Vec<u8>, String> {
        let ended = tokio::time::timeout(self.patience, finish(command));
        let (status, stdout, stderr) = match ended.await {
            Ok(ended) => ended.map_err(|error| {
                format!("cannot run kubectl: {error}; install it, or ask this machine's own agent: `ringfence status`")
            })?,
            Err(_elapsed) => {
                return Err(format!(
                    "no answer within {} s (--timeout)",
                    self.patience.as_secs()
                ));
            }
        };
        if stdout.len() as u64 > MOST {
            return Err(format!("it says more than {} MiB", MOST >> 20));
        }
        let fine = status.code().is_some_and(|code| fine.contains(&code));
        if status.success() || fine {
            return Ok(stdout);
        }
        let text = String::from_utf8_lossy(&stderr);
        let first = text.lines().find(|line| !line.trim().is_empty());
        Err(first.map_or_else(|| status.to_string(), str::to_owned))
    }
}

/// Runs it to its end, and no longer than somebody waits.
async fn finish(command: Command) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let mut child = tokio::process::Command::from(command)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::Error::other("it has no output"));
    };
    let (status, stdout, stderr) =
        tokio::try_join!(child.wait(), start(stdout, MOST), start(stderr, MOST_WORDS))?;
    Ok((status, stdout, stderr))
}

/// The start of what it says, one byte too many if there is more; who says more finds nobody listening.
async fn start(output: impl AsyncRead + Unpin, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    output.take(most + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubectl(patience: Duration) -> Kubectl {
        Kubectl::new(Some("prod".to_owned()), patience)
    }

    #[test]
    fn the_context_comes_before_the_verb() {
        let words: Vec<String> = kubectl(Duration::MAX)
            .command(&["get", "pods"])
            .get_args()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        assert_eq!(words, ["--context", "prod", "get", "pods"]);
    }

    #[tokio::test]
    async fn who_never_ends_is_left_and_who_never_stops_talking_too() {
        let mut never = Command::new("sleep");
        never.arg("1000");
        let reason = kubectl(Duration::from_millis(10)).run(never, &[]).await;
        assert!(reason.unwrap_err().contains("--timeout"));

        let mut babbles = Command::new("cat");
        babbles.arg("/dev/zero");
        let reason = kubectl(Duration::MAX).run(babbles, &[]).await;
        assert_eq!(reason, Err("it says more than 256 MiB".to_owned()));
    }
}
