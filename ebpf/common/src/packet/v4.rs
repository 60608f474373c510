//! IPv4 (RFC 791) and ARP (RFC 826).

use super::{
    Bytes, Embedded, Fragment, Packet, Transport, embedded_ports, overlaps_header, transport,
};
use crate::{V4, event::Reason, protocol};

/// Reads the IPv4 packet at `offset`.
///
/// # Errors
///
/// Why it cannot be judged.
#[inline(always)]
pub fn v4<B: Bytes + ?Sized>(bytes: &B, offset: usize) -> Result<Packet<V4>, Reason> {
    let head: &[u8; 20] = bytes.window(offset).ok_or(Reason::Truncated)?;
    let header = usize::from(head[0] & 0x0f) * 4;
    if head[0] >> 4 != 4 || header < 20 {
        return Err(Reason::Malformed);
    }
    let room = bytes.len().saturating_sub(offset);
    let total = match usize::from(u16::from_be_bytes([head[2], head[3]])) {
        // "BIG TCP": a coalesced packet whose length does not fit its field (Linux 6.3).
        0 if room > 0xffff => room,
        total => total,
    };
    let fragmentation = u16::from_be_bytes([head[6], head[7]]);
    // The other family's ICMP is nobody's here.
    if total < header
        || head[9] == protocol::ICMPV6
        || overlaps_header(head[9], fragmentation & 0x1fff)
    {
        return Err(Reason::Malformed);
    }
    if total > room {
        return Err(Reason::Truncated);
    }
    if header > 20 && bytes.source_routed(offset + 20, offset + header) {
        return Err(Reason::Extensions);
    }
    let (more, position) = (fragmentation & 0x2000 != 0, fragmentation & 0x1fff);
    let fragment = match (more, position) {
        (false, 0) => Fragment::Whole,
        (true, 0) => Fragment::First,
        _ => Fragment::Later,
    };
    let protocol = head[9];
    let (at, end) = (offset + header, offset + total);
    let transport = match fragment {
        Fragment::Later => Transport::NONE,
        _ => transport(bytes, protocol, at, end)?,
    };
    Ok(Packet {
        source: [head[12], head[13], head[14], head[15]],
        destination: [head[16], head[17], head[18], head[19]],
        source_port: transport.source_port,
        destination_port: transport.destination_port,
        protocol,
        tcp_flags: transport.tcp_flags,
        hop_limit: head[8],
        fragment,
        identification: u32::from(u16::from_be_bytes([head[4], head[5]])),
        icmp_type: transport.icmp_type,
        transport: at,
        end,
    })
}

/// Reads the packet that the ICMP error `packet` is about.
///
/// # Errors
///
/// Why it cannot be read; a later fragment has no ports and is [`Reason::Malformed`] here.
#[inline(always)]
pub fn embedded_v4<B: Bytes + ?Sized>(
    bytes: &B,
    packet: &Packet<V4>,
) -> Result<Embedded<V4>, Reason> {
    let offset = packet.transport + 8;
    if packet.end < offset + 28 {
        return Err(Reason::Malformed);
    }
    let inner = bytes
        .inside(false, offset, packet.end)
        .ok_or(Reason::Malformed)?;
    let head: &[u8; 20] = bytes.window(offset).ok_or(Reason::Truncated)?;
    Ok(Embedded {
        source: [head[12], head[13], head[14], head[15]],
        destination: [head[16], head[17], head[18], head[19]],
        source_port: inner.source_port,
        destination_port: inner.destination_port,
        protocol: inner.protocol,
    })
}

/// Protocol and ports of the packet inside an ICMP error.
#[inline(always)]
pub(super) fn inner<B: Bytes + ?Sized>(
    bytes: &B,
    offset: usize,
    end: usize,
) -> Result<(u8, (u16, u16)), Reason> {
    let head: &[u8; 20] = bytes.window(offset).ok_or(Reason::Truncated)?;
    let header = usize::from(head[0] & 0x0f) * 4;
    if head[0] >> 4 != 4 || header < 20 || u16::from_be_bytes([head[6], head[7]]) & 0x1fff != 0 {
        return Err(Reason::Malformed);
    }
    Ok((
        head[9],
        embedded_ports(bytes, head[9], offset + header, end)?,
    ))
}

/// Loose and strict source routing (RFC 791): the judged destination would not be the last.
const SOURCE_ROUTES: [u8; 2] = [131, 137];

/// IPv4 options that one packet may have, padding included.
const MAX_OPTIONS: usize = 8;

/// True if the IPv4 options from `offset` to `end` route the packet, cannot be read, or are more than eight.
#[inline(always)]
pub fn is_source_routed<B: Bytes + ?Sized>(bytes: &B, offset: usize, end: usize) -> bool {
    let mut at = offset;
    for _ in 0..MAX_OPTIONS {
        if at >= end {
            // One that goes beyond the header cannot be read.
            return at > end;
        }
        let Some(&[kind]) = bytes.window(at) else {
            return true;
        };
        at += match kind {
            0 => return false,
            1 => 1,
            kind if SOURCE_ROUTES.contains(&kind) => return true,
            _ => match bytes.window(at + 1) {
                Some(&[length]) if length >= 2 => usize::from(length),
                _ => return true,
            },
        };
    }
    at != end
}

/// Who an ARP packet says it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Sender hardware address.
    pub hardware: [u8; 6],
    /// Sender protocol address; zero in a probe (RFC 5227).
    pub address: V4,
}

/// Reads the ARP packet at `offset`.
///
/// # Errors
///
/// [`Reason::Truncated`], or [`Reason::Malformed`] for anything but Ethernet and IPv4.
#[inline(always)]
pub fn arp<B: Bytes + ?Sized>(bytes: &B, offset: usize) -> Result<Arp, Reason> {
    let packet: &[u8; 28] = bytes.window(offset).ok_or(Reason::Truncated)?;
    if packet[0..6] != [0, 1, 8, 0, 6, 4] {
        return Err(Reason::Malformed);
    }
    Ok(Arp {
        hardware: [
            packet[8], packet[9], packet[10], packet[11], packet[12], packet[13],
        ],
        address: [packet[14], packet[15], packet[16], packet[17]],
    })
}
