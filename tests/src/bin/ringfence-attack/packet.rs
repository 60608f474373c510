//! Packets as bytes. Every field is written as the standards say, so that what stops a packet is never its form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Numbers of protocols and extension headers.
pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION: u8 = 60;
}

/// An Ethernet frame around an IP packet.
pub fn frame(to: [u8; 6], from: [u8; 6], packet: &[u8]) -> Vec<u8> {
    let kind = if packet.first().is_some_and(|byte| byte >> 4 == 6) {
        0x86dd
    } else {
        0x0800
    };
    ethernet(to, from, kind, packet)
}

/// An Ethernet frame.
pub fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// An IP packet of the family of its addresses.
pub fn ip(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => v4(from, to, protocol, &[], 0, payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => v6(from, to, protocol, payload),
        _ => Vec::new(),
    }
}

/// An IPv4 packet; options are filled up to words, `fragment` is the field of flags and offset.
pub fn v4(
    from: Ipv4Addr,
    to: Ipv4Addr,
    protocol: u8,
    options: &[u8],
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut options = options.to_vec();
    options.resize(options.len().next_multiple_of(4), 0);
    let words = 5 + options.len() / 4;
    let total = words * 4 + payload.len();
    let mut header = vec![0x40 | byte(words), 0];
    header.extend(short(total));
    // The same identification for all fragments of one attack.
    header.extend([0x52, 0x46]);
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    header.extend(&options);
    let sum = checksum(&header).to_be_bytes();
    header.splice(10..12, sum);
    header.extend(payload);
    header
}

/// An IPv6 packet.
pub fn v6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(short(payload.len()));
    header.extend([next, if next == protocol::ICMPV6 { 255 } else { 64 }]);
    header.extend(from.octets());
    header.extend(to.octets());
    header.extend(payload);
    header
}

/// A UDP datagram.
pub fn udp(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let mut datagram = from.1.to_be_bytes().to_vec();
    datagram.extend(to.1.to_be_bytes());
    datagram.extend(short(8 + payload.len()));
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let sum = transport_sum(from.0, to.0, protocol::UDP, &datagram);
    let sum = if sum == 0 { 0xffff } else { sum };
    datagram.splice(6..8, sum.to_be_bytes());
    datagram
}

/// A TCP SYN; the payload rides in it.
pub fn syn(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let mut segment = from.1.to_be_bytes().to_vec();
    segment.extend(to.1.to_be_bytes());
    segment.extend([
        0x52, 0x46, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0,
    ]);
    segment.extend(payload);
    let sum = transport_sum(from.0, to.0, protocol::TCP, &segment);
    segment.splice(16..18, sum.to_be_bytes());
    segment
}

/// An ICMP echo request and its protocol, of the family of the addresses.
pub fn echo(from: IpAddr, to: IpAddr, id: u16, payload: &[u8]) -> (u8, Vec<u8>) {
    let (number, kind) = if to.is_ipv4() {
        (protocol::ICMP, 8)
    } else {
        (protocol::ICMPV6, 128)
    };
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend([0, 1]);
    message.extend(payload);
    (number, icmp_summed(from, to, message))
}

/// Writes the checksum of an ICMP message.
pub fn icmp_summed(from: IpAddr, to: IpAddr, mut message: Vec<u8>) -> Vec<u8> {
    let sum = if to.is_ipv4() {
        checksum(&message)
    } else {
        transport_sum(from, to, protocol::ICMPV6, &message)
    };
    message.splice(2..4, sum.to_be_bytes());
    message
}

fn transport_sum(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> u16 {
    let mut all = Vec::new();
    for address in [from, to] {
        match address {
            IpAddr::V4(address) => all.extend(address.octets()),
            IpAddr::V6(address) => all.extend(address.octets()),
        }
    }
    all.extend([0, protocol]);
    all.extend(short(payload.len()));
    all.extend(payload);
    checksum(&all)
}

/// The sum over the pseudo header alone, not complemented: what the kernel completes.
pub fn pseudo_sum(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> u16 {
    // Of a payload of zeros only the pseudo header counts.
    !transport_sum(from, to, protocol, &vec![0; length])
}

/// A number in the machine's own order of bytes.
pub fn native_short(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_ne_bytes()
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u32::from(u16::from_be_bytes([high, low])),
            [high] => u32::from(high) << 8,
            _ => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// A length as it stands in headers.
pub fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

/// A small number as it stands in headers.
pub fn byte(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
