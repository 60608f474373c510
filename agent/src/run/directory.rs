//! The agent's directory: its lock, so that two agents never share one, and its socket.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::{admin::SOCKET, cli::failure::Failure};

/// Name of the lock in the directory. The file stays; only the kernel's lock on it counts.
pub const LOCK: &str = "agent.lock";
/// Name of the lock that is held while nothing is enforced on purpose. A file that stays says nothing.
const DETACHED: &str = "detached.lock";

/// Holds the directory for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Makes the directory if needed, and takes it.
///
/// # Errors
///
/// Another process has it, or it cannot be made.
pub fn take(directory: &Path) -> Result<Lock, Failure> {
    let place = directory.display();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| {
            Failure::new(format!("cannot make the agent's directory: {error}"))
                .at(place.to_string())
        })?;
    let path = directory.join(LOCK);
    let file = open(&path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut file) => {
            // Who holds it is for people to read; the lock holds without it.
            let _: std::io::Result<()> = file
                .set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id()));
            Ok(Lock { _file: file })
        }
        Err((mut file, Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            let _: std::io::Result<usize> = file
                .rewind()
                .and_then(|()| file.read_to_string(&mut holder));
            let holder = holder.trim();
            let holder = if holder.is_empty() {
                String::new()
            } else {
                format!(" (process {holder})")
            };
            Err(
                Failure::new(format!("another agent{holder} uses this directory"))
                    .at(path.display().to_string())
                    .help("stop it, or choose another directory with --run-dir"),
            )
        }
        Err((_, errno)) => Err(
            Failure::new(format!("cannot lock the agent's directory: {errno}"))
                .at(path.display().to_string()),
        ),
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| {
            let failure = Failure::new(format!("cannot open the lock: {error}"))
                .at(path.display().to_string());
            failure.help("that takes root, or a directory of your own: --run-dir DIR")
        })
}

/// Says that everything has been taken off, for as long as it lives.
///
/// # Errors
///
/// The lock cannot be had.
pub fn say_detached(directory: &Path) -> Result<Lock, Failure> {
    let path = directory.join(DETACHED);
    // Who asks holds it for a moment.
    let file = Flock::lock(open(&path)?, FlockArg::LockExclusive).map_err(|(_, errno)| {
        Failure::new(format!("cannot say that nothing is enforced: {errno}"))
            .at(path.display().to_string())
    })?;
    Ok(Lock { _file: file })
}

/// Whether somebody says that everything has been taken off.
#[must_use]
pub fn is_detached(directory: &Path) -> bool {
    File::open(directory.join(DETACHED)).is_ok_and(|file| {
        let taken = Flock::lock(file, FlockArg::LockSharedNonblock);
        matches!(taken, Err((_, Errno::EWOULDBLOCK)))
    })
}

/// Takes the socket away, so that the next command says at once that no agent runs.
pub fn remove_socket(directory: &Path) {
    // A socket that stays behind is recognised as stale.
    let _: std::io::Result<()> = fs::remove_file(directory.join(SOCKET));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_agent() {
        let directory = tempfile::tempdir().unwrap();
        let first = take(directory.path()).unwrap();
        let text = take(directory.path()).unwrap_err().to_string();
        assert!(
            text.contains(&format!(
                "another agent (process {}) uses",
                std::process::id()
            )),
            "{text}"
        );
        drop(first);
        take(directory.path()).unwrap();
    }

    #[test]
    fn nothing_is_enforced_while_somebody_says_so() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_detached(directory.path()));
        let said = say_detached(directory.path()).unwrap();
        assert!(is_detached(directory.path()) && is_detached(directory.path()));
        drop(said);
        assert!(
            !is_detached(directory.path()),
            "the file alone says nothing"
        );
    }
}
