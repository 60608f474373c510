//! Where a follower tells what it heard, and what is wrong.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::{Mutex, mpsc};

use super::{
    super::{Batch, Event, Health, Kind, Places},
    resource::Resource,
    trouble::{Trouble, diagnostic},
};
use crate::model::Diagnostic;

/// Where events go.
#[derive(Clone, Debug)]
pub(super) struct Outlet {
    batches: mpsc::Sender<Batch>,
    health: Arc<Health>,
    places: Places,
    /// What is wrong, by kind. Held while it is told, so that what is told last is the latest.
    troubles: Arc<Mutex<BTreeMap<Kind, Diagnostic>>>,
}

// === impl Outlet ===

impl Outlet {
    pub fn new(batches: mpsc::Sender<Batch>, health: Arc<Health>, places: Places) -> Self {
        Self {
            batches,
            health,
            places,
            troubles: Arc::default(),
        }
    }

    /// Nobody listens any more.
    pub async fn closed(&self) {
        self.batches.closed().await;
    }

    /// Tells of events.
    pub async fn send(&self, mut batch: Batch) -> Result<(), Trouble> {
        self.places.hold_to(&mut batch);
        self.batches
            .send(batch)
            .await
            .map_err(|_gone| Trouble::Unheard)
    }

    /// As [`Self::heard`], when nothing was wrong before.
    pub fn noted(&self, kind: Kind) {
        self.health.heard(kind);
    }

    /// All of this kind has been read.
    pub fn synced(&self, kind: Kind) {
        self.health.synced(kind);
    }

    /// There was proof that nothing of this kind is missing.
    pub async fn heard(&self, kind: Kind) -> Result<(), Trouble> {
        self.health.heard(kind);
        let mut troubles = self.troubles.lock().await;
        if troubles.remove(&kind).is_some() {
            let left = troubles.values().cloned().collect();
            self.send(vec![Event::Diagnostics(left)]).await?;
        }
        Ok(())
    }

    /// A request failed and will be made again.
    pub async fn failed<R: Resource>(&self, trouble: &Trouble) -> Result<(), Trouble> {
        let message = trouble.message::<R>();
        self.health.failed(R::KIND, message.clone());
        let Some(message) = message else {
            return Ok(());
        };
        let new = diagnostic(R::KIND, message);
        let mut troubles = self.troubles.lock().await;
        if troubles.get(&R::KIND) != Some(&new) {
            troubles.insert(R::KIND, new);
            let all = troubles.values().cloned().collect();
            self.send(vec![Event::Diagnostics(all)]).await?;
        }
        Ok(())
    }
}
