//! Taking a lab down: by what it left, not by what somebody remembers.
//!
//! **Invariant.** Each step works whatever the others did and however far the lab had come up, and doing it
//! again is no error. What is not the lab's is not touched: processes are those in its cgroups and those it
//! recorded, the rest goes by the lab's names.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    mount::{MntFlags, umount2},
};

use super::{
    cgroup, names, netns,
    process::ProcessId,
    spec,
    state::{self, State},
};

/// How long killed processes may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Part of taking a lab down, by its name.
type Step = fn(&str) -> Result<()>;

/// Removes everything that a lab of this name has or left. Nothing there is no error.
pub(super) fn down_by_name(name: &str) -> Result<()> {
    spec::check_name(name)?;
    let steps: [(&str, Step); 6] = [
        ("its processes", kill_recorded),
        ("the pods' cgroups", |name| {
            cgroup_gone(names::pods_cgroup(name))
        }),
        ("the host's cgroup", |name| {
            cgroup_gone(names::host_cgroup(name))
        }),
        ("its mounts", unmount),
        ("its network namespaces", delete_netns),
        ("its folder", state::remove),
    ];
    let mut failures = Vec::new();
    for (what, step) in steps {
        // The record of processes must outlive a failure to end them.
        if let Err(error) = step(name) {
            failures.push(format!("{what}: {error:#}"));
        }
    }
    if !failures.is_empty() {
        bail!(
            "cannot take the lab {name} down wholly; `ringfence lab down --name {name}` tries again: {}",
            failures.join("; ")
        );
    }
    Ok(())
}

/// What a lab of this name has or left, in words; empty if nothing.
pub fn leftovers(name: &str) -> Result<Vec<String>> {
    spec::check_name(name)?;
    let mut found = Vec::new();
    for netns in netns::with_prefix(&names::netns_prefix(name))? {
        found.push(format!("network namespace {netns}"));
    }
    for cgroup in [names::pods_cgroup(name), names::host_cgroup(name)]
        .into_iter()
        .flatten()
    {
        if cgroup.exists() {
            found.push(format!("cgroup {}", cgroup.display()));
            found.extend(
                cgroup::processes(&cgroup)?
                    .into_iter()
                    .map(|pid| format!("process {pid}")),
            );
        }
    }
    let folder = state::folder(name);
    found.extend(
        mounts_below(&folder)?
            .into_iter()
            .map(|mount| format!("mount {mount}")),
    );
    if let Some(state) = State::load(name) {
        found.extend(
            state
                .ids()
                .filter(|id| id.is_alive())
                .map(|id| format!("process {}", id.pid)),
        );
    }
    if folder.exists() {
        found.push(format!("folder {}", folder.display()));
    }
    found.dedup();
    Ok(found)
}

fn kill_recorded(name: &str) -> Result<()> {
    let Some(state) = State::load(name) else {
        return Ok(());
    };
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let alive: Vec<ProcessId> = state.ids().filter(|id| id.is_alive()).collect();
        if alive.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "the processes {:?} do not end",
                alive.iter().map(|id| id.pid).collect::<Vec<_>>()
            );
        }
        alive.into_iter().for_each(ProcessId::kill);
        thread::sleep(Duration::from_millis(2));
    }
}

/// A machine without cgroup version 2 has no cgroup to remove.
fn cgroup_gone(path: Result<std::path::PathBuf>) -> Result<()> {
    path.map_or(Ok(()), |path| cgroup::delete(&path))
}

fn unmount(name: &str) -> Result<()> {
    // The last mounted first.
    for mount in mounts_below(&state::folder(name))?.iter().rev() {
        match umount2(mount.as_str(), MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot unmount {mount}")),
        }
    }
    Ok(())
}

fn delete_netns(name: &str) -> Result<()> {
    netns::with_prefix(&names::netns_prefix(name))?
        .iter()
        .try_for_each(|netns| netns::delete(netns))
}

/// Mount points below a folder, in the order in which they were mounted.
fn mounts_below(folder: &Path) -> Result<Vec<String>> {
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    Ok(mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| Path::new(point).starts_with(folder))
        .map(str::to_owned)
        .collect())
}
