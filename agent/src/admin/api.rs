//! What goes over the socket: the same values are printed with `-o json`.

use std::net::IpAddr;

use ringfence_common::{Direction, cell::Verdict};
use serde::{Deserialize, Serialize};

use crate::{
    dataplane::{ConnectionView, EndpointView, ObjectView},
    model::Diagnostic,
    observe::flow::protocol_name,
};

/// A list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List<T> {
    /// Its elements.
    pub items: Vec<T>,
}

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What is wrong.
    pub error: String,
}

/// How many were done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Connections that were forgotten.
    pub flushed: usize,
}

/// `/v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Name of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// When it started.
    pub started: String,
    /// All is well.
    pub ready: bool,
    /// What is not.
    #[serde(default)]
    pub not_ready: Vec<String>,
    /// Revision of the maps in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// When this agent brought it into force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realized: Option<String>,
    /// Why a later state is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// How current what comes from a cluster is, a line for each kind; `[!]` begins what is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Pods that are enforced.
    pub endpoints: usize,
    /// Local pods that were not found.
    #[serde(default)]
    pub unplaced: Vec<Unplaced>,
    /// Policies that are known.
    pub policies: usize,
    /// Whether this agent enforces `NetworkPolicy`, and why or why not.
    #[serde(default)]
    pub network_policy: String,
    /// The metadata firewall is in audit on this node: what has no grant passes and is told of.
    #[serde(default)]
    pub metadata_audited: bool,
    /// How it is with each layer of the metadata firewall.
    #[serde(default)]
    pub metadata_layers: Vec<LayerRow>,
    /// Whether the agent itself may reach the metadata services, and by what.
    #[serde(default)]
    pub agent_access: String,
    /// Where the socket hooks attach, or why there are none.
    pub socket_hooks: String,
    /// Whether the container runtime asks before it starts pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nri: Option<String>,
    /// Directory of the pins.
    pub bpffs: String,
    /// Address of /metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// Events that nobody saw.
    pub lost_events: u64,
    /// The node's devices.
    #[serde(default)]
    pub devices: Vec<DeviceRow>,
    /// What is wrong with objects.
    #[serde(default)]
    pub diagnostics: Vec<DiagnosticRow>,
}

/// A layer of the metadata firewall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRow {
    /// Its word.
    pub name: String,
    /// It is there, wherever it belongs.
    pub stands: bool,
    /// Why not, or what it does not see.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// A local pod that was not found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unplaced {
    /// `namespace/name`.
    pub pod: String,
    /// Why.
    pub reason: String,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Role.
    pub role: String,
}

/// Something wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosticRow {
    /// File and line, or `API`.
    pub origin: String,
    /// `Kind/namespace/name`.
    pub object: String,
    /// Path of the field.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl From<&Diagnostic> for DiagnosticRow {
    fn from(diagnostic: &Diagnostic) -> Self {
        Self {
            origin: diagnostic.origin.to_string(),
            object: diagnostic.object.clone(),
            field: diagnostic.field.clone(),
            message: diagnostic.message.clone(),
        }
    }
}

/// `/v1/endpoints`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Number.
    pub id: u32,
    /// `namespace/name`.
    pub pod: String,
    /// Host-side interface.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware_address: Option<String>,
    /// Generation in force.
    pub generation: u64,
    /// Ingress is isolated.
    pub ingress_isolated: bool,
    /// Egress is isolated.
    pub egress_isolated: bool,
    /// May reach some metadata endpoint.
    pub metadata_granted: bool,
    /// Names of those that it may reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata_endpoints: Vec<String>,
}

impl Endpoint {
    /// Of what the kernel says, and the interface's name.
    #[must_use]
    pub fn new(view: EndpointView, interface: String) -> Self {
        Self {
            id: view.id,
            pod: view.pod,
            interface,
            ifindex: view.ifindex,
            addresses: view.addresses,
            hardware_address: view.hardware_address.map(|[a, b, c, d, e, f]| {
                format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
            }),
            generation: view.generation,
            ingress_isolated: view.ingress_isolated,
            egress_isolated: view.egress_isolated,
            metadata_granted: view.metadata_granted,
            metadata_endpoints: view.metadata_endpoints,
        }
    }
}

/// `/v1/connections`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// `tcp`, `udp` and so on.
    pub protocol: String,
    /// The pod's address.
    pub local: IpAddr,
    /// The pod's port.
    pub local_port: u16,
    /// `ingress` or `egress`: who opened it.
    pub direction: String,
    /// The other side's address.
    pub remote: IpAddr,
    /// The other side's port.
    pub remote_port: u16,
    /// `allow`, or `deny` for one that was revoked.
    pub verdict: String,
    /// Rule that decided last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `own-node`, `adopted`, `deferred` (to a Service), `after-translation` (what became of it), `replied`.
    pub flags: Vec<String>,
    /// Seconds since its last packet.
    pub idle_seconds: u64,
}

impl Connection {
    /// Of what the kernel says, and the rule's name.
    #[must_use]
    pub fn new(view: &ConnectionView, rule: Option<String>) -> Self {
        let flags = [
            (view.own_node, "own-node"),
            (view.adopted, "adopted"),
            (view.deferred, "deferred"),
            (view.after_translation, "after-translation"),
            (view.replied, "replied"),
        ];
        Self {
            protocol: protocol_name(view.protocol),
            local: view.local,
            local_port: view.local_port,
            direction: match view.direction {
                Direction::Ingress => "ingress",
                Direction::Egress => "egress",
            }
            .to_owned(),
            remote: view.remote,
            remote_port: view.remote_port,
            verdict: match view.verdict {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
            }
            .to_owned(),
            rule,
            flags: flags
                .iter()
                .filter(|(set, _)| *set)
                .map(|(_, name)| (*name).to_owned())
                .collect(),
            idle_seconds: view.idle_seconds,
        }
    }
}

/// `/v1/objects`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Path of the pin.
    pub pin: String,
    /// `map` or `link`.
    pub kind: String,
    /// Type.
    pub object_type: String,
    /// Elements in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<usize>,
    /// Elements that fit.
    pub max_entries: u32,
    /// Bytes of kernel memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Kernel's id.
    pub id: u32,
}

impl From<ObjectView> for Object {
    fn from(view: ObjectView) -> Self {
        Self {
            pin: view.pin,
            kind: view.kind.to_owned(),
            object_type: view.object_type,
            entries: view.entries,
            max_entries: view.max_entries,
            memory: view.memory,
            id: view.id,
        }
    }
}
