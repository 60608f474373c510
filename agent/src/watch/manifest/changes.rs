//! When to read the files again.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind},
};
use tokio::{sync::Notify, time};

use super::files::{self, Listing, Names};

/// Silence that ends a burst of changes.
const QUIET: Duration = Duration::from_millis(10);
/// How long a burst, or a file that is being written, is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Without any news the files are read again after this time: some file systems tell nothing.
const DOUBT: Duration = Duration::from_secs(30);

/// How far files can be trusted that may have been read while they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// They were not written meanwhile.
    Whole,
    /// There is no end to the changes: what the files say counts, what they do not say may be coming.
    WhatIsThere,
    /// Read again.
    Nothing,
}

/// Watches the places where manifests are.
pub(super) struct Changes {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    news: Arc<News>,
    /// Changes came so steadily that waiting for their end was given up.
    hurried: bool,
    /// A directory of our own that is watched too: what is reported of it comes after all that
    /// happened before. Without one (no place to write), silence has to do.
    echo: Option<tempfile::TempDir>,
    echoes: u64,
}

#[derive(Default)]
struct News {
    state: Mutex<State>,
    woken: Notify,
    echoed: Notify,
}

#[derive(Default)]
struct State {
    places: BTreeMap<PathBuf, Names>,
    /// Something has changed since this was last set to false.
    changed: bool,
    /// Files that were written to and not closed yet.
    writing: BTreeSet<PathBuf>,
    /// The directory of echoes.
    echoes: Option<PathBuf>,
    /// The last new file in it that was reported.
    echo: Option<PathBuf>,
}

// === impl Changes ===

impl Changes {
    pub fn new() -> notify::Result<Self> {
        let news = Arc::new(News::default());
        let teller = Arc::clone(&news);
        let mut watcher = notify::recommended_watcher(move |event| teller.tell(event))?;
        let echo = tempfile::tempdir().ok().filter(|echo| {
            watcher
                .watch(echo.path(), RecursiveMode::NonRecursive)
                .is_ok()
        });
        news.lock().echoes = echo.as_ref().map(|echo| echo.path().to_path_buf());
        Ok(Self {
            watcher,
            watched: BTreeSet::new(),
            news,
            hurried: false,
            echo,
            echoes: 0,
        })
    }

    /// Lists the files while every place where they are is watched, so that no change is missed.
    pub async fn list(&mut self, paths: &[PathBuf]) -> anyhow::Result<Listing> {
        loop {
            let paths = paths.to_vec();
            let listing = tokio::task::spawn_blocking(move || files::list(&paths))
                .await
                .context("the lister of the manifests has died")?;
            if !self.watch(&listing.places) {
                return Ok(listing);
            }
        }
    }

    /// Watches these places and no others; true if there are new ones.
    fn watch(&mut self, places: &BTreeMap<PathBuf, Names>) -> bool {
        self.news.lock().places.clone_from(places);
        let gone: Vec<PathBuf> = self
            .watched
            .iter()
            .filter(|path| !places.contains_key(*path))
            .cloned()
            .collect();
        for path in gone {
            // A directory that does not exist any more is not watched any more either.
            let _: notify::Result<()> = self.watcher.unwatch(&path);
            self.watched.remove(&path);
        }
        let mut added = false;
        for path in places.keys() {
            if self.watched.contains(path) {
                continue;
            }
            match self.watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone());
                    added = true;
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, every = ?DOUBT, "not watched, only re-read");
                }
            }
        }
        added
    }

    /// How far what was read since [`Self::next`] can be trusted.
    pub async fn trust(&mut self) -> Trust {
        // Nobody is left who would have to be waited for if this takes too long.
        let _: Result<(), time::error::Elapsed> = time::timeout(PATIENCE, self.catch_up()).await;
        let mut state = self.news.lock();
        match (self.hurried, state.changed) {
            (false, false) => Trust::Whole,
            (false, true) => Trust::Nothing,
            (true, _) => {
                // It has to be read again, whether or not more changes come.
                state.changed = true;
                Trust::WhatIsThere
            }
        }
    }

    /// Waits until everything that has happened up to now is reported.
    async fn catch_up(&mut self) {
        self.echoes += 1;
        let call = self
            .echo
            .as_ref()
            .map(|echo| echo.path().join(self.echoes.to_string()));
        let Some(call) = call.filter(|call| std::fs::write(call, "").is_ok()) else {
            return time::sleep(QUIET).await;
        };
        // It was made a moment ago in a directory that is ours; if it stays it does no harm.
        let _: std::io::Result<()> = std::fs::remove_file(&call);
        while self.news.lock().echo.as_ref() != Some(&call) {
            self.news.echoed.notified().await;
        }
    }

    /// Waits for changes, and for their end.
    pub async fn next(&mut self) {
        let changed = async {
            while !self.news.lock().changed {
                self.news.woken.notified().await;
            }
        };
        // No news for so long is no error.
        let _: Result<(), time::error::Elapsed> = time::timeout(DOUBT, changed).await;
        let deadline = time::Instant::now() + PATIENCE;
        self.hurried = false;
        loop {
            let quiet = time::timeout(QUIET, self.news.woken.notified())
                .await
                .is_err();
            self.hurried = time::Instant::now() >= deadline;
            if self.hurried || (quiet && self.news.lock().writing.is_empty()) {
                break;
            }
        }
        let mut state = self.news.lock();
        state.changed = false;
        state.writing.clear();
        drop(state);
        // A directory that was replaced has lost its watch, and its path looks the same.
        self.watched.retain(|path| path.is_dir());
        let again: Vec<PathBuf> = self.watched.iter().cloned().collect();
        for path in again {
            if self
                .watcher
                .watch(&path, RecursiveMode::NonRecursive)
                .is_err()
            {
                self.watched.remove(&path);
            }
        }
    }
}

// === impl News ===

impl News {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every state between two statements is a valid one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by the watcher's thread.
    fn tell(&self, event: notify::Result<notify::Event>) {
        let mut state = self.lock();
        match event {
            // What was lost may have been anything.
            Err(_) => state.changed = true,
            Ok(event) if event.need_rescan() => state.changed = true,
            Ok(event) if state.is_echo(&event) => {
                state.echo = event.paths.into_iter().next();
                drop(state);
                return self.echoed.notify_one();
            }
            Ok(event) => {
                if !event.paths.iter().any(|path| state.concerns(path)) {
                    return;
                }
                match event.kind {
                    EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                        event.paths.iter().for_each(|path| {
                            state.writing.remove(path);
                        });
                    }
                    // Reading changes nothing; it may even be our own.
                    EventKind::Access(_) => return,
                    EventKind::Modify(ModifyKind::Data(_)) => {
                        let files = event
                            .paths
                            .into_iter()
                            .filter(|path| files::is_manifest(path));
                        state.writing.extend(files);
                    }
                    EventKind::Create(CreateKind::File) => {
                        // A link is complete at once; a file is filled and closed next.
                        let filled_next = |path: &PathBuf| {
                            files::is_manifest(path)
                                && path
                                    .symlink_metadata()
                                    .is_ok_and(|file| file.is_file() && file.len() == 0)
                        };
                        state
                            .writing
                            .extend(event.paths.into_iter().filter(filled_next));
                    }
                    EventKind::Any
                    | EventKind::Create(_)
                    | EventKind::Modify(_)
                    | EventKind::Remove(_)
                    | EventKind::Other => {}
                }
                state.changed = true;
            }
        }
        drop(state);
        self.woken.notify_one();
    }
}

// === impl State ===

impl State {
    /// True for a new file in the directory of echoes.
    fn is_echo(&self, event: &notify::Event) -> bool {
        let Some(directory) = self.echoes.as_deref() else {
            return false;
        };
        matches!(event.kind, EventKind::Create(_))
            && event
                .paths
                .iter()
                .any(|path| path.parent() == Some(directory))
    }

    fn concerns(&self, path: &Path) -> bool {
        let here = self.places.contains_key(path);
        here || path
            .parent()
            .and_then(|place| self.places.get(place))
            .is_some_and(|names| match names {
                Names::All => true,
                Names::These(names) => names.contains(path),
            })
    }
}
