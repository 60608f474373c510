//! The life of a connection: which packets can begin one, the states that packets move it through, and how long each
//! state lasts without a packet.

use crate::{
    config::Config,
    connection::state,
    packet::{Packet, tcp},
    protocol,
};

/// True for a bare SYN.
#[inline(always)]
pub(super) fn opens<A>(packet: &Packet<A>) -> bool {
    packet.protocol == protocol::TCP && packet.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// True for a segment that only a connection under way has: ACK without SYN.
#[inline(always)]
pub(super) fn is_midstream<A>(packet: &Packet<A>) -> bool {
    packet.protocol == protocol::TCP && packet.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::ACK
}

/// True for a packet that a connection can begin with. An answer without its question (SYN with ACK, an echo reply)
/// passes if policy allows it as it stands, and opens nothing: who opened the connection would be guessed wrong.
#[inline(always)]
pub(super) fn begins<A>(packet: &Packet<A>) -> bool {
    match packet.protocol {
        protocol::TCP => opens(packet),
        protocol::ICMP | protocol::ICMPV6 => is_query(packet),
        _ => true,
    }
}

/// True for an ICMP message that asks for an answer with the same identifier.
#[inline(always)]
pub(super) fn is_query<A>(packet: &Packet<A>) -> bool {
    match packet.protocol {
        protocol::ICMP => matches!(packet.icmp_type, 8 | 13),
        protocol::ICMPV6 => packet.icmp_type == 128,
        _ => false,
    }
}

/// True for what answers such a message.
#[inline(always)]
pub(super) fn is_answer<A>(packet: &Packet<A>) -> bool {
    match packet.protocol {
        protocol::ICMP => matches!(packet.icmp_type, 0 | 14),
        protocol::ICMPV6 => packet.icmp_type == 129,
        _ => false,
    }
}

#[inline(always)]
pub(super) fn first_state<A>(packet: &Packet<A>) -> u32 {
    if opens(packet) {
        state::OPENING
    } else if is_midstream(packet) {
        state::REPLIED | closing(true, packet)
    } else {
        closing(true, packet)
    }
}

#[inline(always)]
fn closing<A>(forward: bool, packet: &Packet<A>) -> u32 {
    if packet.protocol != protocol::TCP {
        return 0;
    }
    let fin = if forward {
        state::FIN_ORIGINAL
    } else {
        state::FIN_REPLY
    };
    (if packet.tcp_flags & tcp::FIN != 0 {
        fin
    } else {
        0
    }) | (if packet.tcp_flags & tcp::RST != 0 {
        state::RESET
    } else {
        0
    })
}

#[inline(always)]
pub(super) fn next_state<A>(old: u32, forward: bool, packet: &Packet<A>) -> u32 {
    let new = old | closing(forward, packet);
    if !forward {
        return new | state::REPLIED;
    }
    if old & state::REPLIED != 0 {
        // The opener's first segment after the answer: the handshake is over.
        new & !state::OPENING
    } else {
        new
    }
}

/// Ticks without a packet after which a connection is forgotten.
///
/// TCP: 5 days established, 2 minutes opening, 1 minute answered and not yet confirmed, 10 minutes after one side's FIN,
/// 2 minutes after both, 10 seconds after RST; UDP: 3 minutes once answered, else 1; ICMP 30 seconds; other protocols
/// 10 minutes. (As Linux' own connection tracking, but for UDP's first minute and for half-closed connections, which
/// it gives 1 to 2 minutes.)
#[must_use]
#[inline(always)]
pub const fn timeout(config: &Config, protocol: u8, bits: u32) -> u32 {
    const CLOSED: u32 = state::FIN_ORIGINAL | state::FIN_REPLY;
    const ANSWERED: u32 = state::OPENING | state::REPLIED;
    let seconds = match protocol {
        protocol::TCP if bits & state::RESET != 0 => 10,
        protocol::TCP if bits & CLOSED == CLOSED => 120,
        protocol::TCP if bits & ANSWERED == ANSWERED => 60,
        protocol::TCP if bits & state::OPENING != 0 => 120,
        protocol::TCP if bits & CLOSED != 0 => 600,
        protocol::TCP => 5 * 24 * 3600,
        protocol::UDP if bits & state::REPLIED != 0 => 180,
        protocol::UDP => 60,
        protocol::ICMP | protocol::ICMPV6 => 30,
        _ => 600,
    };
    config.ticks(seconds)
}
