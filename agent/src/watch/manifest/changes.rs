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

/// Watches the places where manifests are.
pub(super) struct Changes {
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    news: Arc<News>,
    /// Changes came so steadily that waiting for their end was given up.
    hurried: bool,
}

#[derive(Default)]
struct News {
    state: Mutex<State>,
    woken: Notify,
}

#[derive(Default)]
struct State {
    places: BTreeMap<PathBuf, Names>,
    /// Something has changed since this was last set to false.
    changed: bool,
    /// Files that were written to and not closed yet.
    writing: BTreeSet<PathBuf>,
}

// === impl Changes ===

impl Changes {
    pub fn new() -> notify::Result<Self> {
        let news = Arc::new(News::default());
        let teller = Arc::clone(&news);
        let watcher = notify::recommended_watcher(move |event| teller.tell(event))?;
        Ok(Self {
            watcher,
            watched: BTreeSet::new(),
            news,
            hurried: false,
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

    /// True if nothing has changed since [`Self::next`] returned, or there is no end of it.
    pub fn settled(&self) -> bool {
        self.hurried || !self.news.lock().changed
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
                    EventKind::Create(CreateKind::File)
                    | EventKind::Any
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
    fn concerns(&self, path: &Path) -> bool {
        let here = self.places.get(path).is_some();
        here || path
            .parent()
            .and_then(|place| self.places.get(place))
            .is_some_and(|names| match names {
                Names::All => true,
                Names::These(names) => names.contains(path),
            })
    }
}
