//! The cluster under test, and what is asked of it again and again.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};
use serde_json::Value;

use super::{Args, kubectl::Kubectl, plugin};
use crate::{
    build, chart,
    image::{self, Name},
};

/// The cluster under test.
pub struct Cluster {
    /// The way to its API.
    pub kubectl: Kubectl,
    /// The binary under test, built for this machine, as kubectl's plugin.
    pub plugin: PathBuf,
    /// The image of the pods that talk to each other.
    pub agnhost: String,
    /// Restarts a node.
    pub restart_node: Option<String>,
    /// Stands before what is to run outside.
    pub outside: Option<String>,
    /// Another image of Ringfence that is on the nodes: what to upgrade to and back from.
    pub other: Option<Name>,
    /// The image under test.
    pub image: Name,
    /// How many pods begin with a forbidden connection.
    pub first: usize,
}

impl Cluster {
    /// Builds the binary for this machine.
    pub fn new(args: &Args) -> Result<Self> {
        build::all(false)?;
        Ok(Self {
            kubectl: Kubectl,
            plugin: plugin()?,
            agnhost: args.agnhost.clone(),
            restart_node: args.restart_node.clone(),
            outside: args.outside.clone(),
            other: args.other.clone(),
            image: args.tag.clone().unwrap_or_else(image::default_name),
            first: args.first,
        })
    }

    /// Names of the nodes.
    pub fn nodes(&self) -> Result<Vec<String>> {
        let nodes = self.kubectl.json(&["get", "nodes"])?;
        Ok(names(&nodes))
    }

    /// Waits until the agent of every node is there and ready.
    pub fn wait_for_agents(&self) -> Result<()> {
        self.kubectl.run(&[
            "-n",
            chart::NAMESPACE,
            "rollout",
            "status",
            "daemonset/ringfence",
            "--timeout=180s",
        ])?;
        Ok(())
    }

    /// What `kubectl ringfence WORDS -o json` says of every node.
    pub fn ringfence(&self, words: &[&str]) -> Result<Value> {
        Ok(serde_json::from_slice(&self.ask(words, "json")?)?)
    }

    /// What `kubectl ringfence observe WORDS` tells of every node.
    pub fn flows(&self, words: &[&str]) -> Result<Vec<Value>> {
        let mut all = vec!["observe"];
        all.extend(words);
        let lines = self.ask(&all, "jsonl")?;
        serde_json::Deserializer::from_slice(&lines)
            .into_iter()
            .map(|flow| Ok(flow?))
            .collect()
    }

    fn ask(&self, words: &[&str], format: &str) -> Result<Vec<u8>> {
        let output = Command::new(&self.plugin)
            .args(words)
            .args(["-o", format])
            .output()?;
        if !output.status.success() {
            bail!(
                "kubectl ringfence {}: {}: {}",
                words.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(output.stdout)
    }

    /// Runs a shell command of the user's with `{}` replaced.
    pub fn shell(command: &str, value: &str) -> Result<()> {
        let command = command.replace("{}", value);
        let output = Command::new("sh").args(["-c", &command]).output()?;
        if !output.status.success() {
            bail!(
                "`{command}` ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }
}

/// Names of the objects in a list.
pub fn names(list: &Value) -> Vec<String> {
    items(list)
        .iter()
        .filter_map(|it| it["metadata"]["name"].as_str().map(str::to_owned))
        .collect()
}

/// Elements of a list.
pub fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}
