//! Looks into other network namespaces, without entering them.

use std::{
    fs::File,
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, setns};
use rtnetlink::Handle;

use super::netlink::{self, Stack};

/// Where `ip netns` keeps namespaces.
pub(super) const DIRECTORY: &str = "/run/netns";

/// The file of a namespace: a name below [`DIRECTORY`], or a path.
pub fn path_of(prefix: &str, name: &str) -> PathBuf {
    if name.contains('/') {
        PathBuf::from(name)
    } else {
        Path::new(DIRECTORY).join(format!("{prefix}{name}"))
    }
}

/// A namespace as it was found.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// The number that the node has for it.
    pub number: i32,
    /// What is in it.
    pub inside: Stack,
}

/// Looks into a namespace. Needs a handle that checks strictly.
///
/// # Errors
///
/// The reason why it cannot be read.
pub(super) async fn look(handle: &mut Handle, path: &Path) -> Result<Look, String> {
    // Keeps the namespace, and with it its number, from going while it is read.
    let file = open(path)?;
    let refused = |error: anyhow::Error| match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::raw_os_error)
    {
        Some(libc::EINVAL) => format!("{} is not a network namespace", path.display()),
        _ => format!(
            "cannot read network namespace {}: {error:#}",
            path.display()
        ),
    };
    let number = netlink::number_of(handle, file.as_fd())
        .await
        .map_err(refused)?;
    let Some(number) = number else {
        return Err(format!("{} has no number on this node", path.display()));
    };
    let inside = netlink::read_inside(handle, Some(number))
        .await
        .map_err(refused)?;
    Ok(Look { number, inside })
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| refusal(path, error))
}

fn refusal(path: &Path, error: io::Error) -> String {
    let path = path.display();
    match error.raw_os_error() {
        Some(libc::ENOENT) => format!("there is no network namespace {path} yet"),
        Some(libc::EINVAL) => format!("{path} is not a network namespace"),
        _ => format!("cannot enter network namespace {path}: {error}"),
    }
}

/// Puts the calling thread, and threads that it starts later, into a network namespace.
///
/// # Errors
///
/// Says which file could not be entered and why.
pub fn enter(name: &str) -> Result<(), String> {
    let path = path_of("", name);
    let file = open(&path)?;
    setns(&file, CloneFlags::CLONE_NEWNET).map_err(|errno| refusal(&path, io::Error::from(errno)))
}
