//! Metrics about Kubernetes Events.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    result: &'static str,
}

/// What became of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToldResult {
    /// It was written.
    Written,
    /// The agent's account may not write it.
    Refused,
    /// The API server did not take it.
    Failed,
}

/// Events that were written, and that were not.
#[derive(Clone, Debug, Default)]
pub struct ToldMetrics(Family<Labels, Counter>);

impl ToldMetrics {
    /// One more.
    pub fn told(&self, result: ToldResult) {
        let result = match result {
            ToldResult::Written => "written",
            ToldResult::Refused => "refused",
            ToldResult::Failed => "failed",
        };
        self.0.get_or_create(&Labels { result }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "kubernetes_events",
            "Attempts to write a Kubernetes Event, by what became of them",
            self.0.clone(),
        );
    }
}
