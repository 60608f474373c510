//! The parser: bytes to [`Packet`]. What it cannot read it refuses with a [`Reason`]; it never guesses.

mod v4;
mod v6;

use crate::{config::MAX_TUNNEL_PORTS, event::Reason, protocol};

pub use v4::{Arp, arp, embedded_v4, is_source_routed, v4};
pub use v6::{
    Chain, ChainWord, MAX_EXTENSIONS, embedded_v6, nd_target, neighbour_options_are, v6,
    walk_extensions,
};
pub(crate) use v6::{address, extensions};

/// Where a packet's bytes are.
pub trait Bytes {
    /// Length of the whole packet, whether or not [`Self::window`] reaches all of it.
    fn len(&self) -> usize;

    /// The `N` bytes at `offset`; `None` if they are not all there, or `offset` is beyond [`MAX_HEADERS`].
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]>;

    /// Walks over IPv6 extension headers: [`walk_extensions`], wherever that is best done.
    ///
    /// This and the next three are not on every packet's way. The kernel calls them as functions that its verifier
    /// checks by themselves: checked where they are called, they would multiply with everything that follows.
    ///
    /// # Errors
    ///
    /// Why the packet cannot be judged.
    fn walk(&self, next: u8, offset: usize, end: usize) -> Result<Chain, Reason> {
        walk_extensions(self, next, offset, end)
    }

    /// Looks behind VLAN tags: [`untag`].
    ///
    /// # Errors
    ///
    /// As [`frame`].
    fn tagged(&self) -> Result<Payload, Reason> {
        untag(self)
    }

    /// Reads protocol and ports of the packet inside an ICMP error: [`inner`].
    fn inside(&self, v6: bool, offset: usize, end: usize) -> Option<Inner> {
        inner(self, v6, offset, end)
    }

    /// True if these IPv4 options route the packet: [`is_source_routed`].
    fn source_routed(&self, offset: usize, end: usize) -> bool {
        is_source_routed(self, offset, end)
    }

    /// True if there is nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Bytes for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        if offset > MAX_HEADERS {
            return None;
        }
        self.get(offset..)?.first_chunk()
    }
}

/// Every header begins within this many bytes, else the packet is refused. Eight extension headers of ordinary length
/// and the headers around them fit by far.
pub const MAX_HEADERS: usize = 0x0fff;

/// `EtherType` of IPv4.
pub const ETH_IPV4: u16 = 0x0800;
/// `EtherType` of ARP.
pub const ETH_ARP: u16 = 0x0806;
/// `EtherType` of IPv6.
pub const ETH_IPV6: u16 = 0x86dd;
const ETH_VLAN: u16 = 0x8100;
const ETH_QINQ: u16 = 0x88a8;

/// The frame around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Sender's hardware address.
    pub source: [u8; 6],
    /// What it carries, after at most two VLAN tags.
    pub ethertype: u16,
    /// Where that begins.
    pub offset: usize,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its type, behind all tags.
    pub ethertype: u16,
    /// Where it begins.
    pub offset: usize,
}

/// Reads the Ethernet header and up to two VLAN tags in band (IEEE 802.1Q, 802.1ad).
///
/// # Errors
///
/// [`Reason::Truncated`], or [`Reason::EtherType`] for a third tag.
#[inline(always)]
pub fn frame<B: Bytes + ?Sized>(bytes: &B) -> Result<Frame, Reason> {
    let head: &[u8; 14] = bytes.window(0).ok_or(Reason::Truncated)?;
    let source = [head[6], head[7], head[8], head[9], head[10], head[11]];
    let ethertype = u16::from_be_bytes([head[12], head[13]]);
    let Payload { ethertype, offset } = if is_tag(ethertype) {
        bytes.tagged()?
    } else {
        Payload {
            ethertype,
            offset: 14,
        }
    };
    Ok(Frame {
        source,
        ethertype,
        offset,
    })
}

const fn is_tag(ethertype: u16) -> bool {
    ethertype == ETH_VLAN || ethertype == ETH_QINQ
}

/// What lies behind one or two VLAN tags.
///
/// # Errors
///
/// As [`frame`].
#[inline(always)]
pub fn untag<B: Bytes + ?Sized>(bytes: &B) -> Result<Payload, Reason> {
    for offset in [18, 22] {
        let kind: &[u8; 2] = bytes.window(offset - 2).ok_or(Reason::Truncated)?;
        let ethertype = u16::from_be_bytes(*kind);
        if !is_tag(ethertype) {
            return Ok(Payload { ethertype, offset });
        }
    }
    Err(Reason::EtherType)
}

/// A packet's part in a fragmented one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fragment {
    /// Not fragmented (IPv6 atomic fragments included).
    Whole = 0,
    /// The first one, which has the ports.
    First = 1,
    /// A later one: its ports are those that the first had.
    Later = 2,
}

/// True for a later fragment that begins inside the transport header, at this offset in units of 8 bytes: put over the
/// first one, which was judged, it would make another packet of it (RFC 3128). Ports are in the first 8 bytes.
#[inline(always)]
const fn overlaps_header(protocol: u8, offset: u16) -> bool {
    match protocol {
        protocol::TCP => offset == 1 || offset == 2,
        protocol::SCTP => offset == 1,
        _ => false,
    }
}

/// What the judge needs to know of an IP packet. Addresses in network order, ports in the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port; the identifier of ICMP echo; 0 for protocols without ports.
    pub source_port: u16,
    /// Destination port, likewise.
    pub destination_port: u16,
    /// IP protocol number, behind all extension headers.
    pub protocol: u8,
    /// TCP flags ([`tcp`]).
    pub tcp_flags: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Part in a fragmented packet.
    pub fragment: Fragment,
    /// Identification, if fragmented.
    pub identification: u32,
    /// ICMP's type, if it is ICMP.
    pub icmp_type: u8,
    /// Where the transport header begins.
    pub transport: usize,
    /// Where the packet ends, by its own length field.
    pub end: usize,
}

/// TCP flags (RFC 9293).
pub mod tcp {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Opens.
    pub const SYN: u8 = 2;
    /// Aborts.
    pub const RST: u8 = 4;
    /// Acknowledges.
    pub const ACK: u8 = 16;
}

/// Ports, TCP flags and ICMP type as the transport header has them.
#[derive(Clone, Copy)]
struct Transport {
    source_port: u16,
    destination_port: u16,
    tcp_flags: u8,
    icmp_type: u8,
}

impl Transport {
    const NONE: Self = Self {
        source_port: 0,
        destination_port: 0,
        tcp_flags: 0,
        icmp_type: 0,
    };
}

/// Reads the transport header at `offset`, which must lie before `end` as a whole.
#[inline(always)]
fn transport<B: Bytes + ?Sized>(
    bytes: &B,
    protocol: u8,
    offset: usize,
    end: usize,
) -> Result<Transport, Reason> {
    let room = end.saturating_sub(offset);
    match protocol {
        protocol::TCP => {
            if room < 20 {
                return Err(Reason::Malformed);
            }
            let head: &[u8; 14] = bytes.window(offset).ok_or(Reason::Truncated)?;
            if head[12] >> 4 < 5 {
                return Err(Reason::Malformed);
            }
            Ok(Transport {
                tcp_flags: head[13],
                ..ports([head[0], head[1], head[2], head[3]])
            })
        }
        protocol::UDP | protocol::SCTP => {
            if room < if protocol == protocol::UDP { 8 } else { 12 } {
                return Err(Reason::Malformed);
            }
            Ok(ports(*bytes.window(offset).ok_or(Reason::Truncated)?))
        }
        protocol::ICMP | protocol::ICMPV6 => {
            if room < 8 {
                return Err(Reason::Malformed);
            }
            let head: &[u8; 8] = bytes.window(offset).ok_or(Reason::Truncated)?;
            let id = if icmp_has_identifier(protocol, head[0]) {
                u16::from_be_bytes([head[4], head[5]])
            } else {
                0
            };
            Ok(Transport {
                source_port: id,
                destination_port: id,
                tcp_flags: 0,
                icmp_type: head[0],
            })
        }
        _ => Ok(Transport::NONE),
    }
}

/// The four bytes that TCP, UDP and SCTP begin with.
#[inline(always)]
fn ports(head: [u8; 4]) -> Transport {
    Transport {
        source_port: u16::from_be_bytes([head[0], head[1]]),
        destination_port: u16::from_be_bytes([head[2], head[3]]),
        ..Transport::NONE
    }
}

/// Echo and timestamp queries and answers (RFC 792), echo (RFC 4443).
const fn icmp_has_identifier(protocol: u8, kind: u8) -> bool {
    match protocol {
        protocol::ICMP => matches!(kind, 0 | 8 | 13 | 14),
        _ => matches!(kind, 128 | 129),
    }
}

/// True for ICMP messages that tell of trouble with the packet they carry: unreachable, too big, time exceeded, bad header
/// (RFC 792, RFC 4443). Redirects and source quench (deprecated, RFC 6633) ask for something and pass by policy only, and so
/// does what nobody has defined.
#[must_use]
#[inline(always)]
pub const fn is_icmp_error(protocol: u8, kind: u8) -> bool {
    match protocol {
        protocol::ICMP => matches!(kind, 3 | 11 | 12),
        protocol::ICMPV6 => matches!(kind, 1..=4),
        _ => false,
    }
}

impl<A> Packet<A> {
    /// True if it is, as a whole or as a first fragment, what [`is_icmp_error`] says.
    #[must_use]
    #[inline(always)]
    pub const fn is_error(&self) -> bool {
        is_icmp_error(self.protocol, self.icmp_type) && !matches!(self.fragment, Fragment::Later)
    }
}

/// UDP ports at which tunnels listen unless told otherwise: VXLAN (4789, and 8472 as Linux had it first), VXLAN-GPE (4790)
/// and Geneve (6081).
pub const TUNNEL_PORTS: [u16; 4] = [4789, 8472, 4790, 6081];

/// True for encapsulation that a node's own tunnels would open: what is inside would be judged by nobody. UDP to
/// [`TUNNEL_PORTS`] or one of `others`; IPv4 and IPv6 in IP, GRE.
#[must_use]
#[inline(always)]
pub fn is_tunnel<A>(packet: &Packet<A>, others: &[u16; MAX_TUNNEL_PORTS]) -> bool {
    is_tunnel_port(packet.protocol, packet.destination_port, others)
}

/// The same of a protocol and its destination port.
#[must_use]
#[inline(always)]
pub fn is_tunnel_port(protocol: u8, port: u16, others: &[u16; MAX_TUNNEL_PORTS]) -> bool {
    match protocol {
        4 | 41 | 47 => true,
        protocol::UDP => TUNNEL_PORTS.contains(&port) || port != 0 && others.contains(&port),
        _ => false,
    }
}

/// The tuple of the packet inside an ICMP error: as it was sent, so its source is who gets the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedded<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port, as in [`Packet`].
    pub source_port: u16,
    /// Destination port, as in [`Packet`].
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl<A: PartialEq> Embedded<A> {
    /// True if `error` is its receiver's answer to its sender. (A router's error is from somebody else.)
    #[inline(always)]
    pub(crate) fn is_answered_by(&self, error: &Packet<A>) -> bool {
        self.source == error.destination && self.destination == error.source
    }
}

/// Reads the first eight bytes of the transport header inside an ICMP error: errors need not carry more.
#[inline(always)]
fn embedded_ports<B: Bytes + ?Sized>(
    bytes: &B,
    protocol: u8,
    offset: usize,
    end: usize,
) -> Result<(u16, u16), Reason> {
    if end.saturating_sub(offset) < 8 {
        return Err(Reason::Malformed);
    }
    let head: &[u8; 8] = bytes.window(offset).ok_or(Reason::Truncated)?;
    Ok(match protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => (
            u16::from_be_bytes([head[0], head[1]]),
            u16::from_be_bytes([head[2], head[3]]),
        ),
        protocol::ICMP | protocol::ICMPV6 if icmp_has_identifier(protocol, head[0]) => {
            let id = u16::from_be_bytes([head[4], head[5]]);
            (id, id)
        }
        _ => (0, 0),
    })
}

/// Protocol and ports of the packet inside an ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// IP protocol number.
    pub protocol: u8,
    /// Source port, as in [`Packet`].
    pub source_port: u16,
    /// Destination port, as in [`Packet`].
    pub destination_port: u16,
}

/// Reads protocol and ports of the packet at `offset`, of which errors need not carry more than eight bytes behind the
/// IP header. `None` if they cannot be read; a later fragment has none.
#[inline(always)]
pub fn inner<B: Bytes + ?Sized>(bytes: &B, v6: bool, offset: usize, end: usize) -> Option<Inner> {
    let read = if v6 {
        v6::inner(bytes, offset, end)
    } else {
        v4::inner(bytes, offset, end)
    };
    let (protocol, (source_port, destination_port)) = read.ok()?;
    Some(Inner {
        protocol,
        source_port,
        destination_port,
    })
}
