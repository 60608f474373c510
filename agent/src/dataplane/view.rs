//! What the kernel holds, as plain values, and the one interface through which the rest of the agent reaches it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;
use ringfence_common::{
    Direction, Hook,
    cell::{RuleId, Tier, Verdict},
    event::Reason,
};

use super::Drift;
use crate::{
    compile::Desired,
    model::{HostDevice, Protocol},
};

/// The kernel's tables. One thread owns them (namespaces are per thread, and so are locks that are not needed).
pub trait Kernel: Send {
    /// Makes the maps hold what is desired. All or nothing: on an error the previous state is in force.
    ///
    /// # Errors
    ///
    /// What does not fit or what the kernel refused, with the map and the flag that raises its limit.
    fn apply(&mut self, desired: &Desired) -> Result<Applied, KernelError>;

    /// Guards those of these devices that lead off the node, and no others of that kind. None of them is a pod's: one that was
    /// loses the programs of pods as soon as no endpoint is there.
    ///
    /// # Errors
    ///
    /// What the kernel refused; the other devices are guarded all the same.
    fn guard(&mut self, devices: &BTreeSet<HostDevice>) -> Result<(), KernelError>;

    /// True if the machine has changed under what was applied (a pod's cgroup has appeared): it is time to apply it again.
    fn is_stale(&mut self, desired: &Desired) -> bool;

    /// Endpoints as the maps have them.
    fn endpoints(&self) -> Result<Vec<EndpointView>, KernelError>;

    /// These cells of decision tables: endpoint by endpoint, direction by direction, row by row.
    fn cells(&self, wanted: &CellFilter) -> Result<Vec<CellView>, KernelError>;

    /// Tracked connections, in no order.
    fn connections(&self) -> Result<Vec<ConnectionView>, KernelError>;

    /// Forgets the connections for which `doomed` is true; how many these were.
    fn flush(&mut self, doomed: &dyn Fn(&ConnectionView) -> bool) -> Result<usize, KernelError>;

    /// Counters since the maps were created, summed over CPUs.
    fn counters(&self) -> Result<Counters, KernelError>;

    /// Maps and links with their pins.
    fn objects(&self) -> Result<Vec<ObjectView>, KernelError>;

    /// The programs that are loaded, and where they run.
    fn programs(&self) -> Result<Vec<ProgramView>, KernelError>;

    /// Name of a rule.
    fn rule(&self, id: RuleId) -> Option<String>;

    /// Name (`namespace/name`) of an endpoint, also of one that has gone since the agent started.
    fn endpoint(&self, id: u32) -> Option<String>;

    /// Looks at a little of what the kernel holds, if it is time, and puts right what is not as it should be. Call it often.
    fn audit(&mut self) {}

    /// Takes the events that the kernel has sent since the last call.
    fn events(&mut self) -> Vec<EventView>;
}

/// What one [`Kernel::apply`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Number of this state: how often the maps have been changed since they were created.
    pub revision: u64,
    /// Map elements written or removed.
    pub operations: usize,
    /// Endpoints that got new tables or a new generation.
    pub endpoints: usize,
    /// From the call until every packet was judged by it; what it replaced is removed after that.
    pub in_force: Duration,
}

/// Why a state is not in force.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// It does not fit.
    #[error(
        "map {map} needs {needed} entries and has {limit}: the previous state stays in force; raise {flag}"
    )]
    Full {
        /// Name of the map.
        map: &'static str,
        /// Entries that it would take.
        needed: usize,
        /// Entries that it has.
        limit: usize,
        /// Flag of `ringfence agent` that raises the limit.
        flag: &'static str,
    },
    /// The kernel refused to write an element, or to remove one.
    #[error("map {map}: {message}")]
    NotWritten {
        /// Name of the map.
        map: String,
        /// Name of the error, such as `ENOMEM`; `other` where the kernel was not asked.
        error: String,
        /// What was said.
        message: String,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl KernelError {
    /// The map that could not be written, and why: the name of the kernel's error, or `full` for what was not even tried.
    #[must_use]
    pub fn unwritten(&self) -> Option<(&str, &str)> {
        match self {
            Self::Full { map, .. } => Some((map, "full")),
            Self::NotWritten { map, error, .. } => Some((map, error)),
            Self::Other(_) => None,
        }
    }
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointView {
    /// Number.
    pub id: u32,
    /// `namespace/name` of the pod.
    pub pod: String,
    /// Index of its host-side interface.
    pub ifindex: u32,
    /// Addresses that are its own, link-local ones included.
    pub addresses: Vec<IpAddr>,
    /// Hardware address, if known.
    pub hardware_address: Option<[u8; 6]>,
    /// Generation in force.
    pub generation: u64,
    /// Ingress is isolated (has a table).
    pub ingress_isolated: bool,
    /// Egress is isolated (has a table).
    pub egress_isolated: bool,
    /// May reach some metadata endpoint; of the node itself always true.
    pub metadata_granted: bool,
    /// Names of those that it may reach, as far as they are known.
    pub metadata_endpoints: Vec<String>,
}

/// Which cells of decision tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellFilter {
    /// Those that this endpoint's packets can meet (`namespace/name`).
    pub endpoint: Option<String>,
    /// This element of `CELLS`.
    pub element: Option<u32>,
}

/// One cell of a decision table, met by an endpoint's packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellView {
    /// `namespace/name` of the pod.
    pub endpoint: String,
    /// Direction that it decides about.
    pub direction: Direction,
    /// Number of the table; endpoints may share it.
    pub table: u32,
    /// Element of `CELLS`.
    pub element: u32,
    /// Class of the peers that it is for; 0: everybody who is in no other.
    pub class: u32,
    /// Addresses and networks in that class; none of 0's.
    pub peers: Vec<IpNet>,
    /// Ports that it is for.
    pub ports: Vec<PortRun>,
    /// What counts; `None` for a cell that nobody wrote, which denies.
    pub live: Option<Verdict>,
    /// What would count with everything in audit enforced.
    pub staged: Option<Verdict>,
    /// Tier that decided.
    pub tier: Option<Tier>,
    /// Name of the rule that decided, where one did.
    pub rule: Option<String>,
}

/// Ports that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRun {
    /// Protocol; `None`: all that have no ports.
    pub protocol: Option<Protocol>,
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl PortRun {
    /// All protocols without ports.
    pub const OTHER: Self = Self {
        protocol: None,
        first: 0,
        last: 0,
    };

    /// A run of one port.
    #[must_use]
    pub const fn new(protocol: Protocol, port: u16) -> Self {
        Self {
            protocol: Some(protocol),
            first: port,
            last: port,
        }
    }
}

/// One tracked connection, from the pod's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    /// The pod's address.
    pub local: IpAddr,
    /// The pod's port.
    pub local_port: u16,
    /// The other side's address.
    pub remote: IpAddr,
    /// The other side's port.
    pub remote_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Direction that it was opened in.
    pub direction: Direction,
    /// `Deny` for one that was revoked.
    pub verdict: Verdict,
    /// Rule that decided last; 0 for none.
    pub rule: RuleId,
    /// The pod's own node opened it.
    pub own_node: bool,
    /// It was under way before it was tracked.
    pub adopted: bool,
    /// To a Service: judged after translation, in an entry of its own.
    pub deferred: bool,
    /// The sender's egress, judged where the connection ends or leaves the node: `local` is the sender as it is there.
    pub after_translation: bool,
    /// Something came back.
    pub replied: bool,
    /// Seconds since its last packet.
    pub idle_seconds: u64,
}

/// Counters since the maps were created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets (at hook `Socket`: calls) by hook, reason and verdict; zeros left out.
    pub packets: Vec<(Hook, Reason, Verdict, u64)>,
    /// Bytes of denied packets by hook and reason; zeros left out.
    pub denied_bytes: Vec<(Hook, Reason, u64)>,
    /// Events that the rate limit or a full ring kept back.
    pub lost_events: u64,
    /// Connections that no entry was made for, because the kernel refused it.
    pub untracked: u64,
    /// Updates that were refused since the agent started, by map and error.
    pub update_errors: BTreeMap<(String, String), u64>,
    /// Devices that went while programs were being attached to them, since the agent started.
    pub vanished: u64,
    /// What the audit found since the agent started, by kind.
    pub drift: Drift,
    /// The metadata firewall is in audit: what has no grant passes.
    pub metadata_audited: bool,
}

/// A pinned object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectView {
    /// Path of the pin.
    pub pin: String,
    /// `map` or `link`.
    pub kind: &'static str,
    /// Type, such as `lru_hash` or `tcx`.
    pub object_type: String,
    /// Kernel's id of the object.
    pub id: u32,
    /// Entries in use, for maps that can tell.
    pub entries: Option<usize>,
    /// Entries that fit; 0 for links.
    pub max_entries: u32,
    /// Bytes of kernel memory, where the kernel tells.
    pub memory: Option<u64>,
}

/// A loaded program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramView {
    /// Its name.
    pub name: &'static str,
    /// Where it judges.
    pub hook: Hook,
    /// Whether it is attached wherever it belongs; `None` if it belongs nowhere now.
    pub attached: Option<bool>,
    /// How often it ran since it was loaded, and how long; `None` while the kernel does not keep that.
    pub runs: Option<(u64, Duration)>,
}

/// One event, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventView {
    /// When, on the system's clock.
    pub time: std::time::SystemTime,
    /// Hook that judged.
    pub hook: Hook,
    /// What it got.
    pub verdict: Verdict,
    /// What it would have got with everything in audit enforced.
    pub staged: Verdict,
    /// Why.
    pub reason: Reason,
    /// Tier that decided, where a table did.
    pub tier: Option<Tier>,
    /// Name of the rule that decided, where one did.
    pub rule: Option<String>,
    /// `namespace/name` of the endpoint, if it is one.
    pub endpoint: Option<String>,
    /// Interface index; 0 for sockets.
    pub ifindex: u32,
    /// Source address; of sockets unspecified.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Source port; 0 where there is none.
    pub source_port: u16,
    /// Destination port; 0 where there is none.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Bytes of the packet.
    pub length: u32,
}
