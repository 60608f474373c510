//! The newest state for whoever wants it.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{Index, moments};
use crate::{
    model::{Diagnostic, Snapshot},
    watch::{Batch, Revisions, Source},
};

/// Batches that wait for the index, at most; a source that is faster waits.
const QUEUE: usize = 256;

/// The state of all objects, and what is wrong with some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The objects; without `local` and `node_addresses`, which no source knows.
    pub snapshot: Snapshot,
    /// The versions of the objects.
    pub revisions: Revisions,
    /// What is wrong, sorted.
    pub diagnostics: Vec<Diagnostic>,
    /// Every kind has been named in full. Until then the snapshot is empty and means nothing.
    pub synced: bool,
    /// Some of it is what was last known: the source itself has not told of it yet.
    pub recalled: bool,
}

/// Follows a source. The receiver has the newest state only: whoever is slow misses those between.
///
/// Until the source has synced, only diagnostics are published. The task ends when nobody holds a
/// receiver any more, or with the source's error; then the last state stays in the receiver.
pub fn follow(
    source: impl Source,
) -> (watch::Receiver<Arc<State>>, JoinHandle<anyhow::Result<()>>) {
    let (sender, receiver) = watch::channel(Arc::new(State::default()));
    (receiver, tokio::spawn(run(source, sender)))
}

async fn run(source: impl Source, states: watch::Sender<Arc<State>>) -> anyhow::Result<()> {
    let (sender, mut batches) = mpsc::channel::<Batch>(QUEUE);
    let mut index = Index::default();
    index.pass(moments::now());
    let mut changed = false;
    let mut source = Box::pin(source.run(sender));
    loop {
        let wait = index.moments.wait();
        tokio::select! {
            // What was delivered before the source's end counts.
            biased;
            batch = batches.recv() => match batch {
                Some(batch) => {
                    changed |= take(&mut index, batch);
                    // What has piled up meanwhile is one change.
                    while let Ok(batch) = batches.try_recv() {
                        changed |= take(&mut index, batch);
                    }
                    let (synced, recalled) = {
                        let state = states.borrow();
                        (state.synced, state.recalled)
                    };
                    if changed || index.is_synced() != synced || index.is_recalled() != recalled {
                        publish(&index, &states);
                        // What changes while a kind is named anew is published at its end.
                        changed &= !index.is_synced();
                    }
                }
                None => return source.await,
            },
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                if index.pass(moments::now()) {
                    publish(&index, &states);
                }
            }
            () = states.closed() => return Ok(()),
            ended = &mut source => {
                while let Ok(batch) = batches.try_recv() {
                    take(&mut index, batch);
                }
                publish(&index, &states);
                return ended;
            }
        }
    }
}

fn take(index: &mut Index, batch: Batch) -> bool {
    // What has ended by now is never seen in force.
    index.pass(moments::now());
    batch
        .into_iter()
        .fold(false, |changed, event| index.apply(event) | changed)
}

fn publish(index: &Index, states: &watch::Sender<Arc<State>>) {
    let diagnostics = index.diagnostics();
    states.send_if_modified(|state| {
        // While a kind is named anew, the objects of before and of now are mixed.
        let next = if index.is_synced() {
            State {
                snapshot: index.snapshot().clone(),
                revisions: index.revisions().clone(),
                diagnostics,
                synced: true,
                recalled: index.is_recalled(),
            }
        } else {
            State {
                diagnostics,
                ..State::clone(state)
            }
        };
        let changed = **state != next;
        if changed {
            *state = Arc::new(next);
        }
        changed
    });
}
