//! Becoming another program in somebody's place.

use std::{
    convert::Infallible, ffi::OsString, os::unix::process::CommandExt as _, path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use nix::sys::{prctl, signal::Signal};

use super::{
    cgroup, netns,
    probe::Actor,
    state::{ProcessState, State},
};

/// Becomes a program in the network namespace and cgroup of `whom`: an actor, a pod's bare name if only one pod
/// has it, or `outside`. Without a program, a shell.
pub(super) fn exec(lab: &str, whom: &str, program: &[OsString]) -> Result<Infallible> {
    let state = State::of_running(lab)?;
    let process = find(&state, whom)?;
    cgroup::enter(&process.cgroup)?;
    netns::enter(&process.netns)?;
    let shell = [std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())];
    become_program(if program.is_empty() { &shell } else { program })
}

/// Becomes a program in a cgroup, which ends with its parent if that is wanted.
pub(super) fn enter(
    cgroup: &Path,
    die_with_parent: bool,
    program: &[OsString],
) -> Result<Infallible> {
    if die_with_parent {
        prctl::set_pdeathsig(Signal::SIGKILL)
            .context("cannot ask for a signal at the parent's end")?;
    }
    cgroup::enter(cgroup)?;
    become_program(program)
}

fn become_program(program: &[OsString]) -> Result<Infallible> {
    let Some((name, arguments)) = program.split_first() else {
        bail!("no program was named")
    };
    let error = Command::new(name).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", name.display()))
}

fn find<'a>(state: &'a State, whom: &str) -> Result<&'a ProcessState> {
    if whom == "outside" {
        let netns = super::names::outside_netns(&state.name);
        return state
            .processes
            .iter()
            .find(|process| process.netns == netns)
            .context("the lab has no outside");
    }
    let bare: Vec<&str> = state
        .actors
        .keys()
        .map(String::as_str)
        .filter(|name| name.split_once('/').is_some_and(|(_, pod)| pod == whom))
        .collect();
    let name = match bare.as_slice() {
        [only] if !state.actors.contains_key(whom) => *only,
        [_, _, ..] => bail!("{whom} may be {}; say which", bare.join(" or ")),
        _ => whom,
    };
    let Ok(actor) = name.parse::<Actor>();
    state.process(state.actor(&actor)?)
}
