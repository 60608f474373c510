//! Connection tracking: one entry for both directions, keyed from the pod's side.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    Direction, V4, V6, bits,
    cell::Cell,
    endpoint::{GENERATION_BITS, Generation},
};

/// Key of `CONNECTIONS4` and `CONNECTIONS6`. Addresses in network order, ports in the machine's.
///
/// ICMP echo has its identifier as both ports; protocols without ports have 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct ConnectionKey<A> {
    /// The pod's address.
    pub local: A,
    /// The other side's.
    pub remote: A,
    /// The pod's port.
    pub local_port: u16,
    /// The other side's.
    pub remote_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// The endpoint that tracks it: the low 24 bits of its number. What another pod's hook sees of the same addresses
    /// (a flooded frame, a broadcast) is not this connection.
    pub endpoint: [u8; 3],
}

/// Value of `CONNECTIONS4` and `CONNECTIONS6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Connection {
    /// What decides; always read and written as one word.
    pub word: ConnectionWord,
    /// The cell that decided last; for reports.
    pub cell: Cell,
    /// Tick of the last packet ([`crate::config::Config::tick_shift`]).
    pub seen: u32,
    /// Bits of [`state`].
    pub state: u32,
}

/// The deciding word: bits 0-7 [`verdict`] bits, 8-23 a check of the key, 24-63 the generation.
///
/// The check is there because the kernel recycles elements at once ([`crate::table::ClassWord`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct ConnectionWord(pub u64);

/// Bits 0-7 of [`ConnectionWord`].
pub mod verdict {
    /// The pod opened it; clear: the other side did.
    pub const EGRESS: u8 = 1;
    /// Policy took it back (or never allowed it): nothing passes.
    pub const DENIED: u8 = 2;
    /// The pod's own node opened it.
    pub const OWN_NODE: u8 = 4;
    /// Older than the agent or evicted in between: taken over at a packet in its midst.
    pub const ADOPTED: u8 = 8;
    /// What the pod sends on it is judged again where it leaves the node or enters another pod: it may have been
    /// translated by then.
    pub const AGAIN: u8 = 16;
    /// It goes to a Service: judged after translation and nowhere else. The entry only admits replies.
    pub const DEFERRED: u8 = 32;
    /// The other side is a pod of this node whose egress was judged here: there is an entry of
    /// [`super::NOBODY`] for it, which replies are checked against.
    pub const SOURCED: u8 = 64;
    /// The other side is the pod itself, behind a translation.
    pub const ITSELF: u8 = 128;
}

/// [`ConnectionKey::endpoint`] of entries in which the *sender's* egress was judged where its packets end or leave.
/// Their key is what the packet had there, after translation, from the receiver's side; [`Connection::state`] holds the sender's place in
/// `SOURCES` in its upper half.
pub const NOBODY: [u8; 3] = [0; 3];

/// Bits of [`Connection::state`].
pub mod state {
    /// A packet came back.
    pub const REPLIED: u32 = 1;
    /// The opener has not yet sent anything after an answer; without [`REPLIED`]: there is no answer yet.
    pub const OPENING: u32 = 2;
    /// The opener sent FIN.
    pub const FIN_ORIGINAL: u32 = 4;
    /// The other side sent FIN.
    pub const FIN_REPLY: u32 = 8;
    /// Either side sent RST.
    pub const RESET: u32 = 16;
}

impl ConnectionWord {
    /// The word of these parts.
    #[must_use]
    #[inline(always)]
    pub const fn new(generation: Generation, check: u16, bits: u8) -> Self {
        Self(generation << (64 - GENERATION_BITS) | (check as u64) << 8 | bits as u64)
    }

    /// The generation that it was judged in.
    #[must_use]
    #[inline(always)]
    pub const fn generation(self) -> Generation {
        self.0 >> (64 - GENERATION_BITS)
    }

    /// The check of its key.
    #[must_use]
    #[inline(always)]
    pub const fn check(self) -> u16 {
        bits::u16_at(self.0, 8)
    }

    /// [`verdict`] bits.
    #[must_use]
    #[inline(always)]
    pub const fn bits(self) -> u8 {
        bits::u8_at(self.0, 0)
    }

    /// True if this bit is set.
    #[must_use]
    #[inline(always)]
    pub const fn has(self, bit: u8) -> bool {
        self.bits() & bit != 0
    }

    /// The direction that it was opened in.
    #[must_use]
    #[inline(always)]
    pub const fn original(self) -> Direction {
        if self.has(verdict::EGRESS) {
            Direction::Egress
        } else {
            Direction::Ingress
        }
    }
}

impl ConnectionKey<V4> {
    /// 16 bits of the key.
    #[must_use]
    #[inline(always)]
    pub const fn check(&self) -> u16 {
        let addresses =
            (u32::from_ne_bytes(self.local) as u64) << 32 | u32::from_ne_bytes(self.remote) as u64;
        mix(addresses, self.ports())
    }
}

impl ConnectionKey<V6> {
    /// 16 bits of the key.
    #[must_use]
    #[inline(always)]
    pub fn check(&self) -> u16 {
        let addresses = u64::from(crate::identity::fold6(&self.local)) << 32
            | u64::from(crate::identity::fold6(&self.remote));
        mix(addresses, self.ports())
    }
}

impl<A> ConnectionKey<A> {
    const fn ports(&self) -> u64 {
        (self.local_port as u64) << 32 | (self.remote_port as u64) << 16 | self.protocol as u64
    }
}

#[inline(always)]
const fn mix(addresses: u64, ports: u64) -> u16 {
    let mixed =
        (addresses ^ ports.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits::u16_at(mixed, 48)
}

/// Key of `FRAGMENTS4` and `FRAGMENTS6`: which first fragment the later ones belong to (RFC 791, RFC 8200).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct FragmentKey<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Identification; IPv4 has 16 bits.
    pub identification: u32,
    /// The device that judged it: both ends of a flow may be on one node.
    pub ifindex: u32,
    /// IPv4: the protocol, which is part of a packet's identity there (RFC 791). IPv6: 0, for the fragment header of a
    /// later fragment names only the first header of what was fragmented.
    pub protocol: u8,
    /// [`Direction`] as a number.
    pub direction: u8,
    /// Zero.
    pub _pad: [u8; 2],
}

/// What a [`FragmentKey`] is made of, in words that fit a function's arguments.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a, A> {
    /// Source address.
    pub source: &'a A,
    /// Destination address.
    pub destination: &'a A,
    /// Identification.
    pub low: u64,
    /// Bits 0-31 the device that judged it, 32-39 protocol, 40-47 direction.
    pub high: u64,
}

impl<'a, A: Copy> Whole<'a, A> {
    /// Of these parts, which mean what they mean in [`FragmentKey`].
    #[must_use]
    #[inline(always)]
    pub const fn new(
        source: &'a A,
        destination: &'a A,
        identification: u32,
        protocol: u8,
        direction: Direction,
        ifindex: u32,
    ) -> Self {
        Self {
            source,
            destination,
            low: identification as u64,
            high: ifindex as u64 | (protocol as u64) << 32 | (direction as u64) << 40,
        }
    }

    /// The key.
    #[must_use]
    #[inline(always)]
    pub const fn key(&self) -> FragmentKey<A> {
        FragmentKey {
            source: *self.source,
            destination: *self.destination,
            identification: bits::u32_at(self.low, 0),
            ifindex: bits::u32_at(self.high, 0),
            protocol: bits::u8_at(self.high, 32),
            direction: bits::u8_at(self.high, 40),
            _pad: [0; 2],
        }
    }
}

/// Value of `FRAGMENTS4` and `FRAGMENTS6`: bits 0-15 source port, 16-31 destination port, 32-39 protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct FragmentWord(pub u64);

impl FragmentWord {
    /// None: there is no packet without a protocol.
    pub const NONE: Self = Self(0);

    /// The word of these parts.
    #[must_use]
    pub const fn new(source_port: u16, destination_port: u16, protocol: u8) -> Self {
        Self(source_port as u64 | (destination_port as u64) << 16 | (protocol as u64) << 32)
    }

    /// Source and destination port.
    #[must_use]
    pub const fn ports(self) -> (u16, u16) {
        (bits::u16_at(self.0, 0), bits::u16_at(self.0, 16))
    }

    /// Protocol of the whole packet.
    #[must_use]
    pub const fn protocol(self) -> u8 {
        bits::u8_at(self.0, 32)
    }
}

const _: () = assert!(size_of::<ConnectionKey<V4>>() == 16);
const _: () = assert!(size_of::<ConnectionKey<V6>>() == 40);
const _: () = assert!(size_of::<FragmentKey<V4>>() == 20);
const _: () = assert!(size_of::<FragmentKey<V6>>() == 44);
const _: () = assert!(size_of::<Connection>() == 24);
