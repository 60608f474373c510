//! Endpoints: a pod's presence on this node.
//!
//! `ENDPOINTS[ifindex]` is one [`EndpointWord`]: the only thing that is ever swapped. It names a slot of
//! `RECORDS`, whose [`EndpointRecord`] is written before the word points at it and is not
//! touched again until a grace period after the word has left it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{V4, V6, bits, table::TableRef};

/// A generation: node-wide, never used twice, survives restarts. 40 bits count.
pub type Generation = u64;

/// Bits of a generation in [`EndpointWord`] and [`crate::connection::ConnectionWord`].
pub const GENERATION_BITS: u32 = 40;

/// The interface of the endpoint that is the node itself: no device has this index.
pub const NODE_IFINDEX: u32 = 0;

/// Interfaces with a smaller index have their word at that index of `ENDPOINTS`; for larger ones
/// `FAR_ENDPOINTS` names the element.
pub const NEAR_IFINDEX: u32 = 32_768;

/// One element of `ENDPOINTS`: bits 0-23 the record's slot (0: no endpoint), 24-63 the generation.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct EndpointWord(pub u64);

impl EndpointWord {
    /// No endpoint.
    pub const NONE: Self = Self(0);

    /// The word of these parts; a slot has 24 bits, a generation 40.
    #[must_use]
    pub const fn new(slot: u32, generation: Generation) -> Self {
        Self(generation << 24 | (slot & 0xff_ffff) as u64)
    }

    /// Where the record is; 0 for none.
    #[must_use]
    pub const fn slot(self) -> u32 {
        bits::u32_at(self.0, 0) & 0xff_ffff
    }

    /// The generation in force.
    #[must_use]
    pub const fn generation(self) -> Generation {
        self.0 >> 24
    }
}

/// IPv4 addresses that one endpoint may have.
pub const MAX_ADDRESSES4: usize = 2;
/// IPv6 addresses that one endpoint may have, link-local ones included.
pub const MAX_ADDRESSES6: usize = 4;

/// One element of `RECORDS`. Addresses in network order, integers in the machine's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct EndpointRecord {
    /// First generation of this incarnation: what was judged in an earlier one belongs to another pod that
    /// had the same address.
    pub born: Generation,
    /// Number of the endpoint, key of its name.
    pub endpoint: u32,
    /// [`flags`].
    pub flags: u32,
    /// IPv4 addresses that are its own; unused ones are zero.
    pub addresses4: [V4; MAX_ADDRESSES4],
    /// What decides about packets to the pod.
    pub ingress: TableRef,
    /// What decides about packets from the pod.
    pub egress: TableRef,
    /// Its [`crate::metadata::Grants`].
    pub grants: u64,
    /// IPv6 addresses that are its own; unused ones are zero.
    pub addresses6: [V6; MAX_ADDRESSES6],
    /// Its hardware address, if [`flags::HARDWARE_ADDRESS`].
    pub hardware_address: [u8; 6],
    /// Its place in `SOURCES`, which the packet mark names it by ([`crate::mark::Stamp`]).
    pub source: u16,
}

/// Bits of [`EndpointRecord::flags`].
pub mod flags {
    /// The pod's hardware address is known: frames from another one are dropped.
    pub const HARDWARE_ADDRESS: u32 = 1;
    /// It is the node itself: its addresses are those of `NODE_ADDRESSES`, and nothing that it sends is judged again.
    pub const NODE: u32 = 2;
    /// It may send encapsulated packets to nodes. Where they are opened or leave the node their mark has to name it.
    pub const ENCAPSULATES: u32 = 4;
}

/// Value of `FAR_ENDPOINTS`: bits 0-31 the element of `ENDPOINTS`, 32-63 the ifindex as a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct FarWord(pub u64);

impl FarWord {
    /// The word that leads from `ifindex` to `element`.
    #[must_use]
    pub const fn new(ifindex: u32, element: u32) -> Self {
        Self((ifindex as u64) << 32 | element as u64)
    }

    /// The element, if the word is this interface's.
    #[must_use]
    pub const fn element(self, ifindex: u32) -> Option<u32> {
        if bits::u32_at(self.0, 32) == ifindex {
            Some(bits::u32_at(self.0, 0))
        } else {
            None
        }
    }
}

/// One element of `SOURCES`: bits 0-30 the endpoint's interface, 31 [`SourceWord::GUARDED`], 32-63 its number as a check.
/// Zero: nobody's.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct SourceWord(pub u64);

impl SourceWord {
    /// Nobody's.
    pub const NONE: Self = Self(0);

    /// What the pod sends passes its own hook: a packet of it that comes without a mark has lost it on the way. Before, a
    /// packet without a mark says nothing.
    pub const GUARDED: u64 = 1 << 31;

    /// The same word, guarded.
    #[must_use]
    pub const fn guarded(self) -> Self {
        Self(self.0 | Self::GUARDED)
    }

    /// True if the endpoint's own hook is in force.
    #[must_use]
    #[inline(always)]
    pub const fn is_guarded(self) -> bool {
        self.0 & Self::GUARDED != 0
    }

    /// The word of this endpoint, not guarded yet.
    #[must_use]
    pub const fn new(ifindex: u32, endpoint: u32) -> Self {
        Self((endpoint as u64) << 32 | ifindex as u64)
    }

    /// Its interface.
    #[must_use]
    #[inline(always)]
    pub const fn ifindex(self) -> u32 {
        bits::u32_at(self.0 & !Self::GUARDED, 0)
    }

    /// Its number.
    #[must_use]
    #[inline(always)]
    pub const fn endpoint(self) -> u32 {
        bits::u32_at(self.0, 32)
    }
}

/// Value of `LOCALS`: bits 0-15 the place in `SOURCES` of the endpoint that has this address, 32-63 a check of the
/// address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct LocalWord(pub u64);

impl LocalWord {
    /// The word of this address.
    #[must_use]
    pub fn new(address: &V6, source: u16) -> Self {
        Self(u64::from(crate::identity::fold6(address)) << 32 | u64::from(source))
    }

    /// The place, if the word is this address's.
    #[must_use]
    #[inline(always)]
    pub fn source(self, address: &V6) -> Option<u16> {
        (bits::u32_at(self.0, 32) == crate::identity::fold6(address))
            .then_some(bits::u16_at(self.0, 0))
    }
}

const _: () = assert!(size_of::<EndpointRecord>() == 136);
