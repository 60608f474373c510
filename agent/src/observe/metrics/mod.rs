//! `/metrics`.
//!
//! **Cardinality rule:** no pod, address, port or node is ever a label; the number of series is bounded by the product of
//! hooks, verdicts and reasons, by the number of maps and of programs. Names and meanings are listed in `docs/metrics.md`,
//! which a test compares with what is served.
//!
//! **Invariant.** What the kernel counts is read at the scrape, and so outlives the agent.

mod endpoints;
mod force;
mod kernel;
mod nri;
mod policies;
mod process;
mod sources;
mod traffic;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::SystemTime};

use prometheus_client::{
    encoding::text,
    metrics::{
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

pub use self::{
    endpoints::Waits,
    force::ForceMetrics,
    nri::{Gated, NriMetrics},
    policies::{PolicyState, policy_states},
    process::Process,
};
use super::{status::StatusMetrics, told::ToldMetrics};
use crate::{
    dataplane::{Counters, ObjectView, ProgramView},
    metadata::Layer,
    watch::{Kind, KindHealth},
};

/// `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics that live from scrape to scrape.
#[derive(Clone, Debug, Default)]
pub struct Lasting {
    /// States that were put into force.
    pub force: ForceMetrics,
    /// The NRI gate.
    pub nri: NriMetrics,
    /// Kubernetes Events.
    pub told: ToldMetrics,
    /// What is said of objects.
    pub status: StatusMetrics,
}

/// What is true at a scrape.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Counters of the kernel's.
    pub counters: Counters,
    /// Pinned objects.
    pub objects: Vec<ObjectView>,
    /// Programs of this agent's.
    pub programs: Vec<ProgramView>,
    /// Layers of the metadata firewall.
    pub metadata_layers: Vec<Layer>,
    /// Flows that followers were too slow for.
    pub slow_consumer: u64,
    /// Pods that are enforced.
    pub endpoints: usize,
    /// Local pods that were not found.
    pub unplaced: usize,
    /// Policies, by kind and by what became of them.
    pub policies: BTreeMap<(Kind, PolicyState), usize>,
    /// Revision in force.
    pub revision: Option<u64>,
    /// When it came into force.
    pub realized_at: Option<SystemTime>,
    /// Things that are wrong with objects.
    pub diagnostics: usize,
    /// How current each kind is, if it comes from a cluster.
    pub watches: BTreeMap<Kind, KindHealth>,
    /// The agent's own process, if the machine tells of it.
    pub process: Option<Process>,
}

/// The text of `/metrics`.
///
/// # Errors
///
/// Never in practice: writing into a string.
pub fn encode(lasting: &Lasting, sample: &Sample) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("ringfence");
    registry.register(
        "build",
        "Version of the agent",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    traffic::register(&mut registry, sample);
    policies::register(&mut registry, sample);
    kernel::register(&mut registry, sample);
    lasting.force.register(&mut registry);
    sources::register(&mut registry, &sample.watches);
    lasting.nri.register(&mut registry);
    lasting.told.register(&mut registry);
    lasting.status.register(&mut registry);
    // These have the names that every process has.
    let mut usual = Registry::default();
    if let Some(process) = &sample.process {
        process.register(&mut usual);
    }

    let mut out = String::new();
    text::encode_registry(&mut out, &registry)?;
    text::encode_registry(&mut out, &usual)?;
    text::encode_eof(&mut out)?;
    Ok(out)
}

fn clamp(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn gauge(value: usize) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(clamp(value));
    gauge
}

fn seconds_since_epoch(time: Option<SystemTime>) -> f64 {
    time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
        .map_or(0.0, |since| since.as_secs_f64())
}

/// From 100 us to 26 s.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 19))
}
