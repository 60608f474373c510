//! kubectl, with the user's `KUBECONFIG`.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// kubectl.
pub struct Kubectl;

impl Kubectl {
    /// Runs it, and returns what it prints.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        self.feed(words, None)
    }

    /// Runs it and reads what it prints as JSON.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let mut all = words.to_vec();
        all.extend(["-o", "json"]);
        serde_json::from_str(&self.run(&all)?).context("kubectl prints JSON")
    }

    /// Applies objects.
    pub fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.feed(&["apply", "-f", "-"], Some(&list.to_string()))?;
        Ok(())
    }

    fn feed(&self, words: &[&str], input: Option<&str>) -> Result<String> {
        let shown = words.join(" ");
        let mut child = Command::new("kubectl")
            .args(words)
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run kubectl")?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(input.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "kubectl {shown}: {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
