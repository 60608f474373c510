//! What the programs are told of the node.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    V6, bits,
    mark::MarkLayout,
    metadata::{halves, layers},
};

/// The one element of the array map `CONFIG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Config {
    /// Bits of the mark that are ours.
    pub mark: MarkLayout,
    /// Jiffies are shifted right by this for a tick of the connection table: about a quarter of a second to a second.
    pub tick_shift: u32,
    /// Ticks in 64 seconds.
    pub ticks_per_64s: u32,
    /// Events that one CPU may send per tick; what is over is counted.
    pub events_per_tick: u32,
    /// Packets to metadata endpoints that one pod with a grant may send per tick; 0 for any number.
    pub metadata_packets_per_tick: u32,
    /// Id of the cgroup that all pods' are below; 0 if it is not known.
    pub pods_cgroup: u64,
    /// Where the metadata firewall asks ([`crate::metadata::layers`]).
    pub metadata_layers: u32,
    /// 1 if what the metadata firewall would deny for want of a grant passes and is told of; else 0.
    pub metadata_audit: u32,
    /// Prefixes besides the well-known one by which IPv6 reaches IPv4 ([`crate::metadata::embedded_by`]).
    pub nat64: [Nat64; MAX_NAT64],
    /// UDP ports at which this node's tunnels listen besides the usual ones ([`crate::packet::is_tunnel`]); unused ones
    /// are zero.
    pub tunnel_ports: [u16; MAX_TUNNEL_PORTS],
}

/// A prefix of RFC 6052.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Nat64 {
    /// Its first eight bytes, as a number; what is not its own is zero.
    pub first: u64,
    /// The next four.
    pub second: u32,
    /// How many bytes it has: 4, 5, 6, 7, 8 or 12; 0 if this is none.
    pub bytes: u32,
}

impl Nat64 {
    /// The prefix that an address begins with.
    #[must_use]
    pub fn new(address: &V6, bytes: u32) -> Self {
        let (first, second) = halves(address);
        Self {
            first,
            second: bits::u32_at(second, 32),
            bytes,
        }
    }
}

/// Elements of [`Config::nat64`].
pub const MAX_NAT64: usize = 4;

/// Elements of [`Config::tunnel_ports`].
pub const MAX_TUNNEL_PORTS: usize = 8;

impl Config {
    /// For a kernel with this many jiffies a second.
    #[must_use]
    pub const fn for_hz(hz: u32, mark: MarkLayout, events_per_second: u32) -> Self {
        let hz = if hz == 0 { 1 } else { hz };
        // The largest power of two of jiffies that is at most one second.
        let tick_shift = 31 - hz.leading_zeros();
        Self {
            mark,
            tick_shift,
            ticks_per_64s: (64 * hz) >> tick_shift,
            events_per_tick: per_tick(events_per_second, tick_shift, hz),
            metadata_packets_per_tick: 0,
            pods_cgroup: 0,
            metadata_layers: layers::ALL,
            metadata_audit: 0,
            nat64: [Nat64 {
                first: 0,
                second: 0,
                bytes: 0,
            }; MAX_NAT64],
            tunnel_ports: [0; MAX_TUNNEL_PORTS],
        }
    }

    /// The same with this many packets a second from each pod to metadata endpoints; 0 for any number.
    #[must_use]
    pub const fn with_metadata_rate(mut self, hz: u32, packets_per_second: u32) -> Self {
        let hz = if hz == 0 { 1 } else { hz };
        self.metadata_packets_per_tick = per_tick(packets_per_second, self.tick_shift, hz);
        self
    }

    /// True if the metadata firewall asks here.
    #[must_use]
    #[inline(always)]
    pub const fn has_layer(&self, layer: u32) -> bool {
        self.metadata_layers & layer != 0
    }

    /// True if what has no grant passes, and is told of. It is asked only where something is about to be denied.
    #[must_use]
    #[inline(always)]
    pub const fn is_metadata_audited(&self) -> bool {
        self.metadata_audit == 1
    }

    /// Seconds as ticks, rounded up.
    #[must_use]
    #[inline(always)]
    pub const fn ticks(&self, seconds: u32) -> u32 {
        (seconds * self.ticks_per_64s).div_ceil(64)
    }
}

/// What there may be in a tick of what there may be this often in a second, rounded up.
const fn per_tick(per_second: u32, tick_shift: u32, hz: u32) -> u32 {
    let many = (per_second as u64 * (1 << tick_shift)).div_ceil(hz as u64);
    bits::u32_at(many, 0)
}

impl Default for Config {
    fn default() -> Self {
        Self::for_hz(250, MarkLayout::DEFAULT, 500)
    }
}
