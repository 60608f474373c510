//! A lab that is up.

use std::{
    io::Write as _,
    net::IpAddr,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use nix::mount::{MsFlags, mount};
use serde::de::DeserializeOwned;

use super::{
    cgroup, down, interrupt, names, netns,
    plan::{links, plan},
    pod_process,
    probe::Actor,
    process::ProcessId,
    spec::LabSpec,
    start::{start, wait_until_ready},
    state::{self, ActorState, ProcessState, State},
    topology,
    wire::{self, Command, ProcessConfig, ServedList, Stream, StreamReport},
};

/// How long a pod process may take to obey.
const CONTROL_LIMIT: Duration = Duration::from_secs(30);

/// A lab. The one that made it takes it down when dropped, unless told to [`Lab::keep`] it.
#[derive(Debug)]
pub struct Lab {
    state: State,
    children: Vec<Child>,
    /// True if dropping it takes it down.
    owned: bool,
}

impl Lab {
    /// Builds a lab. What a dead lab of this name left is removed first; a living one is an error.
    pub fn up(spec: &LabSpec) -> Result<Self> {
        spec.check()?;
        let (state, configs) = plan(spec)?;
        let living = |name: &str| State::load(name).is_some_and(|state| state.is_alive());
        if living(&spec.name) {
            bail!(
                "a lab {0:?} is up; `ringfence lab down --name {0}` removes it",
                spec.name
            );
        }
        if !down::leftovers(&spec.name)?.is_empty() {
            down::down_by_name(&spec.name)?;
        }
        if !state.claim()? {
            bail!("somebody else is making a lab {:?} right now", spec.name);
        }
        let mut lab = Self {
            state,
            children: Vec::new(),
            owned: true,
        };
        lab.build(spec, &configs)?;
        Ok(lab)
    }

    /// A lab that somebody else made. Dropping it does nothing.
    pub fn open(name: &str) -> Result<Self> {
        Ok(Self {
            state: State::of_running(name)?,
            children: Vec::new(),
            owned: false,
        })
    }

    /// What is known about it.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Lets it outlive the value and the process.
    pub fn keep(mut self) -> Result<()> {
        for child in &mut self.children {
            if let Some(lifeline) = &mut child.stdin {
                writeln!(lifeline, "{}", pod_process::KEEP)
                    .context("cannot tell a process to stay")?;
            }
        }
        self.owned = false;
        Ok(())
    }

    /// Takes it down, whoever made it.
    pub fn down(mut self) -> Result<()> {
        self.owned = false;
        self.take_down()
    }

    /// Takes the lab of this name down, or what is left of it. Nothing there is no error.
    pub fn down_by_name(name: &str) -> Result<()> {
        down::down_by_name(name)
    }

    /// Everybody who can send, and their addresses.
    pub fn actors(&self) -> impl Iterator<Item = (Actor, &[IpAddr])> {
        self.state.actors.iter().map(|(name, actor)| {
            let Ok(parsed) = name.parse();
            (parsed, actor.addresses.as_slice())
        })
    }

    /// The addresses of somebody.
    pub fn addresses(&self, actor: &Actor) -> Result<&[IpAddr]> {
        Ok(&self.actor(actor)?.addresses)
    }

    /// Starts a stream of numbered messages.
    pub fn stream(&self, from: &Actor, mut stream: Stream) -> Result<()> {
        let (control, source) = self.sender(from, stream.to)?;
        stream.from = stream.from.or(source);
        let _: serde_json::Value = wire::command(control, &Command::Stream(stream), CONTROL_LIMIT)?;
        Ok(())
    }

    /// How a stream fares.
    pub fn stream_report(&self, from: &Actor, id: &str) -> Result<StreamReport> {
        self.ask(from, &Command::Report { id: id.to_owned() })
    }

    /// Ends a stream.
    pub fn stream_stop(&self, from: &Actor, id: &str) -> Result<StreamReport> {
        self.ask(from, &Command::Stop { id: id.to_owned() })
    }

    /// Who reached somebody, in the server's own words. Outside hosts share one record.
    pub fn served(&self, actor: &Actor) -> Result<ServedList> {
        self.ask(actor, &Command::Served {})
    }

    /// Runs a program in somebody's network namespace and cgroup and waits for it.
    pub fn exec<S: AsRef<std::ffi::OsStr>>(
        &self,
        actor: &Actor,
        program: impl IntoIterator<Item = S>,
    ) -> Result<std::process::Output> {
        std::process::Command::new(&self.state.binary)
            .args(["lab", "exec", "--name", self.name()])
            .arg(actor.to_string())
            .arg("--")
            .args(program)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.state.binary.display()))
    }

    /// Records a process that is to end with the lab.
    pub fn add_companion(&mut self, pid: u32) -> Result<()> {
        let id = pid.try_into().ok().and_then(ProcessId::of);
        self.state
            .companions
            .push(id.with_context(|| format!("the process {pid} has ended"))?);
        self.state.save()
    }

    /// The control socket and the source address for sending to an address.
    pub(super) fn sender(&self, from: &Actor, to: IpAddr) -> Result<(&Path, Option<IpAddr>)> {
        let actor = self.actor(from)?;
        let control = &self.process(actor)?.control;
        // The node chooses by its routes, as any program on it does.
        if *from == Actor::Node {
            return Ok((control, None));
        }
        let source = actor
            .addresses
            .iter()
            .copied()
            .find(|own| own.is_ipv4() == to.is_ipv4());
        let source =
            source.with_context(|| format!("{from} has no address to send to {to} from"))?;
        Ok((control, Some(source)))
    }

    fn ask<T: DeserializeOwned>(&self, actor: &Actor, command: &Command) -> Result<T> {
        wire::command(
            &self.process(self.actor(actor)?)?.control,
            command,
            CONTROL_LIMIT,
        )
    }

    fn actor(&self, actor: &Actor) -> Result<&ActorState> {
        self.state.actor(actor)
    }

    fn process(&self, actor: &ActorState) -> Result<&ProcessState> {
        self.state.process(actor)
    }

    fn build(&mut self, spec: &LabSpec, configs: &[ProcessConfig]) -> Result<()> {
        let bpffs = state::bpffs(&spec.name);
        mount(
            Some("bpf"),
            &bpffs,
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| {
            format!(
                "cannot mount a bpffs at {} (root is needed)",
                bpffs.display()
            )
        })?;
        for process in &self.state.processes {
            interrupt::check()?;
            cgroup::create(&process.cgroup)?;
            netns::create(&process.netns)?;
            netns::inside(&process.netns, topology::prepare)?;
        }
        topology::lay(&names::node_netns(&spec.name), &spec.node, &links(spec))?;
        interrupt::check()?;
        for (number, config) in configs.iter().enumerate() {
            let log = state::log_folder(&state::folder(&spec.name)).join(number.to_string());
            let child = start(&spec.binary, config, &log)?;
            self.children.push(child);
        }
        for (number, child) in self.children.iter_mut().enumerate() {
            interrupt::check()?;
            let log = state::log_folder(&state::folder(&spec.name)).join(number.to_string());
            if let Some(process) = self.state.processes.get_mut(number) {
                wait_until_ready(child, &log)
                    .with_context(|| format!("the process of {} did not start", process.netns))?;
                process.id = child.id().try_into().ok().and_then(ProcessId::of);
            }
        }
        self.state.save()
    }

    fn take_down(&mut self) -> Result<()> {
        for child in &mut self.children {
            // An error means that it has ended.
            drop(child.kill());
        }
        let result = down::down_by_name(&self.state.name);
        for mut child in self.children.drain(..) {
            drop(child.wait());
        }
        result
    }
}

// === impl Drop for Lab ===

impl Drop for Lab {
    fn drop(&mut self) {
        if self.owned
            && let Err(error) = self.take_down()
        {
            eprintln!("{error:#}");
        }
    }
}

impl State {
    pub(super) fn actor(&self, actor: &Actor) -> Result<&ActorState> {
        self.actors.get(&actor.to_string()).with_context(|| {
            let known: Vec<&str> = self.actors.keys().map(String::as_str).collect();
            format!(
                "the lab {} has no {actor}; it has {}",
                self.name,
                known.join(", ")
            )
        })
    }

    pub(super) fn process(&self, actor: &ActorState) -> Result<&ProcessState> {
        self.processes
            .get(actor.process)
            .context("the lab's state names a process that it does not have")
    }
}
