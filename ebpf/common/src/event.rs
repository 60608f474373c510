//! Events: what the kernel tells user space about a packet, and what it counts.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{V6, bits};

/// Why a packet got its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// A table's cell decided, either way.
    Policy = 0,
    /// The direction is not isolated: allowed.
    NotIsolated = 1,
    /// Original direction of a tracked connection: allowed.
    Established = 2,
    /// Reply of a tracked connection: allowed.
    Reply = 3,
    /// ICMP error about a tracked connection: allowed.
    Related = 4,
    /// Generated on the pod's own node: allowed.
    OwnNode = 5,
    /// From the pod to itself: allowed.
    ToItself = 6,
    /// ARP, neighbour discovery or multicast listener discovery as it should be: allowed.
    Neighbour = 7,
    /// TCP that was under way before it was tracked: allowed.
    Adopted = 8,
    /// A granted metadata endpoint, from a socket: allowed.
    Granted = 9,
    /// To a Service: judged after translation, where it ends or leaves the node.
    Deferred = 10,
    /// Leaves the node, or ends in one of its sockets; nothing has to be said about it here: allowed.
    PassedOn = 11,

    /// A metadata endpoint without a grant. Where the metadata firewall is in audit: allowed.
    Metadata = 16,
    /// The source address is not the pod's.
    SpoofedAddress = 17,
    /// The hardware address is not the pod's.
    SpoofedHardware = 18,
    /// A header contradicts itself.
    Malformed = 19,
    /// The packet ends before its headers do.
    Truncated = 20,
    /// Neither IPv4, IPv6 nor ARP.
    EtherType = 21,
    /// More than 8 IPv6 extension headers, or in an order that is not allowed.
    Extensions = 22,
    /// A later fragment whose first was not seen or not allowed.
    Fragment = 23,
    /// A connection that policy has taken back.
    Revoked = 24,
    /// Neighbour discovery or ARP that speaks for somebody else, or a router's.
    NeighbourForged = 25,
    /// The device belongs to no endpoint.
    UnknownEndpoint = 26,
    /// A cell that nobody wrote.
    BadCell = 27,
    /// Encapsulation from a pod to its node: what is inside would be judged by nobody.
    Encapsulation = 28,
    /// The sender's egress policy, about what the packet is after translation.
    Egress = 29,
    /// The mark says that a pod sent it, and its source address says otherwise.
    ForgedMark = 30,
    /// More packets to metadata endpoints than a pod with a grant may send.
    MetadataRate = 32,
}

/// Number of counters for each hook: one for each possible [`Reason`].
pub const REASONS: usize = 40;
/// Number of hooks that count.
pub const HOOKS: usize = 8;
/// Counters of the per-CPU array `COUNTERS`: `hook * REASONS * 2 + reason * 2 + (1 if denied)`, then the lost events.
pub const COUNTERS: usize = HOOKS * REASONS * 2 + 1;
/// Counters of the per-CPU array `DENIED_BYTES`: `hook * REASONS + reason`.
pub const DENIED_BYTES: usize = HOOKS * REASONS;
/// The counter of events that the rate limit or a full ring kept back.
pub const LOST_EVENTS: u32 = bits::small(HOOKS * REASONS * 2);
/// The counter of connections that could not be remembered, since the kernel had no entry for them. Its place is that of a
/// reason that no packet has.
pub const UNTRACKED: u32 = NO_REASON as u32 * 2;
/// The number of no [`Reason`].
const NO_REASON: u8 = 31;
const _: () = assert!(Reason::from_u8(NO_REASON).is_none() && (NO_REASON as usize) < REASONS);

impl Reason {
    /// Reads a reason back from its number.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Policy,
            1 => Self::NotIsolated,
            2 => Self::Established,
            3 => Self::Reply,
            4 => Self::Related,
            5 => Self::OwnNode,
            6 => Self::ToItself,
            7 => Self::Neighbour,
            8 => Self::Adopted,
            9 => Self::Granted,
            10 => Self::Deferred,
            11 => Self::PassedOn,
            16 => Self::Metadata,
            17 => Self::SpoofedAddress,
            18 => Self::SpoofedHardware,
            19 => Self::Malformed,
            20 => Self::Truncated,
            21 => Self::EtherType,
            22 => Self::Extensions,
            23 => Self::Fragment,
            24 => Self::Revoked,
            25 => Self::NeighbourForged,
            26 => Self::UnknownEndpoint,
            27 => Self::BadCell,
            28 => Self::Encapsulation,
            29 => Self::Egress,
            30 => Self::ForgedMark,
            32 => Self::MetadataRate,
            _ => return None,
        })
    }

    /// The word for it in metrics, logs and flags.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::NotIsolated => "not_isolated",
            Self::Established => "established",
            Self::Reply => "reply",
            Self::Related => "related",
            Self::OwnNode => "own_node",
            Self::ToItself => "to_itself",
            Self::Neighbour => "neighbour",
            Self::Adopted => "adopted",
            Self::Granted => "granted",
            Self::Deferred => "deferred",
            Self::PassedOn => "passed_on",
            Self::Metadata => "metadata",
            Self::SpoofedAddress => "spoofed_address",
            Self::SpoofedHardware => "spoofed_hardware_address",
            Self::Malformed => "malformed",
            Self::Truncated => "truncated",
            Self::EtherType => "ethertype",
            Self::Extensions => "extension_headers",
            Self::Fragment => "fragment",
            Self::Revoked => "revoked",
            Self::NeighbourForged => "neighbour_forged",
            Self::UnknownEndpoint => "unknown_endpoint",
            Self::BadCell => "bad_cell",
            Self::Encapsulation => "encapsulation",
            Self::Egress => "egress",
            Self::ForgedMark => "forged_mark",
            Self::MetadataRate => "metadata_rate",
        }
    }
}

/// One record of the ring buffer `EVENTS`. IPv4 addresses are mapped; ports in the machine's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Event {
    /// Nanoseconds of the monotonic clock.
    pub time: u64,
    /// The deciding [`crate::cell::Cell`]; zero where no table decided.
    pub cell: u64,
    /// Source address.
    pub source: V6,
    /// Destination address.
    pub destination: V6,
    /// [`crate::endpoint::EndpointRecord::endpoint`]; 0 if unknown.
    pub endpoint: u32,
    /// Interface index; for sockets 0.
    pub ifindex: u32,
    /// Bytes of the packet.
    pub length: u32,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// [`crate::Hook`].
    pub hook: u8,
    /// [`Reason`].
    pub reason: u8,
    /// [`crate::cell::Verdict`].
    pub verdict: u8,
    /// Zero.
    pub _pad: u32,
    /// Cgroup of the socket that sends, its pod's if that is known; 0 for packets of no socket.
    pub cgroup: u64,
}

/// The one element of the per-CPU array `RATE`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RateState {
    /// The tick that is being counted.
    pub tick: u32,
    /// Events sent in it.
    pub sent: u32,
}

const _: () = assert!(size_of::<Event>() == 80);
