//! The nodes' reports as the API server tells of them.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use kube::runtime::watcher::Event;

use super::fleet::Fleet;
use crate::api::NodeZoneState;

/// What all nodes say.
#[derive(Default)]
pub(super) struct Reports {
    pub fleet: Arc<Fleet>,
    /// Those named since a list began.
    listing: Option<BTreeSet<String>>,
    /// All were read once: until then nobody knows who lacks something.
    pub read: bool,
}

impl Reports {
    /// Takes an event; true if it says something new.
    pub fn hear(&mut self, event: Event<NodeZoneState>) -> bool {
        let fleet = Arc::make_mut(&mut self.fleet);
        let now = Instant::now();
        match event {
            Event::Apply(state) => fleet.take(&state, true, now),
            Event::Delete(state) => {
                fleet.forget(state.metadata.name.as_deref().unwrap_or_default());
                true
            }
            Event::Init => {
                self.listing = Some(BTreeSet::new());
                false
            }
            Event::InitApply(state) => {
                if let Some(listing) = &mut self.listing {
                    listing.extend(state.metadata.name.clone());
                }
                fleet.take(&state, false, now)
            }
            Event::InitDone => {
                if let Some(listing) = self.listing.take() {
                    fleet.keep(&listing);
                }
                self.read = true;
                true
            }
        }
    }
}
