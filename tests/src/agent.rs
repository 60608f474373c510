//! The real agent against a lab: the binary as its users run it, on manifests that a test edits.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use ringfence_agent::lab::{Lab, names, state};

use crate::lab::{binary, eventually};

/// An agent, running or not, and its manifests if it has any.
pub struct Agent {
    lab: String,
    /// Flags that name a cluster; empty: its manifests are enforced.
    cluster: Vec<String>,
    child: Option<Child>,
    directory: tempfile::TempDir,
    more: Vec<String>,
    /// Words before the agent's command, which enter the node's namespace in its stead.
    under: Vec<String>,
}

impl Agent {
    /// Starts one on these manifests, with these flags besides the usual, and waits until everything is in force.
    ///
    /// # Panics
    ///
    /// If it does not come so far.
    #[must_use]
    pub fn start(lab: &Lab, manifests: &str, more: &[&str]) -> Self {
        let mut agent = Self::prepare(lab, manifests, more);
        agent.spawn();
        agent.wait_until_ready();
        agent
    }

    /// The same without starting it.
    ///
    /// # Panics
    ///
    /// If the temporary directory cannot be written.
    #[must_use]
    pub fn prepare(lab: &Lab, manifests: &str, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory can be written");
        let agent = Self {
            lab: lab.name().to_owned(),
            cluster: Vec::new(),
            child: None,
            directory,
            more: more.iter().map(|&word| word.to_owned()).collect(),
            under: Vec::new(),
        };
        fs::create_dir(agent.manifests()).expect("just made");
        agent.edit("manifests.yaml", manifests);
        agent
    }

    /// One on a cluster, which these flags name, not started yet.
    ///
    /// # Panics
    ///
    /// If the temporary directory cannot be written.
    #[must_use]
    pub fn of_cluster(lab: &Lab, cluster: &[&str], more: &[&str]) -> Self {
        let mut agent = Self::prepare(lab, "", more);
        agent.cluster = cluster.iter().map(|&word| word.to_owned()).collect();
        agent.cluster.push("--state-dir".to_owned());
        agent.cluster.push(agent.state_dir().display().to_string());
        agent
    }

    /// Where an agent of a cluster keeps its last known state.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Starts one that has no other privileges than these (`net_admin` and so on), and waits until everything is in force.
    ///
    /// # Panics
    ///
    /// If it does not come so far.
    #[must_use]
    pub fn start_with_capabilities(
        lab: &Lab,
        manifests: &str,
        more: &[&str],
        capabilities: &[&str],
    ) -> Self {
        let mut agent = Self::prepare(lab, manifests, more);
        let set = capabilities
            .iter()
            .fold("-all".to_owned(), |set, name| set + ",+" + name);
        agent.under = vec![
            "nsenter".to_owned(),
            format!("--net=/run/netns/{}", names::node_netns(lab.name())),
            "setpriv".to_owned(),
            format!("--bounding-set={set}"),
            format!("--inh-caps={set}"),
        ];
        agent.spawn();
        agent.wait_until_ready();
        agent
    }

    /// Starts one in a mount namespace of its own, where `from` is mounted at `to` too, and waits until everything is in force.
    ///
    /// # Panics
    ///
    /// If it does not come so far.
    #[must_use]
    pub fn start_with_mount(
        lab: &Lab,
        manifests: &str,
        more: &[&str],
        (from, to): (&Path, &Path),
    ) -> Self {
        let mut agent = Self::prepare(lab, manifests, more);
        let enter = format!("--net=/run/netns/{}", names::node_netns(lab.name()));
        let mount = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
        let words = [
            "nsenter",
            &enter,
            "unshare",
            "--mount",
            "--propagation",
            "slave",
            "sh",
            "-c",
            mount,
            "sh",
        ];
        let paths = [from, to].map(|path| path.display().to_string());
        agent.under = words.map(str::to_owned).into_iter().chain(paths).collect();
        agent.spawn();
        agent.wait_until_ready();
        agent
    }

    /// Directory of the manifests.
    #[must_use]
    pub fn manifests(&self) -> PathBuf {
        self.directory.path().join("manifests")
    }

    /// Writes a manifest, as an editor does: beside it, then over it.
    ///
    /// # Panics
    ///
    /// If the temporary directory cannot be written.
    pub fn edit(&self, file: &str, text: &str) {
        let beside = self.directory.path().join(file);
        fs::write(&beside, text).expect("the temporary directory can be written");
        fs::rename(beside, self.manifests().join(file)).expect("same file system");
    }

    /// Directory of its socket.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        state::folder(&self.lab)
    }

    fn place(&self) -> [String; 6] {
        [
            "--netns".to_owned(),
            names::node_netns(&self.lab),
            "--bpffs".to_owned(),
            state::bpffs(&self.lab).display().to_string(),
            "--run-dir".to_owned(),
            self.run_dir().display().to_string(),
        ]
    }

    /// The agent's command line, as far as a second one must share it.
    ///
    /// # Panics
    ///
    /// If the machine has no cgroup2 hierarchy.
    #[must_use]
    pub fn command(&self) -> Command {
        let place = self.place();
        let (mut command, place) = match self.under.as_slice() {
            [] => (Command::new(binary()), &place[..]),
            [program, words @ ..] => {
                let mut command = Command::new(program);
                command.args(words).arg(binary());
                // The first two are the namespace, which is entered already.
                (command, &place[2..])
            }
        };
        command
            .arg("agent")
            .args(place)
            .args(["--netns-prefix", &names::netns_prefix(&self.lab)]);
        if !self.more.iter().any(|word| word == "--http") {
            command.args(["--http", "off"]);
        }
        if self.cluster.is_empty() {
            command.arg("--manifests").arg(self.manifests());
        } else {
            command.args(&self.cluster);
        }
        if !self.more.iter().any(|word| word == "--cgroup-root") {
            let root = names::pods_cgroup(&self.lab).expect("cgroup2");
            command.arg("--cgroup-root").arg(root);
        }
        let host = names::host_cgroup(&self.lab).expect("cgroup2");
        command.arg("--node-cgroup").arg(host);
        command.args(&self.more);
        command
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If the binary cannot be run.
    pub fn spawn(&mut self) {
        let log = File::create(self.log()).expect("the temporary directory can be written");
        let errors = log.try_clone().expect("a descriptor");
        let child = self
            .command()
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn();
        self.child = Some(child.expect("the binary is there"));
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// What it said since it was started.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Waits until everything is in force. A container runtime may begin to ask later.
    ///
    /// # Panics
    ///
    /// If it ends instead.
    pub fn wait_until_ready(&mut self) {
        eventually("the agent is ready", || {
            if let Some(status) = self.child.as_mut()?.try_wait().expect("a child") {
                panic!("the agent has ended ({status}): {}", self.said());
            }
            get(&self.run_dir(), "/readyz").filter(|answer| {
                let mut lines = answer.lines();
                lines
                    .next()
                    .is_some_and(|line| line.starts_with("HTTP/1.0 "))
                    && lines.all(|line| {
                        !line.starts_with("[-]") || line.starts_with("[-] the container runtime")
                    })
            })
        });
    }

    /// True until it was killed or stopped.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Kills it as a crash would.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("a child");
        child.wait().expect("a child");
    }

    /// Asks it to stop, and waits until it has; true if it says that all is well.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn stop(&mut self) -> bool {
        let mut child = self.child.take().expect("it runs");
        let pid = i32::try_from(child.id()).expect("a process id");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGTERM)
            .expect("a child");
        child.wait().expect("a child").success()
    }

    /// Runs another verb of the binary against it.
    ///
    /// # Panics
    ///
    /// If the binary cannot be run.
    #[must_use]
    pub fn ringfence(&self, words: &[&str]) -> Output {
        Command::new(binary())
            .args(words)
            .arg("--run-dir")
            .arg(self.run_dir())
            .output()
            .expect("the binary is there")
    }

    /// What a verb prints as JSON.
    ///
    /// # Panics
    ///
    /// If it prints none.
    #[must_use]
    pub fn json(&self, words: &[&str]) -> serde_json::Value {
        let output = self.ringfence(&[words, &["-o", "json"]].concat());
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{words:?}: {error}: {output:?}"))
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Where its pins are.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        state::bpffs(&self.lab)
    }

    /// Number of the state in force.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.json(&["status"])["revision"]
            .as_u64()
            .unwrap_or_default()
    }

    /// Waits until a state after this one is in force.
    pub fn wait_beyond(&self, revision: u64) {
        eventually("a new state", || (self.revision() > revision).then_some(()));
    }

    /// Removes all enforcement.
    #[must_use]
    pub fn detach(&self) -> Output {
        self.detach_with(&[])
    }

    /// The same with more flags.
    ///
    /// # Panics
    ///
    /// If the binary cannot be run.
    #[must_use]
    pub fn detach_with(&self, more: &[&str]) -> Output {
        let output = self.detach_command().args(more).output();
        output.expect("the binary is there")
    }

    /// What removes it, not run yet.
    #[must_use]
    pub fn detach_command(&self) -> Command {
        let mut command = Command::new(binary());
        command.arg("detach").args(self.place());
        command
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the agent said:\n{}", self.said());
        }
        if let Some(mut child) = self.child.take() {
            // It has ended already, or it ends now.
            let _: std::io::Result<()> = child.kill();
            let _: std::io::Result<_> = child.wait();
        }
    }
}

/// Asks an agent over its socket; head and body of the answer, `None` if nobody answers.
#[must_use]
pub fn get(run_dir: &Path, path: &str) -> Option<String> {
    let mut stream = UnixStream::connect(run_dir.join("agent.sock")).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: ringfence\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
