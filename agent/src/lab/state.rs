//! What is known about a lab that is up, on disk for whoever comes later.
//!
//! `/run/ringfence/lab/NAME` has `state.json`, the control sockets in `s`, what processes said in `log`, and
//! a bpffs of the lab's own in `bpf`. The folder comes into being by a rename, with its state in it: of two who
//! make the same lab one fails.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{process::ProcessId, spec};

/// Where labs have their folders.
const ROOT: &str = "/run/ringfence/lab";

/// A lab that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Name.
    pub name: String,
    /// The `ringfence` binary.
    pub binary: PathBuf,
    /// Who made it.
    pub owner: ProcessId,
    /// Its processes: the node's, the outside's, one per pod.
    pub processes: Vec<ProcessState>,
    /// Everybody who can send, as an [`super::Actor`] is written.
    pub actors: BTreeMap<String, ActorState>,
    /// Further processes that end with it, such as the agent that the demo starts.
    pub companions: Vec<ProcessId>,
}

/// A process of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessState {
    /// Its network namespace, by its full name.
    pub netns: String,
    /// Its cgroup.
    pub cgroup: PathBuf,
    /// Its control socket.
    pub control: PathBuf,
    /// The process; absent until it has started.
    pub id: Option<ProcessId>,
}

/// Somebody who can send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActorState {
    /// Which of the processes.
    pub process: usize,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
}

impl State {
    /// What is known about a lab; `None` if there is none, or what is there cannot be read.
    #[must_use]
    pub fn load(name: &str) -> Option<Self> {
        let text = fs::read_to_string(file(name)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Like [`State::load`], where the lab has to be there.
    pub fn of_running(name: &str) -> Result<Self> {
        spec::check_name(name)?;
        match Self::load(name) {
            Some(state) => Ok(state),
            None => bail!("no lab {name:?} is up; `ringfence lab up DIR --name {name}` makes one"),
        }
    }

    /// Makes the lab's folder. False if it is there already.
    pub(super) fn claim(&self) -> Result<bool> {
        let folder = folder(&self.name);
        let draft = Path::new(ROOT).join(format!(".{}.{}", self.name, self.owner.pid));
        let cannot = || format!("cannot make {}", folder.display());
        drop(fs::remove_dir_all(&draft));
        for part in [control_folder(&draft), log_folder(&draft), bpffs_in(&draft)] {
            fs::create_dir_all(part).with_context(cannot)?;
        }
        fs::write(draft.join("state.json"), self.to_json()?).with_context(cannot)?;
        match fs::rename(&draft, &folder) {
            Ok(()) => Ok(true),
            Err(error) => {
                drop(fs::remove_dir_all(&draft));
                if matches!(
                    error.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) {
                    Ok(false)
                } else {
                    Err(error).with_context(cannot)
                }
            }
        }
    }

    /// Writes it, wholly or not at all.
    pub(super) fn save(&self) -> Result<()> {
        let path = file(&self.name);
        let draft = path.with_extension("json.new");
        fs::write(&draft, self.to_json()?)
            .and_then(|()| fs::rename(&draft, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).context("a lab's state has no JSON form")
    }

    /// True while somebody makes it, or any of its processes lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.ids().chain([self.owner]).any(ProcessId::is_alive)
    }

    /// The processes that end with the lab.
    pub fn ids(&self) -> impl Iterator<Item = ProcessId> {
        self.processes
            .iter()
            .filter_map(|process| process.id)
            .chain(self.companions.iter().copied())
    }
}

/// The folder of a lab.
#[must_use]
pub fn folder(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// Where a lab's bpffs is mounted.
#[must_use]
pub fn bpffs(name: &str) -> PathBuf {
    bpffs_in(&folder(name))
}

/// Names of labs that have a folder, sorted.
pub fn names() -> Result<Vec<String>> {
    let entries = match fs::read_dir(ROOT) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {ROOT}")),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| spec::check_name(name).is_ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Removes a lab's folder, and those above it that are empty then.
pub(super) fn remove(name: &str) -> Result<()> {
    let folder = folder(name);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
        }
        _ => {}
    }
    // Not empty: another lab's, or an agent's.
    for above in folder.ancestors().skip(1).take(2) {
        if fs::remove_dir(above).is_err() {
            break;
        }
    }
    Ok(())
}

/// Folder of the control sockets. Its name is short because sockets' paths are.
pub(super) fn control_folder(folder: &Path) -> PathBuf {
    folder.join("s")
}

/// Folder of what processes said.
pub(super) fn log_folder(folder: &Path) -> PathBuf {
    folder.join("log")
}

fn bpffs_in(folder: &Path) -> PathBuf {
    folder.join("bpf")
}

fn file(name: &str) -> PathBuf {
    folder(name).join("state.json")
}
