//! The NRI gate.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::durations;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// What became of a pod at the NRI gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gated {
    /// It was protected before it started.
    Protected,
    /// It started unprotected.
    LetThrough,
    /// It did not start.
    Refused,
    /// It has the node's network.
    NodeNetwork,
}

/// The NRI gate.
#[derive(Clone, Debug)]
pub struct NriMetrics {
    connected: Gauge,
    pods: Family<ResultLabel, Counter>,
    unwatched: Counter,
    waits: Histogram,
}

impl Default for NriMetrics {
    fn default() -> Self {
        Self {
            connected: Gauge::default(),
            pods: Family::default(),
            unwatched: Counter::default(),
            waits: durations(),
        }
    }
}

impl NriMetrics {
    /// The runtime asks before it starts pods, or does not.
    pub fn connected(&self, is: bool) {
        self.connected.set(is.into());
    }

    /// The runtime asks before it starts pods.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.get() != 0
    }

    /// A pod has come to the gate and waited so long.
    pub fn gated(&self, what: Gated, waited: Duration) {
        let result = match what {
            Gated::Protected => "protected",
            Gated::LetThrough => "let_through",
            Gated::Refused => "refused",
            Gated::NodeNetwork => "node_network",
        };
        self.pods.get_or_create(&ResultLabel { result }).inc();
        if what != Gated::NodeNetwork {
            self.waits.observe(waited.as_secs_f64());
        }
    }

    /// So many pods have started while the runtime did not ask.
    pub fn unwatched(&self, count: usize) {
        self.unwatched
            .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// How many pods have started while the runtime did not ask.
    #[must_use]
    pub fn unwatched_in_total(&self) -> u64 {
        self.unwatched.get()
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "nri_connected",
            "1 while the container runtime asks before it starts pods",
            self.connected.clone(),
        );
        registry.register(
            "nri_pods",
            "Pods that the container runtime asked about, by what became of them",
            self.pods.clone(),
        );
        registry.register(
            "nri_unwatched_pods",
            "Pods that had started before the container runtime asked, or while it did not",
            self.unwatched.clone(),
        );
        registry.register_with_unit(
            "nri_wait",
            "How long pods waited until they were protected",
            Unit::Seconds,
            self.waits.clone(),
        );
    }
}
