//! Looks into other network namespaces, on a thread that ends with the look.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, setns};
use tokio::sync::oneshot;

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

/// A namespace as it was found, and the file that kept it from going while it was read.
pub(super) type Look = Result<(File, Stack), String>;

/// Looks into each of these namespaces, in order. A reason stands for each that cannot be read.
pub(super) async fn look(paths: Vec<PathBuf>) -> anyhow::Result<Vec<Look>> {
    let (answer, looks) = oneshot::channel();
    thread::Builder::new()
        .name("netns".to_owned())
        .spawn(move || {
            let looks = match tokio::runtime::Builder::new_current_thread()
                .enable_io()
                .build()
            {
                Ok(runtime) => paths.iter().map(|path| look_into(&runtime, path)).collect(),
                Err(error) => paths
                    .iter()
                    .map(|_| Err(format!("cannot start a runtime: {error}")))
                    .collect(),
            };
            // Nobody waits any more if the agent is stopping.
            let _: Result<(), Vec<Look>> = answer.send(looks);
        })?;
    Ok(looks.await?)
}

fn look_into(runtime: &tokio::runtime::Runtime, path: &Path) -> Look {
    let file = open(path)?;
    setns(&file, CloneFlags::CLONE_NEWNET)
        .map_err(|errno| refusal(path, io::Error::from(errno)))?;
    let stack = runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection);
        let stack = netlink::read(&handle, false).await;
        connection.abort();
        stack
    });
    stack.map(|stack| (file, stack)).map_err(|error| {
        format!(
            "cannot read network namespace {}: {error:#}",
            path.display()
        )
    })
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
