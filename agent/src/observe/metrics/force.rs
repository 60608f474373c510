//! States that were put into force, and what it took.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::durations;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// States that were put into force.
#[derive(Clone, Debug)]
pub struct ForceMetrics {
    programming: Histogram,
    realized: Histogram,
    endpoints: Histogram,
    results: Family<ResultLabel, Counter>,
}

impl Default for ForceMetrics {
    fn default() -> Self {
        let results = Family::<ResultLabel, Counter>::default();
        for result in ["done", "refused"] {
            // The series begins at 0, so that the first one is an increase.
            drop(results.get_or_create(&ResultLabel { result }));
        }
        Self {
            programming: durations(),
            realized: durations(),
            endpoints: durations(),
            results,
        }
    }
}

impl ForceMetrics {
    /// A state was written into the maps in this time.
    pub fn programmed(&self, took: Duration) {
        self.programming.observe(took.as_secs_f64());
        self.count("done");
    }

    /// From the change's arrival to its being in force.
    pub fn realized(&self, since_change: Duration) {
        self.realized.observe(since_change.as_secs_f64());
    }

    /// A pod waited this long until it was enforced.
    pub fn endpoint(&self, waited: Duration) {
        self.endpoints.observe(waited.as_secs_f64());
    }

    /// A state was refused.
    pub fn refused(&self) {
        self.count("refused");
    }

    fn count(&self, result: &'static str) {
        self.results.get_or_create(&ResultLabel { result }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "policy_programming_duration",
            "From a compiled state to its being in the maps",
            Unit::Seconds,
            self.programming.clone(),
        );
        registry.register_with_unit(
            "policy_realization_duration",
            "From a change's arrival to its being in force",
            Unit::Seconds,
            self.realized.clone(),
        );
        registry.register_with_unit(
            "endpoint_programming_duration",
            "From a pod's having an address, or a sandbox, as the agent hears of it, to its being enforced",
            Unit::Seconds,
            self.endpoints.clone(),
        );
        registry.register(
            "policy_programming",
            "States written to the maps, by result",
            self.results.clone(),
        );
    }
}
