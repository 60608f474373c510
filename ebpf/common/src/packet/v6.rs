//! IPv6 (RFC 8200), its extension headers, and neighbour discovery's addresses (RFC 4861).

use super::{
    Bytes, Embedded, Fragment, MAX_HEADERS, Packet, Transport, embedded_ports, overlaps_header,
    transport,
};
use crate::{V6, bits, event::Reason, protocol};

/// Extension headers that one packet may have.
pub const MAX_EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

#[inline(always)]
pub(crate) fn address(bytes: &[u8; 40], at: usize) -> V6 {
    let mut address = [0; 16];
    address.copy_from_slice(&bytes[at..at + 16]);
    address
}

/// Reads the IPv6 packet at `offset`.
///
/// # Errors
///
/// Why it cannot be judged. A chain that is longer than [`MAX_EXTENSIONS`], has hop-by-hop options anywhere but
/// first, a second fragment header, more headers behind that of a first fragment, or a routing header that still has segments to visit (the judged
/// destination would not be the last one) is [`Reason::Extensions`].
#[inline(always)]
pub fn v6<B: Bytes + ?Sized>(bytes: &B, offset: usize) -> Result<Packet<V6>, Reason> {
    let head: &[u8; 40] = bytes.window(offset).ok_or(Reason::Truncated)?;
    if head[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let room = bytes.len().saturating_sub(offset);
    let payload = match usize::from(u16::from_be_bytes([head[4], head[5]])) {
        // A jumbogram (RFC 2675) or "BIG TCP": the length does not fit its field.
        0 if room > 0xffff + 40 => room - 40,
        payload => payload,
    };
    if payload + 40 > room {
        return Err(Reason::Truncated);
    }
    let end = offset + 40 + payload;
    let chain = extensions(bytes, head[6], offset + 40, end)?;
    if chain.protocol == protocol::ICMP {
        return Err(Reason::Malformed);
    }
    let transport = match chain.fragment {
        Fragment::Later => Transport::NONE,
        _ => transport(bytes, chain.protocol, chain.offset, end)?,
    };
    Ok(Packet {
        source: address(head, 8),
        destination: address(head, 24),
        source_port: transport.source_port,
        destination_port: transport.destination_port,
        protocol: chain.protocol,
        tcp_flags: transport.tcp_flags,
        hop_limit: head[7],
        fragment: chain.fragment,
        identification: chain.identification,
        icmp_type: transport.icmp_type,
        transport: chain.offset,
        end,
    })
}

/// Where a chain of extension headers ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The first header that is no extension.
    pub protocol: u8,
    /// Where that begins.
    pub offset: usize,
    /// Part in a fragmented packet.
    pub fragment: Fragment,
    /// Identification, if fragmented.
    pub identification: u32,
}

/// Where to begin, or how it ended, as one word: what the kernel passes to and from a function that its verifier
/// checks by itself. Checked where it is called, the walk would multiply with everything that follows it.
///
/// Bits 0-7 protocol, 8-15 fragment (0 whole, 1 first, 2 later) or 16 and more: 16 + a [`Reason`], 16-27 offset
/// (at most [`MAX_HEADERS`]), 32-63 identification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainWord(pub u64);

impl ChainWord {
    /// The word of a walk's end.
    #[must_use]
    #[inline(always)]
    pub fn new(walked: Result<Chain, Reason>) -> Self {
        match walked {
            Ok(chain) => Self(
                u64::from(chain.protocol)
                    | (chain.fragment as u64) << 8
                    | (chain.offset as u64 & MAX_HEADERS as u64) << 16
                    | u64::from(chain.identification) << 32,
            ),
            Err(reason) => Self((16 + reason as u64) << 8),
        }
    }

    /// The walk's end.
    ///
    /// # Errors
    ///
    /// Why it cannot be judged.
    #[inline(always)]
    pub fn chain(self) -> Result<Chain, Reason> {
        let fragment = match bits::u8_at(self.0, 8) {
            0 => Fragment::Whole,
            1 => Fragment::First,
            2 => Fragment::Later,
            other => {
                return Err(Reason::from_u8(other.wrapping_sub(16)).unwrap_or(Reason::Extensions));
            }
        };
        Ok(Chain {
            protocol: bits::u8_at(self.0, 0),
            offset: (self.0 >> 16) as usize & MAX_HEADERS,
            fragment,
            identification: bits::u32_at(self.0, 32),
        })
    }
}

const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION
    )
}

/// Finds the first header from `next` at `offset` on that is no extension.
#[inline(always)]
pub(crate) fn extensions<B: Bytes + ?Sized>(
    bytes: &B,
    next: u8,
    offset: usize,
    end: usize,
) -> Result<Chain, Reason> {
    if is_extension(next) {
        return bytes.walk(next, offset, end);
    }
    Ok(Chain {
        protocol: next,
        offset,
        fragment: Fragment::Whole,
        identification: 0,
    })
}

/// Walks over extension headers, of which `next` at `offset` is the first.
///
/// # Errors
///
/// Why it cannot be judged.
#[inline(always)]
pub fn walk_extensions<B: Bytes + ?Sized>(
    bytes: &B,
    next: u8,
    offset: usize,
    end: usize,
) -> Result<Chain, Reason> {
    let mut chain = Chain {
        protocol: next,
        offset,
        fragment: Fragment::Whole,
        identification: 0,
    };
    let mut fragmented = false;
    for index in 0..MAX_EXTENSIONS {
        let head: &[u8; 8] = bytes.window(chain.offset).ok_or(Reason::Truncated)?;
        let length = match chain.protocol {
            FRAGMENT => {
                if fragmented {
                    return Err(Reason::Extensions);
                }
                fragmented = true;
                let field = u16::from_be_bytes([head[2], head[3]]);
                if overlaps_header(head[0], field >> 3) {
                    return Err(Reason::Malformed);
                }
                chain.identification = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
                chain.fragment = match (field & 1 != 0, field >> 3) {
                    (false, 0) => Fragment::Whole,
                    (true, 0) => Fragment::First,
                    _ => Fragment::Later,
                };
                8
            }
            AUTHENTICATION => (usize::from(head[1]) + 2) * 4,
            HOP_BY_HOP if index > 0 => return Err(Reason::Extensions),
            ROUTING if head[3] != 0 => return Err(Reason::Extensions),
            _ => (usize::from(head[1]) + 1) * 8,
        };
        chain.protocol = head[0];
        chain.offset += length;
        if chain.offset > end {
            return Err(Reason::Malformed);
        }
        if chain.offset > MAX_HEADERS {
            return Err(Reason::Extensions);
        }
        // Behind further headers a later fragment could be put over the ports; nobody sends that (RFC 7112).
        if chain.fragment == Fragment::First && is_extension(chain.protocol) {
            return Err(Reason::Extensions);
        }
        // What follows the fragment header of a later fragment is data.
        if chain.fragment == Fragment::Later || !is_extension(chain.protocol) {
            return Ok(chain);
        }
    }
    Err(Reason::Extensions)
}

/// Reads the packet that the ICMP error `packet` is about.
///
/// # Errors
///
/// Why it cannot be read; a later fragment has no ports and is [`Reason::Malformed`] here.
#[inline(always)]
pub fn embedded_v6<B: Bytes + ?Sized>(
    bytes: &B,
    packet: &Packet<V6>,
) -> Result<Embedded<V6>, Reason> {
    let offset = packet.transport + 8;
    if packet.end < offset + 48 {
        return Err(Reason::Malformed);
    }
    let inner = bytes
        .inside(true, offset, packet.end)
        .ok_or(Reason::Malformed)?;
    let head: &[u8; 40] = bytes.window(offset).ok_or(Reason::Truncated)?;
    Ok(Embedded {
        source: address(head, 8),
        destination: address(head, 24),
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
    let head: &[u8; 40] = bytes.window(offset).ok_or(Reason::Truncated)?;
    if head[0] >> 4 != 6 {
        return Err(Reason::Malformed);
    }
    let chain = extensions(bytes, head[6], offset + 40, end)?;
    if chain.fragment == Fragment::Later {
        return Err(Reason::Malformed);
    }
    Ok((
        chain.protocol,
        embedded_ports(bytes, chain.protocol, chain.offset, end)?,
    ))
}

/// The target address of a neighbour solicitation or advertisement.
///
/// # Errors
///
/// [`Reason::Malformed`] or [`Reason::Truncated`].
#[inline(always)]
pub fn nd_target<'a, B: Bytes + ?Sized>(
    bytes: &'a B,
    packet: &Packet<V6>,
) -> Result<&'a V6, Reason> {
    if packet.end < packet.transport + 24 {
        return Err(Reason::Malformed);
    }
    bytes.window(packet.transport + 8).ok_or(Reason::Truncated)
}

/// Options of a neighbour discovery message that are looked at.
const MAX_OPTIONS: usize = 4;

/// True if the options from `skip` bytes behind the ICMP header on are a host's: link-layer addresses that are `hardware`,
/// or a nonce.
///
/// # Errors
///
/// [`Reason::Malformed`] for an option of length 0, an end inside an option, or more options than a host sends.
#[inline(always)]
pub fn neighbour_options_are<B: Bytes + ?Sized>(
    bytes: &B,
    packet: &Packet<V6>,
    skip: usize,
    hardware: &[u8; 6],
) -> Result<bool, Reason> {
    debug_assert!(packet.protocol == protocol::ICMPV6);
    let mut offset = packet.transport + 8 + skip;
    for _ in 0..MAX_OPTIONS {
        if offset >= packet.end {
            return Ok(true);
        }
        let option: &[u8; 8] = bytes.window(offset).ok_or(Reason::Truncated)?;
        let length = usize::from(option[1]) * 8;
        if length == 0 || offset + length > packet.end {
            return Err(Reason::Malformed);
        }
        // Source (1) and target (2) link-layer address; a nonce (14, RFC 3971) in a probe. Nothing else is a host's.
        let own = match option[0] {
            1 | 2 => option[2..8] == hardware[..],
            14 => true,
            _ => false,
        };
        if !own || length != 8 {
            return Ok(false);
        }
        offset += length;
    }
    if offset >= packet.end {
        Ok(true)
    } else {
        Err(Reason::Malformed)
    }
}
