//! Named network namespaces.
//!
//! **Invariant.** A network namespace belongs to a thread, so whatever enters one does so on a thread made
//! for it, which ends there: no thread of the caller is ever left in another namespace.

use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

/// Where named network namespaces are, by the convention of iproute2.
pub const DIRECTORY: &str = "/run/netns";

/// The file that a name stands for.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes a network namespace and gives it a name.
pub fn create(name: &str) -> Result<()> {
    let path = path(name);
    fs::create_dir_all(DIRECTORY).with_context(|| format!("cannot make {DIRECTORY}"))?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .with_context(|| format!("cannot make the network namespace {}", path.display()))?;
    on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)
            .context("cannot make a network namespace (root is needed)")?;
        mount(
            Some("/proc/thread-self/ns/net"),
            &path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .with_context(|| format!("cannot bind a network namespace to {}", path.display()))
    })
    .inspect_err(|_| drop(fs::remove_file(&path)))
}

/// Removes a name; the namespace goes with the last process in it. A name that is not there is no error.
pub fn delete(name: &str) -> Result<()> {
    let path = path(name);
    match umount2(&path, MntFlags::MNT_DETACH) {
        // EINVAL: a plain file, left by a run that died between its two steps.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot unmount {}", path.display()));
        }
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The names that begin so, sorted.
pub fn with_prefix(prefix: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {DIRECTORY}")),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {DIRECTORY}"))?;
        if let Ok(name) = entry.file_name().into_string()
            && name.starts_with(prefix)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Opens a namespace by its name.
pub fn open(name: &str) -> Result<File> {
    let path = path(name);
    File::open(&path)
        .with_context(|| format!("cannot open the network namespace {}", path.display()))
}

/// Moves the calling thread into a namespace. Threads that it starts afterwards are there too.
pub fn enter(name: &str) -> Result<()> {
    setns(open(name)?, CloneFlags::CLONE_NEWNET)
        .with_context(|| format!("cannot enter the network namespace {name}"))
}

/// Runs something in a namespace, on a thread of its own, and waits for its result.
pub fn inside<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_thread(|| {
        enter(name)?;
        work()
    })
}

/// Sets a kernel parameter of the calling thread's namespace, as in `net/ipv4/ip_forward`.
pub fn set_parameter(parameter: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(parameter);
    fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
}

/// Like [`set_parameter`], for what not every kernel has.
pub fn set_parameter_if_present(parameter: &str, value: &str) -> Result<()> {
    if Path::new("/proc/sys").join(parameter).exists() {
        set_parameter(parameter, value)
    } else {
        Ok(())
    }
}

fn on_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            bail!(anyhow!(
                "panic in a network namespace: {}",
                message.unwrap_or_default()
            ))
        }
    })
}
