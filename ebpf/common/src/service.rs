//! Services: destinations that the node will translate, so egress to them is judged after that.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{V6, bits};

/// Key of `SERVICES`: a destination that is translated on this node.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct ServiceKey {
    /// Cluster, external or load balancer address, IPv4 mapped; [`ANY_NODE_ADDRESS`] for a node or host port.
    pub address: V6,
    /// Port, in the machine's order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Zero.
    pub _pad: u8,
}

/// The address of node ports and host ports: whichever the node has.
pub const ANY_NODE_ADDRESS: V6 = [0; 16];

/// Value of `NODE_ADDRESSES`: bits 0-7 [`node`] bits, 32-63 a check of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct NodeWord(pub u64);

/// Bits of [`NodeWord`].
pub mod node {
    /// An address of this node.
    pub const OWN: u8 = 1;
    /// An address that other nodes of the cluster listen to: theirs, and the broadcast addresses of this node's networks.
    pub const OTHER: u8 = 2;
    /// A broadcast address of this node's networks: the node listens to it, too.
    pub const BROADCAST: u8 = 4;
}

impl NodeWord {
    /// The word of this address.
    #[must_use]
    pub fn new(address: &V6, bits: u8) -> Self {
        Self(u64::from(crate::identity::fold6(address)) << 32 | u64::from(bits))
    }

    /// The bits, if the word is this address's; else none.
    #[must_use]
    #[inline(always)]
    pub fn bits(self, address: &V6) -> u8 {
        if bits::u32_at(self.0, 32) == crate::identity::fold6(address) {
            bits::u8_at(self.0, 0)
        } else {
            0
        }
    }
}

const _: () = assert!(size_of::<ServiceKey>() == 20);
