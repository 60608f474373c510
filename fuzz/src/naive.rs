//! A packet as a beginner would read it: one pass, no limits on how many headers there are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// It cannot be understood as IP or ARP.
    Refused,
    /// ARP: hardware and protocol address of the sender.
    Arp([u8; 6], [u8; 4]),
    /// An IP packet.
    Ip(Packet),
}

/// Part in a fragmented packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole packet.
    Whole,
    /// The first part of several.
    First,
    /// A part that has no transport header.
    Later,
}

/// What there is to know of an IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The frame's sender.
    pub hardware: [u8; 6],
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// Protocol behind all extension headers.
    pub protocol: u8,
    /// Source port, or an echo's identifier.
    pub source_port: u16,
    /// Destination port, or an echo's identifier.
    pub destination_port: u16,
    /// TCP's flags.
    pub flags: u8,
    /// ICMP's type.
    pub kind: u8,
    /// TTL or hop limit.
    pub hops: u8,
    /// Part in a fragmented packet.
    pub part: Part,
    /// Which fragmented packet.
    pub identification: u32,
    /// No tag, option, extension header or fragment.
    pub plain: bool,
    /// What follows the IP headers.
    pub body: Vec<u8>,
}

/// Reads a frame.
#[must_use]
pub fn read(bytes: &[u8]) -> Read {
    frame(bytes).unwrap_or(Read::Refused)
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn frame(bytes: &[u8]) -> Option<Read> {
    let hardware = bytes.get(6..12)?.try_into().ok()?;
    let mut at = 12;
    while matches!(number(bytes, at)?, 0x8100 | 0x88a8) {
        at += 4;
    }
    let kind = number(bytes, at)?;
    let rest = bytes.get(at + 2..)?;
    let read = match kind {
        0x0800 => packet4(rest)?,
        0x86dd => packet6(rest)?,
        0x0806 => {
            let sender = rest.get(8..14)?.try_into().ok()?;
            let address = rest.get(14..18)?.try_into().ok()?;
            rest.get(..28)?;
            return Some(Read::Arp(sender, address));
        }
        _ => return None,
    };
    Some(Read::Ip(Packet {
        hardware,
        plain: read.plain && at == 12,
        ..read
    }))
}

fn packet4(bytes: &[u8]) -> Option<Packet> {
    let header = usize::from(bytes.first()? & 15) * 4;
    if bytes[0] >> 4 != 4 || header < 20 {
        return None;
    }
    let whole = bytes.get(..usize::from(number(bytes, 2)?))?;
    let field = number(whole, 6)?;
    let part = part(field & 0x2000 != 0, field & 0x1fff);
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 4] = whole.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets).into())
    };
    let packet = Packet {
        hardware: [0; 6],
        source: address(12)?,
        destination: address(16)?,
        protocol: whole[9],
        source_port: 0,
        destination_port: 0,
        flags: 0,
        kind: 0,
        hops: whole[8],
        part,
        identification: u32::from(number(whole, 4)?),
        plain: header == 20 && part == Part::Whole,
        body: whole.get(header..)?.to_vec(),
    };
    with_transport(packet, 58)
}

fn part(more: bool, offset: u16) -> Part {
    match (more, offset) {
        (false, 0) => Part::Whole,
        (true, 0) => Part::First,
        _ => Part::Later,
    }
}

fn packet6(bytes: &[u8]) -> Option<Packet> {
    if bytes.first()? >> 4 != 6 {
        return None;
    }
    let whole = bytes.get(..usize::from(number(bytes, 4)?) + 40)?;
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = whole.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    };
    let (mut next, mut at) = (whole[6], 40);
    let (mut part, mut identification) = (Part::Whole, 0);
    let mut plain = true;
    while part != Part::Later && matches!(next, 0 | 43 | 44 | 51 | 60) {
        plain = false;
        let head = whole.get(at..at + 8)?;
        let units = usize::from(head[1]);
        if next == 44 {
            let field = number(head, 2)?;
            part = self::part(field & 1 != 0, field >> 3);
            identification = u32::from_be_bytes(head[4..8].try_into().ok()?);
        }
        at += match next {
            44 => 8,
            51 => (units + 2) * 4,
            _ => (units + 1) * 8,
        };
        next = head[0];
    }
    let packet = Packet {
        hardware: [0; 6],
        source: address(8)?,
        destination: address(24)?,
        protocol: next,
        source_port: 0,
        destination_port: 0,
        flags: 0,
        kind: 0,
        hops: whole[7],
        part,
        identification,
        plain,
        body: whole.get(at..)?.to_vec(),
    };
    with_transport(packet, 1)
}

/// Reads the transport header; `foreign` is the other family's ICMP.
fn with_transport(mut packet: Packet, foreign: u8) -> Option<Packet> {
    if packet.protocol == foreign {
        return None;
    }
    if packet.part == Part::Later {
        return Some(packet);
    }
    let body = &packet.body;
    let needed = match packet.protocol {
        6 => 20,
        132 => 12,
        17 | 1 | 58 => 8,
        _ => 0,
    };
    body.get(..needed)?;
    match packet.protocol {
        6 | 17 | 132 => {
            packet.source_port = number(body, 0)?;
            packet.destination_port = number(body, 2)?;
        }
        1 | 58 => packet.kind = body[0],
        _ => {}
    }
    if packet.protocol == 6 {
        packet.flags = body[13];
        if body[12] >> 4 < 5 {
            return None;
        }
    }
    if has_identifier(packet.protocol, packet.kind) {
        packet.source_port = number(body, 4)?;
        packet.destination_port = packet.source_port;
    }
    Some(packet)
}

fn has_identifier(protocol: u8, kind: u8) -> bool {
    match protocol {
        1 => [0, 8, 13, 14].contains(&kind),
        58 => [128, 129].contains(&kind),
        _ => false,
    }
}

impl Packet {
    /// True for a bare SYN.
    #[must_use]
    pub fn is_syn(&self) -> bool {
        self.protocol == 6 && self.flags & 0x12 == 2
    }

    /// True for a segment of a connection under way.
    #[must_use]
    pub fn is_midstream(&self) -> bool {
        self.protocol == 6 && self.flags & 0x12 == 0x10
    }

    /// True for an echo or timestamp request.
    #[must_use]
    pub fn is_query(&self) -> bool {
        self.protocol == 1 && [8, 13].contains(&self.kind)
            || self.protocol == 58 && self.kind == 128
    }

    /// True for what answers it.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.protocol == 1 && [0, 14].contains(&self.kind)
            || self.protocol == 58 && self.kind == 129
    }

    /// True for an ICMP error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.part != Part::Later
            && (self.protocol == 1 && [3, 11, 12].contains(&self.kind)
                || self.protocol == 58 && (1..=4).contains(&self.kind))
    }

    /// True for neighbour and listener discovery.
    #[must_use]
    pub fn is_discovery(&self) -> bool {
        self.part != Part::Later
            && self.source.is_ipv6()
            && self.protocol == 58
            && (130..=137).contains(&self.kind) | (self.kind == 143)
    }

    /// True for what a node might decapsulate.
    #[must_use]
    pub fn is_tunnel(&self) -> bool {
        match self.protocol {
            4 | 41 | 47 => true,
            17 => [4789, 8472, 4790, 6081].contains(&self.destination_port),
            _ => false,
        }
    }

    /// What an ICMP error is about: source, destination, protocol, ports.
    #[must_use]
    pub fn about(&self) -> Option<(IpAddr, IpAddr, u8, u16, u16)> {
        let inner = self.body.get(8..)?;
        let (source, destination, protocol, rest) = if self.source.is_ipv4() {
            let header = usize::from(inner.first()? & 15) * 4;
            let address = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 4] = inner.get(at..at + 4)?.try_into().ok()?;
                Some(Ipv4Addr::from(octets).into())
            };
            (
                address(12)?,
                address(16)?,
                *inner.get(9)?,
                inner.get(header..)?,
            )
        } else {
            let address = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 16] = inner.get(at..at + 16)?.try_into().ok()?;
                Some(Ipv6Addr::from(octets).into())
            };
            let (mut next, mut at) = (*inner.get(6)?, 40);
            while matches!(next, 0 | 43 | 44 | 51 | 60) {
                let head = inner.get(at..at + 8)?;
                let units = usize::from(head[1]);
                at += match next {
                    44 => 8,
                    51 => (units + 2) * 4,
                    _ => (units + 1) * 8,
                };
                next = head[0];
            }
            (address(8)?, address(24)?, next, inner.get(at..)?)
        };
        let ports = match protocol {
            6 | 17 | 132 => (number(rest, 0)?, number(rest, 2)?),
            1 | 58 if has_identifier(protocol, *rest.first()?) => {
                (number(rest, 4)?, number(rest, 4)?)
            }
            _ => (0, 0),
        };
        Some((source, destination, protocol, ports.0, ports.1))
    }
}
