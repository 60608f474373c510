//! What the programs judged, as they counted it.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use ringfence_common::{cell::Verdict, event::Reason};

use super::{Sample, gauge};
use crate::observe::flow::hook_name;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PacketLabels {
    hook: &'static str,
    verdict: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DeniedLabels {
    hook: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    hook: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// The tables of tracked connections.
const CONNECTIONS: [&str; 2] = ["CONNECTIONS4", "CONNECTIONS6"];

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allowed",
        Verdict::Deny => "denied",
    }
}

pub(super) fn register(registry: &mut Registry, sample: &Sample) {
    let packets = Family::<PacketLabels, Counter>::default();
    let requests = Family::<RequestLabels, Counter>::default();
    for &(hook, reason, verdict, count) in &sample.counters.packets {
        let (hook, verdict) = (hook_name(hook), word(verdict));
        let labels = PacketLabels {
            hook,
            verdict,
            reason: reason.as_str(),
        };
        packets.get_or_create(&labels).inc_by(count);
        if matches!(reason, Reason::Metadata | Reason::Granted) {
            let labels = RequestLabels { hook, verdict };
            requests.get_or_create(&labels).inc_by(count);
        }
    }
    registry.register("packets", "Packets (at hook socket: calls) judged", packets);
    registry.register(
        "metadata_requests",
        "Attempts to reach the metadata service: calls at hook socket, packets elsewhere",
        requests,
    );

    let bytes = Family::<DeniedLabels, Counter>::default();
    for &(hook, reason, count) in &sample.counters.denied_bytes {
        let labels = DeniedLabels {
            hook: hook_name(hook),
            reason: reason.as_str(),
        };
        bytes.get_or_create(&labels).inc_by(count);
    }
    registry.register(
        "denied_bytes",
        "Bytes of denied packets, with the headers that the hook sees",
        bytes,
    );

    let lost = Family::<ReasonLabel, Counter>::default();
    for (reason, count) in [
        ("kernel", sample.counters.lost_events),
        ("slow_consumer", sample.slow_consumer),
    ] {
        lost.get_or_create(&ReasonLabel { reason }).inc_by(count);
    }
    registry.register(
        "events_lost",
        "Events not seen: kept back in the kernel (rate limit or full ring), or a follower was too slow",
        lost,
    );

    let connections = sample.objects.iter().filter(|object| {
        CONNECTIONS
            .iter()
            .any(|map| object.pin.rsplit('/').next() == Some(*map))
    });
    let tracked = connections.filter_map(|object| object.entries).sum();
    registry.register(
        "conntrack_entries",
        "Tracked connections of both families",
        gauge(tracked),
    );
}
