//! The lab's cgroups: one per pod below a root of its own, and one for what is no pod.
//!
//! `CGROUP2/rf-NAME/NAMESPACE_NAME` are the pods'. The agent attaches its hooks at `rf-NAME`, so the node's and
//! the outside's processes are elsewhere: in `CGROUP2/rf-NAME-host`.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How long the kernel may take to end the processes of a cgroup.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Makes a cgroup, and those above it.
pub fn create(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the cgroup {}", path.display()))
}

/// Moves the calling process, with all its threads, into a cgroup.
pub fn enter(path: &Path) -> Result<()> {
    let procs = path.join("cgroup.procs");
    fs::write(&procs, "0").with_context(|| format!("cannot write to {}", procs.display()))
}

/// The processes in a cgroup and below it.
pub fn processes(path: &Path) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for cgroup in tree(path)? {
        match fs::read_to_string(cgroup.join("cgroup.procs")) {
            Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
            Err(error) if gone(&error) => {}
            // Of a cgroup of threads their process is listed above.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EOPNOTSUPP as i32) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", cgroup.display()));
            }
        }
    }
    Ok(found)
}

/// Kills everything in a cgroup and below it and removes it. One that is not there is no error.
pub fn delete(path: &Path) -> Result<()> {
    let deadline = Instant::now() + KILL_LIMIT;
    loop {
        let tree = tree(path)?;
        if tree.is_empty() {
            return Ok(());
        }
        // The file is there since Linux 5.14, and never at the root, which no lab owns.
        drop(fs::write(path.join("cgroup.kill"), "1"));
        for pid in processes(path)? {
            crate::lab::process::kill(pid);
        }
        // Children come after their parents in the list.
        for cgroup in tree.iter().rev() {
            match fs::remove_dir(cgroup) {
                Ok(()) => {}
                Err(error) if gone(&error) || error.kind() == ErrorKind::ResourceBusy => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("cannot remove the cgroup {}", cgroup.display()));
                }
            }
        }
        if !path.exists() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "the cgroup {} is still in use after {KILL_LIMIT:?}, by the processes {:?}",
                path.display(),
                processes(path)?
            );
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A cgroup and all below it; empty if it is not there.
fn tree(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![path.to_owned()];
    while let Some(cgroup) = left.pop() {
        let entries = match fs::read_dir(&cgroup) {
            Ok(entries) => entries,
            Err(error) if gone(&error) => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", cgroup.display()));
            }
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                left.push(entry.path());
            }
        }
        found.push(cgroup);
    }
    Ok(found)
}

/// True if a cgroup went away meanwhile.
fn gone(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
        || error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32)
}
