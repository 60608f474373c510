//! Starting a lab's processes.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{pod_process, wire::ProcessConfig};

/// Starts a process. Its standard input, which the child holds, is its lifeline.
pub(super) fn start(binary: &Path, config: &ProcessConfig, log: &Path) -> Result<Child> {
    let errors = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
    let mut child = Command::new(binary)
        .args(["lab", "pod"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        // Ctrl-C in a terminal is for whoever made the lab, who takes it down in order.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let mut config = serde_json::to_string(config).context("a configuration has no JSON form")?;
    config.push('\n');
    let written = child
        .stdin
        .as_mut()
        .map(|input| input.write_all(config.as_bytes()));
    // A process that ended already says why in its log.
    drop(written);
    Ok(child)
}

/// Waits until everything listens in the process, or it ends.
pub(super) fn wait_until_ready(child: &mut Child, log: &Path) -> Result<()> {
    let output = child
        .stdout
        .take()
        .context("the process's output was taken")?;
    let mut line = String::new();
    BufReader::new(output)
        .read_line(&mut line)
        .context("cannot read the process's output")?;
    if line.trim_end() == pod_process::READY {
        return Ok(());
    }
    let said = fs::read_to_string(log).unwrap_or_default();
    bail!("{}", said.trim())
}
