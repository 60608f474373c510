//! What the programs are told of the node.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{bits, mark::MarkLayout};

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
    /// Zero.
    pub _pad: u32,
    /// UDP ports at which this node's tunnels listen besides the usual ones ([`crate::packet::is_tunnel`]); unused ones
    /// are zero.
    pub tunnel_ports: [u16; MAX_TUNNEL_PORTS],
}

/// Elements of [`Config::tunnel_ports`].
pub const MAX_TUNNEL_PORTS: usize = 8;

impl Config {
    /// For a kernel with this many jiffies a second.
    #[must_use]
    pub const fn for_hz(hz: u32, mark: MarkLayout, events_per_second: u32) -> Self {
        let hz = if hz == 0 { 1 } else { hz };
        // The largest power of two of jiffies that is at most one second.
        let tick_shift = 31 - hz.leading_zeros();
        let events_per_tick = (events_per_second as u64 * (1 << tick_shift)).div_ceil(hz as u64);
        Self {
            mark,
            tick_shift,
            ticks_per_64s: (64 * hz) >> tick_shift,
            events_per_tick: bits::u32_at(events_per_tick, 0),
            _pad: 0,
            tunnel_ports: [0; MAX_TUNNEL_PORTS],
        }
    }

    /// Seconds as ticks, rounded up.
    #[must_use]
    #[inline(always)]
    pub const fn ticks(&self, seconds: u32) -> u32 {
        (seconds * self.ticks_per_64s).div_ceil(64)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::for_hz(250, MarkLayout::DEFAULT, 500)
    }
}
