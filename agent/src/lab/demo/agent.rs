//! The agent of a demo: started, awaited, asked, ended.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::{net::UnixStream, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::super::{Lab, interrupt, names, spec, state};

/// How long the agent may take until it is ready, and until it has ended.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at something that gives no event.
const PAUSE: Duration = Duration::from_millis(20);
/// How much of its log is shown when it fails.
const LOG_LINES: usize = 15;

/// An agent in a lab. Dropped, it is killed; what it left in the kernel goes with the lab.
pub(super) struct Agent {
    child: Option<Child>,
    binary: PathBuf,
    /// Flags that `agent` and `detach` share: where it is.
    place: Vec<OsString>,
    folder: PathBuf,
    log: PathBuf,
}

impl Agent {
    /// Starts it on the lab's node, in the cgroup of what is no pod.
    pub(super) fn start(lab: &mut Lab, directory: &Path, keep: bool) -> Result<Self> {
        let name = lab.name().to_owned();
        let folder = state::folder(&name);
        let log = folder.join("agent.log");
        let place: Vec<OsString> = vec![
            "--netns".into(),
            names::node_netns(&name).into(),
            "--cgroup-root".into(),
            names::pods_cgroup(&name)?.into(),
            "--bpffs".into(),
            state::bpffs(&name).into(),
            "--run-dir".into(),
            folder.clone().into(),
        ];
        let output =
            File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let binary = lab.state().binary.clone();
        let mut command = Command::new(&binary);
        command
            .args(["lab", "enter", "--cgroup"])
            .arg(names::host_cgroup(&name)?);
        if !keep {
            command.arg("--die-with-parent");
        }
        command.arg("--").arg(&binary).arg("agent").args(&place);
        command.arg("--node-cgroup").arg(names::host_cgroup(&name)?);
        command.args([
            "--netns-prefix",
            &names::netns_prefix(&name),
            "--http",
            "127.0.0.1:0",
            "--manifests",
        ]);
        command.arg(directory.join(spec::MANIFESTS));
        let errors = output.try_clone().context("cannot share the agent's log")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let pid = child.id();
        let agent = Self {
            child: Some(child),
            binary,
            place,
            folder,
            log,
        };
        lab.add_companion(pid)?;
        Ok(agent)
    }

    /// Waits until it says that everything is in force.
    pub(super) fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            interrupt::check()?;
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait().context("cannot look after the agent")?
            {
                bail!("the agent ended ({status}):\n{}", self.last_words());
            }
            // It is not there at first, and then not ready.
            let not_yet = match self.get("/readyz") {
                Ok((200, _)) => return Ok(()),
                Ok((status, body)) => format!("{status}: {}", body.trim()),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() > deadline {
                bail!(
                    "the agent is not ready after {LIMIT:?} ({not_yet}):\n{}",
                    self.last_words()
                );
            }
            thread::sleep(PAUSE);
        }
    }

    /// Asks it something over its socket: status and body.
    pub(super) fn get(&self, path: &str) -> Result<(u16, String)> {
        let socket = self.folder.join("agent.sock");
        let say = || format!("GET {path} on {}", socket.display());
        let mut stream = UnixStream::connect(&socket).with_context(say)?;
        stream.set_read_timeout(Some(LIMIT)).with_context(say)?;
        // Version 1.0: the answer ends with the connection, and comes in one piece.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: ringfence\r\n\r\n").with_context(say)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).with_context(say)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(say)?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Ok((
            status.with_context(|| format!("{}: answered {head:?}", say()))?,
            body.to_owned(),
        ))
    }

    /// Ends it and takes its enforcement off the lab.
    pub(super) fn detach(mut self) -> Result<()> {
        if let Some(child) = &mut self.child {
            let pid = child
                .id()
                .try_into()
                .context("a process number is too large")?;
            kill(Pid::from_raw(pid), Signal::SIGTERM).context("cannot end the agent")?;
            let deadline = Instant::now() + LIMIT;
            while child
                .try_wait()
                .context("cannot look after the agent")?
                .is_none()
            {
                if Instant::now() > deadline {
                    bail!(
                        "the agent does not end after {LIMIT:?}:\n{}",
                        self.last_words()
                    );
                }
                thread::sleep(PAUSE);
            }
        }
        self.child = None;
        let output = Command::new(&self.binary)
            .arg("detach")
            .args(&self.place)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.binary.display()))?;
        if !output.status.success() {
            bail!(
                "`ringfence detach` failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// Lets it outlive the demo.
    pub(super) fn keep(mut self) {
        self.child = None;
    }

    /// The end of its log.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines
            .get(lines.len().saturating_sub(LOG_LINES)..)
            .unwrap_or_default()
            .join("\n")
    }
}

// === impl Drop for Agent ===

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error means that it has ended.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
