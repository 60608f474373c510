//! Metrics about what is said of objects, and of this node.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    result: &'static str,
}

/// Reports of this node, and statuses that it has written for all.
#[derive(Clone, Debug, Default)]
pub struct StatusMetrics {
    reports: Family<Labels, Counter>,
    writes: Family<Labels, Counter>,
    leads: Gauge,
}

impl StatusMetrics {
    /// One more report of this node; true if it was taken.
    pub fn reported(&self, taken: bool) {
        count(&self.reports, taken);
    }

    /// One more status of an object; true if it was taken.
    pub fn wrote(&self, taken: bool) {
        count(&self.writes, taken);
    }

    /// Whether this agent writes for all.
    pub fn leads(&self, leads: bool) {
        self.leads.set(leads.into());
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "node_reports",
            "Reports of what this node has in force, by what became of them",
            self.reports.clone(),
        );
        registry.register(
            "status_writes",
            "Writes of objects' status by this agent, by what became of them",
            self.writes.clone(),
        );
        registry.register(
            "status_leader",
            "1 if this agent writes objects' status for all nodes",
            self.leads.clone(),
        );
    }
}

fn count(family: &Family<Labels, Counter>, taken: bool) {
    let result = if taken { "written" } else { "failed" };
    family.get_or_create(&Labels { result }).inc();
}
