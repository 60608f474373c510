//! The agent's directory: its lock, so that two agents never share one, and its socket.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::{admin::SOCKET, cli::failure::Failure};

/// Name of the lock in the directory. The file stays; only the kernel's lock on it counts.
pub const LOCK: &str = "agent.lock";
/// What a guard writes into the lock, behind its process.
const GUARD: &str = "metadata guard";
/// Name of the lock that is held while nothing is enforced on purpose. A file that stays says nothing.
const DETACHED: &str = "detached.lock";

/// Holds the directory for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Makes the directory if needed, and takes it, as soon as nobody puts up there what is to stand before an agent.
///
/// # Errors
///
/// Another agent has it, or it cannot be made.
pub fn take(directory: &Path) -> Result<Lock, Failure> {
    match take_as("", directory)? {
        Ok(lock) => Ok(lock),
        Err(holder) => {
            let holder = if holder.is_empty() {
                String::new()
            } else {
                format!(" (process {holder})")
            };
            Err(
                Failure::new(format!("another agent{holder} uses this directory"))
                    .at(directory.join(LOCK).display().to_string())
                    .help("stop it, or choose another directory with --run-dir"),
            )
        }
    }
}

/// The same for the moment in which a guard puts something up: who comes meanwhile waits for its end. `None` if an agent has it.
///
/// # Errors
///
/// It cannot be made.
pub fn take_for_guard(directory: &Path) -> Result<Option<Lock>, Failure> {
    Ok(take_as(GUARD, directory)?.ok())
}

/// How long a guard may have the lock, and how often it is looked.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// The inner error is who has it.
fn take_as(who: &str, directory: &Path) -> Result<Result<Lock, String>, Failure> {
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
    let failed = |errno: Errno| {
        Failure::new(format!("cannot lock the agent's directory: {errno}"))
            .at(path.display().to_string())
    };
    let deadline = Instant::now() + PATIENCE;
    let mut file = loop {
        let mut file = match Flock::lock(open(&path)?, FlockArg::LockExclusiveNonblock) {
            Ok(file) => break file,
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(failed(errno)),
        };
        let mut holder = String::new();
        let _: std::io::Result<usize> = file
            .rewind()
            .and_then(|()| file.read_to_string(&mut holder));
        let holder = holder.trim();
        // A guard has it for a second; whoever has just got it may not have said so yet.
        if !holder.ends_with(GUARD) || Instant::now() > deadline {
            return Ok(Err(holder.to_owned()));
        }
        thread::sleep(PAUSE);
    };
    // Who holds it is for people to read; the lock holds without it.
    let _: std::io::Result<()> = file
        .rewind()
        .and_then(|()| file.set_len(0))
        .and_then(|()| writeln!(file, "{} {who}", std::process::id()));
    Ok(Ok(Lock { _file: file }))
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
    fn an_agent_waits_for_a_guard_and_a_guard_for_no_agent() {
        let directory = tempfile::tempdir().unwrap();
        let guard = take_for_guard(directory.path()).unwrap().unwrap();
        thread::scope(|scope| {
            let agent = scope.spawn(|| take(directory.path()));
            drop(guard);
            let agent = agent.join().unwrap().unwrap();
            assert!(take_for_guard(directory.path()).unwrap().is_none());
            let text = take(directory.path()).unwrap_err().to_string();
            assert!(text.contains("another agent"), "{text}");
            drop(agent);
        });
        assert!(take_for_guard(directory.path()).unwrap().is_some());
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
