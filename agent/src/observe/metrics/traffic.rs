//! What the programs judged, as they counted it.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use ringfence_common::{Hook, cell::Verdict, event::Reason};

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
struct LayerLabels {
    layer: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    hook: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FlowLabels {
    direction: &'static str,
    verdict: &'static str,
    reason: &'static str,
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

/// The direction of the flow that a packet, judged so, has tried to open; `None` where it belongs to a flow, or could not
/// open one.
///
/// What is passed on is judged again where it ends or leaves the node: that it passes there is not counted once more.
fn tried(hook: Hook, verdict: Verdict, reason: Reason) -> Option<&'static str> {
    use Reason::{Adopted, Deferred, Egress, Metadata, NotIsolated, OwnNode, Policy};
    let of_pods = matches!(hook, Hook::FromPod | Hook::ToPod);
    let opens = match verdict {
        Verdict::Allow => {
            of_pods && matches!(reason, Policy | NotIsolated | OwnNode | Adopted | Deferred)
        }
        Verdict::Deny => matches!(reason, Policy | Metadata | Egress),
    };
    // Of a packet to a pod, too, it may be the sender's egress policy that forbids it.
    let ingress = hook == Hook::ToPod && reason != Egress;
    opens.then_some(if ingress { "ingress" } else { "egress" })
}

fn register_flows(registry: &mut Registry, sample: &Sample) {
    let flows = Family::<FlowLabels, Counter>::default();
    for &(hook, reason, verdict, count) in &sample.counters.packets {
        if let Some(direction) = tried(hook, verdict, reason) {
            let labels = FlowLabels {
                direction,
                verdict: word(verdict),
                reason: reason.as_str(),
            };
            flows.get_or_create(&labels).inc_by(count);
        }
    }
    registry.register(
        "flows",
        "Attempts to open a flow: packets (of sockets: calls) of pods that belonged to none",
        flows,
    );
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
        if matches!(
            reason,
            Reason::Metadata | Reason::MetadataRate | Reason::Granted
        ) {
            let verdict = match (reason, verdict) {
                // Without a grant, in an audit.
                (Reason::Metadata, "allowed") => "would_deny",
                _ => verdict,
            };
            let labels = RequestLabels { hook, verdict };
            requests.get_or_create(&labels).inc_by(count);
        }
    }
    let layers = Family::<LayerLabels, Gauge>::default();
    for layer in &sample.metadata_layers {
        let labels = LayerLabels { layer: layer.name };
        layers.get_or_create(&labels).set(layer.stands.into());
    }
    registry.register(
        "metadata_layer",
        "1 if the layer of the metadata firewall stands, 0 if not: `ringfence status` says why",
        layers,
    );
    registry.register(
        "metadata_audit",
        "1 while the metadata firewall is in audit on this node: what has no grant passes and is told of; else 0",
        gauge(usize::from(sample.counters.metadata_audited)),
    );
    registry.register("packets", "Packets (at hook socket: calls) judged", packets);
    registry.register(
        "metadata_requests",
        "Attempts to reach the metadata service: calls at hook socket, packets elsewhere; would_deny passed in an audit",
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

    register_flows(registry, sample);

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
    let untracked = Counter::<u64>::default();
    untracked.inc_by(sample.counters.untracked);
    registry.register(
        "conntrack_insert_failures",
        "Connections that the kernel had no entry for: each of their packets is judged by itself",
        untracked,
    );
}
