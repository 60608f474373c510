//! Manifests: YAML and JSON files, directories of them, standard input.
//!
//! ```text
//! paths ─ files ─► text ─ tree ─► nodes ─ document, decode ─► objects ─ memory ─► events
//! ```
//!
//! **Invariants.**
//! - What is not understood to the last field is an error with file and line, never passed over: a
//!   misspelt field must not open a door.
//! - A file that cannot be read to its end takes nothing out of force. At the start, when nothing is
//!   in force yet, nothing is delivered until every file can be read.
//! - An empty file says nothing about what it held: whoever writes a file anew empties it first.
//! - One change of the files is one batch of events.

mod changes;
mod checked;
mod decode;
mod document;
mod excerpt;
mod files;
mod memory;
mod tree;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::Context as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::mpsc;

pub use self::excerpt::Excerpts;
use self::{
    changes::{Changes, Trust},
    document::Item,
    files::Reader,
    memory::Memory,
};
use super::{Batch, Event, ObjectKey, Source, object::Read};
use crate::model::{Diagnostic, Origin};

/// How manifests are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Pass over objects of kinds that are not read (Deployments, say) instead of refusing them. What
    /// looks like a slip of a known kind's name is refused all the same.
    pub ignore_other_kinds: bool,
}

/// The source that reads manifests and follows their changes.
#[derive(Clone, Debug)]
pub struct Manifests {
    paths: Vec<PathBuf>,
    options: Options,
}

/// Reads manifests once. Any problem is an error; all of them are named.
pub fn load(paths: &[PathBuf], options: Options) -> Result<Vec<Read>, Vec<Diagnostic>> {
    let (reads, diagnostics) = load_all(paths, options);
    if diagnostics.is_empty() {
        Ok(reads)
    } else {
        Err(diagnostics)
    }
}

/// Reads manifests once: the good objects, and every problem.
pub fn load_all(paths: &[PathBuf], options: Options) -> (Vec<Read>, Vec<Diagnostic>) {
    let listing = files::list(paths);
    let readings = Reader::new(options).read(&listing.files);
    let whole = memory::merge(&listing, &readings);
    let (mut reads, mut diagnostics) = (Vec::new(), whole.diagnostics);
    for (_, item) in whole.items.into_values() {
        match item {
            Item::Good(read) => reads.push(*read),
            Item::Broken(broken) => diagnostics.extend(broken.diagnostics),
        }
    }
    diagnostics.sort();
    (reads, diagnostics)
}

/// A policy as the API tells it, decoded as strictly as one in a file.
pub(super) fn policy(key: ObjectKey, metadata: ObjectMeta, value: &serde_json::Value) -> Event {
    match document::policy(key, metadata, value) {
        Item::Good(read) => Event::Apply(read),
        Item::Broken(broken) => Event::Broken(broken),
    }
}

/// An object of a kind that a schema defines as the API tells it, checked as one in a file is.
pub(super) fn custom(key: ObjectKey, metadata: ObjectMeta, value: &serde_json::Value) -> Event {
    match document::custom(key, metadata, value) {
        Item::Good(read) => Event::Apply(read),
        Item::Broken(broken) => Event::Broken(broken),
    }
}

/// A problem with a whole file.
fn complaint(origin: Origin, message: String) -> Diagnostic {
    Diagnostic {
        origin,
        object: String::new(),
        field: String::new(),
        message,
    }
}

// === impl Manifests ===

impl Manifests {
    /// A source of these files, directories, and `-` for standard input.
    #[must_use]
    pub const fn new(paths: Vec<PathBuf>, options: Options) -> Self {
        Self { paths, options }
    }
}

impl Source for Manifests {
    async fn run(self, batches: mpsc::Sender<Batch>) -> anyhow::Result<()> {
        let Self { paths, options } = self;
        let mut changes = Changes::new().context("cannot watch files for changes")?;
        let mut reader = Reader::new(options);
        let mut memory = Memory::default();
        loop {
            let listing = changes.list(&paths).await?;
            let wanted = listing.files.clone();
            let (back, readings) = tokio::task::spawn_blocking(move || {
                let readings = reader.read(&wanted);
                (reader, readings)
            })
            .await
            .context("the reader of the manifests has died")?;
            reader = back;
            // What was written while it was read may have been seen half.
            let trust = changes.trust().await;
            if trust != Trust::Nothing {
                let batch = memory.update(&listing, &readings, trust);
                if !batch.is_empty() && batches.send(batch).await.is_err() {
                    return Ok(());
                }
            }
            tokio::select! {
                () = batches.closed() => return Ok(()),
                () = changes.next() => {}
            }
        }
    }
}
