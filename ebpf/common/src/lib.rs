//! What the kernel programs and user space share.
//!
//! Two halves:
//!
//! * **layouts** of every map's keys and values ([`cell`], [`connection`], [`endpoint`],
//!   [`event`], [`identity`], [`metadata`], [`table`], [`catalogue`]) and of the packet mark ([`mark`]);
//! * the **way of a packet**, as plain Rust that the kernel runs and that the host tests and fuzzes:
//!   [`packet`] parses bytes, [`judge`] decides, both generic over where the bytes and the
//!   tables live.
//!
//! **Invariant:** nothing in here depends on aya (but for the `Pod` marker behind the feature
//! `user`), allocates, panics or has `unsafe` code.
#![no_std]

#[cfg(test)]
extern crate std;

mod bits;
pub mod catalogue;
pub mod cell;
pub mod config;
pub mod connection;
pub mod endpoint;
pub mod event;
pub mod identity;
pub mod judge;
pub mod mark;
pub mod metadata;
pub mod packet;
pub mod service;
pub mod table;
#[cfg(feature = "user")]
mod user;

/// Version of every layout in this crate.
///
/// Pins live in a directory of this number, so that a binary never reads another one's bytes:
/// change it with any change of a key, a value, or a field's meaning.
pub const ABI_VERSION: u32 = 5;

/// Direction of a flow, **seen from the pod**, never from the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Towards the pod.
    Ingress = 0,
    /// From the pod.
    Egress = 1,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Ingress => Self::Egress,
            Self::Egress => Self::Ingress,
        }
    }
}

/// Where a program sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Hook {
    /// TC ingress of a pod's host-side device: what the pod sends.
    FromPod = 0,
    /// TC egress of a pod's host-side device: what the pod receives.
    ToPod = 1,
    /// TC ingress of an uplink: what enters the node.
    FromHost = 2,
    /// TC egress of an uplink or tunnel: what leaves the node.
    ToHost = 3,
    /// `connect4/6`, `sendmsg4/6` at the root of the pods' cgroup subtree.
    Socket = 4,
    /// `cgroup_skb/ingress` at the root of all cgroups: what ends in a socket of the node.
    ToNode = 5,
    /// `cgroup_skb/egress` at the root of the pods' cgroup subtree: what pods' sockets send.
    SocketPackets = 6,
    /// TC egress of `lo`.
    Lo = 7,
}

impl Hook {
    /// Reads a hook back from its number.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::FromPod,
            1 => Self::ToPod,
            2 => Self::FromHost,
            3 => Self::ToHost,
            4 => Self::Socket,
            5 => Self::ToNode,
            6 => Self::SocketPackets,
            7 => Self::Lo,
            _ => return None,
        })
    }
}

/// An IPv4 address in network byte order.
pub type V4 = [u8; 4];
/// An IPv6 address in network byte order.
pub type V6 = [u8; 16];

/// IP protocol numbers that the data path treats by name (IANA "Assigned Internet Protocol Numbers").
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}
