//! One judged flow, as logs and `observe` show it: one JSON object in each line.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    time::SystemTime,
};

use jiff::Timestamp;
use ringfence_common::{Direction, Hook, cell::Verdict, event::Reason, protocol};
use serde::{Deserialize, Serialize};

use crate::{
    compile::Metadata,
    dataplane::EventView,
    metadata::clouds,
    model::{Pod, PodKey, Snapshot},
};

/// Name and version of the form.
pub const SCHEMA: &str = "ringfence.flow/v1";

/// One judged flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// [`SCHEMA`].
    pub schema: String,
    /// When, RFC 3339.
    pub time: String,
    /// The node.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// `ALLOWED`, `DENIED`, `WOULD-DENY` or `WOULD-ALLOW`.
    pub verdict: FlowVerdict,
    /// `ingress` or `egress`, seen from the pod.
    pub direction: String,
    /// The hook that judged.
    pub hook: String,
    /// Why.
    pub reason: String,
    /// Number of the tier that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u8>,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<FlowRule>,
    /// The pod at whose door it was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Source.
    pub src: FlowEnd,
    /// Destination.
    pub dst: FlowEnd,
    /// The metadata endpoint that it was for, where the metadata firewall has judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<FlowMetadata>,
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, or the protocol's number.
    pub transport: String,
    /// Bytes of the packet.
    #[serde(default)]
    pub length: u32,
}

/// What a flow got, and what it would have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum FlowVerdict {
    /// Allowed.
    Allowed,
    /// Denied.
    Denied,
    /// Allowed; denied with everything in audit enforced.
    WouldDeny,
    /// Denied; allowed with everything in audit enforced.
    WouldAllow,
}

impl FlowVerdict {
    /// The word for it in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "ALLOWED",
            Self::Denied => "DENIED",
            Self::WouldDeny => "WOULD-DENY",
            Self::WouldAllow => "WOULD-ALLOW",
        }
    }

    const fn of(live: Verdict, staged: Verdict) -> Self {
        match (live, staged) {
            (Verdict::Allow, Verdict::Allow) => Self::Allowed,
            (Verdict::Deny, Verdict::Deny) => Self::Denied,
            (Verdict::Allow, Verdict::Deny) => Self::WouldDeny,
            (Verdict::Deny, Verdict::Allow) => Self::WouldAllow,
        }
    }
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRule {
    /// Its name.
    pub name: String,
}

/// What the metadata firewall has judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowMetadata {
    /// The endpoint's name.
    pub endpoint: String,
    /// Who answers at its address, if that is in the built-in catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clouds: Option<String>,
    /// The pod sent it to another address: a Service or another translation led here.
    #[serde(default)]
    pub translated: bool,
}

/// One end of a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEnd {
    /// `pod`, `node` or `world`; empty where a socket's own address is not known yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Namespace of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Name of the service whose address this is (`namespace/name`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// Port; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl FlowEnd {
    /// For people: the pod's or service's name, else the address; with the port.
    #[must_use]
    pub fn label(&self) -> String {
        let name = match (&self.namespace, &self.pod, &self.service, self.ip) {
            (Some(namespace), Some(pod), ..) => format!("{namespace}/{pod}"),
            (.., Some(service), _) => format!("svc/{service}"),
            (.., Some(ip)) if ip.is_ipv6() && self.port.is_some() => format!("[{ip}]"),
            (.., Some(ip)) => ip.to_string(),
            (.., None) => "-".to_owned(),
        };
        match self.port {
            Some(port) => format!("{name}:{port}"),
            None => name,
        }
    }
}

/// Names of addresses: kept up to date by what differs, so that neither a flow nor an event costs much.
#[derive(Debug, Default)]
pub struct AddressBook {
    snapshot: Snapshot,
    pods: HashMap<IpAddr, PodKey>,
    services: HashMap<IpAddr, (String, String)>,
    nodes: BTreeSet<IpAddr>,
    metadata: Metadata,
}

impl AddressBook {
    /// Everybody in this state.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut book = Self::default();
        book.follow(snapshot);
        book
    }

    /// Takes a newer state. A pod goes before a service and before the node.
    pub fn follow(&mut self, snapshot: &Snapshot) {
        let old = std::mem::replace(&mut self.snapshot, snapshot.clone());
        let mut pods = old.pods.changed_keys(&snapshot.pods);
        pods.extend(old.local.changed_keys(&snapshot.local));
        for &key in &pods {
            for address in addresses(&old, key) {
                if self.pods.get(&address) == Some(key) {
                    self.pods.remove(&address);
                }
            }
        }
        for &key in &pods {
            for address in addresses(snapshot, key) {
                self.pods.insert(address, key.clone());
            }
        }
        let services: Vec<_> = old.services.differences(&snapshot.services).collect();
        for service in &services {
            for address in service.old.into_iter().flat_map(|it| &it.addresses) {
                self.services.remove(address);
            }
        }
        for service in &services {
            for address in service.new.into_iter().flat_map(|it| &it.addresses) {
                self.services.insert(*address, service.key.clone());
            }
        }
        if old.firewalls != snapshot.firewalls || old.node_addresses != snapshot.node_addresses {
            self.metadata = Metadata::of(snapshot);
        }
        if old.nodes != snapshot.nodes || old.node_addresses != snapshot.node_addresses {
            let of_nodes = snapshot.nodes.values().flat_map(|node| &node.addresses);
            self.nodes = of_nodes.chain(&snapshot.node_addresses).copied().collect();
        }
    }

    /// The metadata endpoint that an event is about.
    fn metadata(&self, event: &EventView) -> Option<FlowMetadata> {
        if !matches!(
            event.reason,
            Reason::Metadata | Reason::MetadataRate | Reason::Granted
        ) {
            return None;
        }
        let (address, denied) = self.metadata.at(event.destination)?;
        let sender = event.endpoint.as_deref().and_then(|it| it.split_once('/'));
        let sender = sender.map(|(namespace, name)| PodKey {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
        // At its own device a pod with a network of its own would have been refused before.
        let own_network = sender.is_some_and(|key| {
            let pod = self.snapshot.pods.get(&key);
            pod.is_none_or(|pod| !pod.host_network)
        });
        Some(FlowMetadata {
            endpoint: denied.endpoint.to_string(),
            clouds: clouds(address),
            translated: own_network && matches!(event.hook, Hook::ToHost | Hook::ToNode),
        })
    }

    /// True if the hook of the pod's own device tells of the same: in an audit of the metadata firewall what a pod's socket asks for
    /// passes there next, with a mark that does not survive the way out of the pod. `from_pod` says that this hook asks.
    #[must_use]
    pub fn is_told_at_device(&self, event: &EventView, from_pod: bool) -> bool {
        let audited = event.reason == Reason::Metadata && event.verdict == Verdict::Allow;
        let at_socket = matches!(event.hook, Hook::Socket | Hook::SocketPackets);
        if !from_pod || !audited || !at_socket {
            return false;
        }
        let sender = event.endpoint.as_deref().and_then(|it| it.split_once('/'));
        sender.is_some_and(|(namespace, name)| {
            let key = PodKey {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            };
            self.snapshot.local.contains_key(&key)
        })
    }

    fn known(&self, address: IpAddr) -> Option<FlowEnd> {
        if let Some(pod) = self.pods.get(&address) {
            return Some(FlowEnd {
                kind: "pod".to_owned(),
                namespace: Some(pod.namespace.clone()),
                pod: Some(pod.name.clone()),
                ..FlowEnd::default()
            });
        }
        if let Some((namespace, name)) = self.services.get(&address) {
            return Some(FlowEnd {
                kind: "service".to_owned(),
                service: Some(format!("{namespace}/{name}")),
                ..FlowEnd::default()
            });
        }
        self.nodes.contains(&address).then(|| FlowEnd {
            kind: "node".to_owned(),
            ..FlowEnd::default()
        })
    }

    fn end(&self, address: IpAddr, port: u16) -> FlowEnd {
        if address.is_unspecified() {
            return FlowEnd::default();
        }
        let mut end = self.known(address).unwrap_or_else(|| FlowEnd {
            kind: "world".to_owned(),
            ..FlowEnd::default()
        });
        end.ip = Some(address);
        end.port = (port != 0).then_some(port);
        end
    }
}

/// The addresses that are a pod's.
fn addresses(snapshot: &Snapshot, key: &PodKey) -> Vec<IpAddr> {
    let running = |pod: &&Pod| pod.is_running() && !pod.host_network;
    let Some(pod) = snapshot.pods.get(key).filter(running) else {
        return Vec::new();
    };
    let found = snapshot.local.get(key).into_iter();
    let found = found.flat_map(|located| &located.addresses);
    let of_interface = found.filter(|address| !is_link_local(address));
    pod.addresses.iter().chain(of_interface).copied().collect()
}

const fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

impl Flow {
    /// The flow of an event.
    #[must_use]
    pub fn new(event: &EventView, node: &str, names: &AddressBook) -> Self {
        let direction = direction(event.hook, event.reason);
        let mut src = names.end(event.source, event.source_port);
        let mut dst = names.end(event.destination, event.destination_port);
        // The hook knows whose door it is; addresses are only second best (and a spoofed one says nothing).
        if let Some((namespace, pod)) = event
            .endpoint
            .as_deref()
            .and_then(|name| name.split_once('/'))
        {
            let end = match direction {
                Direction::Egress => &mut src,
                Direction::Ingress => &mut dst,
            };
            "pod".clone_into(&mut end.kind);
            end.namespace = Some(namespace.to_owned());
            end.pod = Some(pod.to_owned());
            end.service = None;
        }
        Self {
            schema: SCHEMA.to_owned(),
            time: timestamp(event.time),
            node: node.to_owned(),
            verdict: FlowVerdict::of(event.verdict, event.staged),
            direction: match direction {
                Direction::Ingress => "ingress",
                Direction::Egress => "egress",
            }
            .to_owned(),
            hook: hook_name(event.hook).to_owned(),
            reason: event.reason.as_str().to_owned(),
            step: event.tier.map(|tier| tier as u8),
            rule: event.rule.clone().map(|name| FlowRule { name }),
            endpoint: event.endpoint.clone(),
            src,
            dst,
            metadata: names.metadata(event),
            transport: protocol_name(event.protocol),
            length: event.length,
        }
    }
}

/// The time as logs write it.
#[must_use]
pub fn timestamp(time: SystemTime) -> String {
    Timestamp::try_from(time)
        .map_or_else(|_out_of_range| String::new(), |time| format!("{time:.6}"))
}

/// The direction, seen from the pod that the event is about.
const fn direction(hook: Hook, reason: Reason) -> Direction {
    match (hook, reason) {
        // The sender's, judged at the receiver.
        (_, Reason::Egress) => Direction::Egress,
        (Hook::ToPod | Hook::FromHost, _) => Direction::Ingress,
        (
            Hook::FromPod
            | Hook::ToHost
            | Hook::Socket
            | Hook::ToNode
            | Hook::SocketPackets
            | Hook::Lo,
            _,
        ) => Direction::Egress,
    }
}

/// The word for a hook in metrics, logs and flags.
#[must_use]
pub const fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::FromPod => "from_pod",
        Hook::ToPod => "to_pod",
        Hook::FromHost => "from_host",
        Hook::ToHost => "to_host",
        Hook::Socket => "socket",
        Hook::ToNode => "to_node",
        Hook::SocketPackets => "socket_packets",
        Hook::Lo => "lo",
    }
}

/// The word for a protocol: its name, else its number.
#[must_use]
pub fn protocol_name(number: u8) -> String {
    match number {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::SCTP => "sctp".to_owned(),
        protocol::ICMP => "icmp".to_owned(),
        protocol::ICMPV6 => "icmpv6".to_owned(),
        other => other.to_string(),
    }
}

/// The protocol of a word or number.
#[must_use]
pub fn protocol_number(name: &str) -> Option<u8> {
    Some(match name.to_ascii_lowercase().as_str() {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        "sctp" => protocol::SCTP,
        "icmp" => protocol::ICMP,
        "icmpv6" => protocol::ICMPV6,
        other => other.parse().ok()?,
    })
}
