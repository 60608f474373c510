//! The last known state on disk, for a node that starts without its API server.
//!
//! **Invariants.** Nothing is kept before the source itself has told everything: what was recalled does not become younger by
//! being written again. Changes are written
//! together: soon after the first of them, and no more often than a small part of the time may go into it. A disk
//! that cannot be written is said once and changes nothing else.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{State, revert};
use crate::watch::{Health, kept};

/// How long a change waits for others.
const SETTLE: Duration = Duration::from_secs(1);
/// The least time between two writes, and how much more it is than what the last one took.
const PAUSE: (Duration, u32) = (Duration::from_secs(5), 50);

/// Keeps the newest state on disk.
#[derive(Debug)]
pub struct Keeper {
    directory: PathBuf,
    node: String,
    states: watch::Receiver<Arc<State>>,
    health: Arc<Health>,
    /// What was written last.
    written: Mutex<Option<Arc<State>>>,
}

impl Keeper {
    /// One that keeps these states in that directory, once `health` says that they are the source's own.
    #[must_use]
    pub const fn new(
        directory: PathBuf,
        node: String,
        states: watch::Receiver<Arc<State>>,
        health: Arc<Health>,
    ) -> Self {
        Self {
            directory,
            node,
            states,
            health,
            written: Mutex::new(None),
        }
    }

    /// Follows the states until there are no more.
    pub async fn follow(self: Arc<Self>) {
        let mut states = self.states.clone();
        let mut failed = false;
        loop {
            tokio::time::sleep(SETTLE).await;
            states.mark_unchanged();
            let keeper = Arc::clone(&self);
            let start = Instant::now();
            let kept = tokio::task::spawn_blocking(move || keeper.keep()).await;
            match kept.map_err(anyhow::Error::from).flatten() {
                Ok(()) => failed = false,
                Err(error) if failed => tracing::debug!("still not kept: {error:#}"),
                Err(error) => {
                    failed = true;
                    tracing::warn!(
                        directory = %self.directory.display(),
                        "the state is not kept: after a restart without the API server this node enforces only what is pinned, after a boot nothing: {error:#}. \
                         Make the directory writable, name another with --state-dir DIR, or switch this off with --state-dir off"
                    );
                }
            }
            tokio::time::sleep(PAUSE.0.max(start.elapsed() * PAUSE.1)).await;
            if states.changed().await.is_err() {
                return;
            }
        }
    }

    /// Writes the newest state now, if it is not what was written last.
    ///
    /// # Errors
    ///
    /// The disk does not take it.
    pub fn keep(&self) -> anyhow::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.health.is_synced() {
            return Ok(());
        }
        let state = Arc::clone(&self.states.borrow());
        let same = written
            .as_ref()
            .is_some_and(|written| written.snapshot == state.snapshot);
        // Health is ahead of the states.
        if state.synced && !state.recalled && !same {
            let objects = revert::objects(&state.snapshot);
            kept::write(&self.directory, &self.node, objects)?;
            *written = Some(state);
        }
        Ok(())
    }
}
