//! Who is in which zone, counted no more often than need be: a cluster's pods come and go all the time.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    compile::{Census, census},
    model::Snapshot,
};

/// The least time between two counts, while no zone changes.
pub(super) const PAUSE: Duration = Duration::from_secs(10);

/// Who is in which zone, and of which state that was counted.
#[derive(Default)]
pub(super) struct Members {
    counted: Option<(Arc<Snapshot>, Instant)>,
    by_zone: Arc<BTreeMap<String, Census>>,
}

impl Members {
    /// Who is in which zone; true if that is not of this state, and to be counted again.
    pub async fn of(
        &mut self,
        snapshot: &Arc<Snapshot>,
        now: Instant,
    ) -> anyhow::Result<(Arc<BTreeMap<String, Census>>, bool)> {
        if let Some((of, at)) = &self.counted {
            let zones = of.zones == snapshot.zones;
            let same = zones
                && of.pods == snapshot.pods
                && of.namespaces == snapshot.namespaces
                && of.nodes == snapshot.nodes;
            if same || zones && now < *at + PAUSE {
                return Ok((Arc::clone(&self.by_zone), !same));
            }
        }
        let of = Arc::clone(snapshot);
        let counted = tokio::task::spawn_blocking(move || census(&of));
        self.by_zone = Arc::new(counted.await.context("members cannot be counted")?);
        self.counted = Some((Arc::clone(snapshot), now));
        Ok((Arc::clone(&self.by_zone), false))
    }
}
