//! `/metrics`.
//!
//! **Cardinality rule:** no pod, address, port or node is ever a label; the number of series is bounded by
//! the product of hooks, verdicts and reasons, and by the number of maps.

use std::{
    collections::BTreeMap,
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};
use ringfence_common::cell::Verdict;

use super::{flow::hook_name, told::ToldMetrics};
use crate::{
    dataplane::{Counters, DRIFT_KINDS, ObjectView},
    watch::{Kind, KindHealth},
};

/// `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PacketLabels {
    hook: &'static str,
    verdict: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MapLabel {
    map: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResourceLabel {
    resource: &'static str,
}

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

    fn register(&self, registry: &mut Registry) {
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

/// Metrics that live from scrape to scrape.
#[derive(Clone, Debug)]
pub struct Lasting {
    /// The NRI gate.
    pub nri: NriMetrics,
    /// Kubernetes Events.
    pub told: ToldMetrics,
    programming: Histogram,
    realized: Histogram,
    results: Family<ResultLabel, Counter>,
}

impl Default for Lasting {
    fn default() -> Self {
        // 100 us to 26 s.
        let buckets = || exponential_buckets(0.0001, 2.0, 19);
        Self {
            programming: Histogram::new(buckets()),
            realized: Histogram::new(buckets()),
            results: Family::default(),
            told: ToldMetrics::default(),
            nri: NriMetrics {
                connected: Gauge::default(),
                pods: Family::default(),
                unwatched: Counter::default(),
                waits: Histogram::new(buckets()),
            },
        }
    }
}

impl Lasting {
    /// A state was written into the maps in this time.
    pub fn programmed(&self, took: Duration) {
        self.programming.observe(took.as_secs_f64());
        self.results
            .get_or_create(&ResultLabel { result: "done" })
            .inc();
    }

    /// From the change's arrival to its being in force.
    pub fn realized(&self, since_change: Duration) {
        self.realized.observe(since_change.as_secs_f64());
    }

    /// A state was refused.
    pub fn refused(&self) {
        self.results
            .get_or_create(&ResultLabel { result: "refused" })
            .inc();
    }
}

/// What is true at a scrape.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Counters of the kernel's.
    pub counters: Counters,
    /// Pinned objects.
    pub objects: Vec<ObjectView>,
    /// Flows that followers were too slow for.
    pub slow_consumer: u64,
    /// Pods that are enforced.
    pub endpoints: usize,
    /// Local pods that were not found.
    pub unplaced: usize,
    /// Revision in force.
    pub revision: Option<u64>,
    /// When it came into force.
    pub realized_at: Option<SystemTime>,
    /// Things that are wrong with objects.
    pub diagnostics: usize,
    /// How current each kind is, if it comes from a cluster.
    pub watches: BTreeMap<Kind, KindHealth>,
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

    let packets = Family::<PacketLabels, Counter>::default();
    for (hook, reason, verdict, count) in &sample.counters.packets {
        let verdict = match verdict {
            Verdict::Allow => "allowed",
            Verdict::Deny => "denied",
        };
        let labels = PacketLabels {
            hook: hook_name(*hook),
            verdict,
            reason: reason.as_str(),
        };
        packets.get_or_create(&labels).inc_by(*count);
    }
    registry.register("packets", "Packets (at hook socket: calls) judged", packets);

    let lost = Family::<ReasonLabel, Counter>::default();
    lost.get_or_create(&ReasonLabel { reason: "kernel" })
        .inc_by(sample.counters.lost_events);
    lost.get_or_create(&ReasonLabel {
        reason: "slow_consumer",
    })
    .inc_by(sample.slow_consumer);
    registry.register(
        "events_lost",
        "Events not seen: kept back in the kernel (rate limit or full ring), or a follower was too slow",
        lost,
    );

    let drift = Family::<KindLabel, Counter>::default();
    for kind in DRIFT_KINDS {
        let count = sample.counters.drift.get(kind).copied().unwrap_or(0);
        drift.get_or_create(&KindLabel { kind }).inc_by(count);
    }
    registry.register(
        "drift",
        "Attachments, pins and map elements that were not as this agent had left them; all were put right",
        drift,
    );

    let endpoints = Family::<StateLabel, Gauge>::default();
    endpoints
        .get_or_create(&StateLabel { state: "ready" })
        .set(clamp(sample.endpoints));
    endpoints
        .get_or_create(&StateLabel { state: "not_found" })
        .set(clamp(sample.unplaced));
    registry.register("endpoints", "Pods of this node", endpoints);

    registry.register("policy_revision", "Revision of the maps in force", {
        let gauge = Gauge::<i64>::default();
        gauge.set(
            sample
                .revision
                .map_or(0, |revision| i64::try_from(revision).unwrap_or(i64::MAX)),
        );
        gauge
    });
    registry.register_with_unit(
        "policy_realized_timestamp",
        "When this agent last brought a state into force",
        Unit::Seconds,
        {
            let gauge = Gauge::<f64, AtomicU64>::default();
            gauge.set(
                sample
                    .realized_at
                    .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
                    .map_or(0.0, |since| since.as_secs_f64()),
            );
            gauge
        },
    );
    registry.register(
        "policy_compile_errors",
        "Things that are wrong with objects now",
        {
            let gauge = Gauge::<i64>::default();
            gauge.set(clamp(sample.diagnostics));
            gauge
        },
    );

    let (entries, limits) = (
        Family::<MapLabel, Gauge>::default(),
        Family::<MapLabel, Gauge>::default(),
    );
    for object in sample.objects.iter().filter(|object| object.kind == "map") {
        let label = MapLabel {
            map: object.pin.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        if let Some(count) = object.entries {
            entries.get_or_create(&label).set(clamp(count));
        }
        limits.get_or_create(&label).set(object.max_entries.into());
    }
    registry.register("bpf_map_entries", "Elements in use", entries);
    registry.register("bpf_map_max_entries", "Elements that fit", limits);

    registry.register_with_unit(
        "policy_programming_duration",
        "From a compiled state to its being in the maps",
        Unit::Seconds,
        lasting.programming.clone(),
    );
    registry.register_with_unit(
        "policy_realization_duration",
        "From a change's arrival to its being in force",
        Unit::Seconds,
        lasting.realized.clone(),
    );
    registry.register(
        "policy_programming",
        "States written to the maps, by result",
        lasting.results.clone(),
    );

    if !sample.watches.is_empty() {
        register_watches(&mut registry, &sample.watches);
    }
    lasting.nri.register(&mut registry);
    lasting.told.register(&mut registry);

    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

fn register_watches(registry: &mut Registry, watches: &BTreeMap<Kind, KindHealth>) {
    let errors = Family::<ResourceLabel, Counter>::default();
    let heard = Family::<ResourceLabel, Gauge<f64, AtomicU64>>::default();
    for (kind, health) in watches {
        let label = ResourceLabel {
            resource: kind.as_str(),
        };
        errors.get_or_create(&label).inc_by(health.errors);
        let since = health
            .heard
            .and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        heard
            .get_or_create(&label)
            .set(since.map_or(0.0, |since| since.as_secs_f64()));
    }
    registry.register(
        "watch_errors",
        "Requests to the API server that failed",
        errors,
    );
    registry.register_with_unit(
        "watch_last_sync_timestamp",
        "When the API server last gave proof that nothing of the kind is missing",
        Unit::Seconds,
        heard,
    );
}

fn clamp(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use ringfence_common::{Hook, event::Reason};

    use super::*;

    #[test]
    fn the_text_names_what_dashboards_ask_for() {
        let lasting = Lasting::default();
        lasting.programmed(Duration::from_millis(3));
        lasting.refused();
        lasting.nri.connected(true);
        lasting
            .nri
            .gated(Gated::LetThrough, Duration::from_millis(3));
        lasting.nri.unwatched(2);
        let sample = Sample {
            counters: Counters {
                packets: vec![(Hook::ToPod, Reason::Policy, Verdict::Deny, 7)],
                lost_events: 2,
                drift: [("missing", 3)].into(),
            },
            objects: vec![ObjectView {
                pin: "/sys/fs/bpf/ringfence/v1/maps/CELLS".to_owned(),
                kind: "map",
                object_type: "array".to_owned(),
                id: 3,
                entries: Some(4),
                max_entries: 100,
                memory: None,
            }],
            slow_consumer: 1,
            endpoints: 5,
            unplaced: 1,
            revision: Some(41),
            realized_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9)),
            diagnostics: 2,
            watches: BTreeMap::from([(
                Kind::Pod,
                KindHealth {
                    heard: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5)),
                    errors: 3,
                    ..KindHealth::default()
                },
            )]),
        };
        let text = encode(&lasting, &sample).unwrap();
        for line in [
            "ringfence_build_info{version=\"0.1.0\"} 1",
            "ringfence_packets_total{hook=\"to_pod\",verdict=\"denied\",reason=\"policy\"} 7",
            "ringfence_events_lost_total{reason=\"kernel\"} 2",
            "ringfence_events_lost_total{reason=\"slow_consumer\"} 1",
            "ringfence_drift_total{kind=\"missing\"} 3",
            "ringfence_drift_total{kind=\"attachment\"} 0",
            "ringfence_endpoints{state=\"ready\"} 5",
            "ringfence_endpoints{state=\"not_found\"} 1",
            "ringfence_policy_revision 41",
            "ringfence_policy_realized_timestamp_seconds 9.0",
            "ringfence_policy_compile_errors 2",
            "ringfence_bpf_map_entries{map=\"CELLS\"} 4",
            "ringfence_bpf_map_max_entries{map=\"CELLS\"} 100",
            "ringfence_policy_programming_duration_seconds_count 1",
            "ringfence_watch_errors_total{resource=\"Pod\"} 3",
            "ringfence_watch_last_sync_timestamp_seconds{resource=\"Pod\"} 5.0",
            "ringfence_policy_programming_total{result=\"refused\"} 1",
            "ringfence_nri_connected 1",
            "ringfence_nri_pods_total{result=\"let_through\"} 1",
            "ringfence_nri_unwatched_pods_total 2",
            "ringfence_nri_wait_seconds_count 1",
            "# EOF",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "no {line:?} in\n{text}"
            );
        }
    }
}
