//! Packets as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Hardware address of the pod under test.
pub const POD_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];
/// Hardware address of the node's side.
pub const NODE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// TCP flags.
pub mod tcp {
    /// FIN.
    pub const FIN: u8 = 1;
    /// SYN.
    pub const SYN: u8 = 2;
    /// RST.
    pub const RST: u8 = 4;
    /// ACK.
    pub const ACK: u8 = 16;
}

/// Which way a frame goes, seen from the pod: it decides on the hardware addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the pod.
    Out,
    /// To the pod.
    In,
}

/// An Ethernet frame around an IP packet, or anything else.
#[must_use]
pub fn ethernet(way: Way, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = match way {
        Way::Out => (POD_MAC, NODE_MAC),
        Way::In => (NODE_MAC, POD_MAC),
    };
    let mut frame = Vec::new();
    frame.extend(destination);
    frame.extend(source);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A frame around an IP packet of either family.
#[must_use]
pub fn frame(way: Way, packet: &[u8]) -> Vec<u8> {
    ethernet(
        way,
        if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd },
        packet,
    )
}

/// An IP packet of the family of its addresses, which must agree.
#[must_use]
pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            v4(source, destination, protocol, &[], 0, payload)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            v6(source, destination, protocol, 64, payload)
        }
        _ => panic!("addresses of two families"),
    }
}

/// An IPv4 packet; `options` must be a multiple of 4 bytes, `fragment` is the flags-and-offset field.
#[must_use]
pub fn v4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    options: &[u8],
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let header = 20 + options.len();
    let total = u16::try_from(header + payload.len()).expect("short");
    let mut packet = vec![
        0x40 | u8::try_from(header / 4).expect("at most 60 bytes"),
        0,
    ];
    packet.extend(total.to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(options);
    packet.extend(payload);
    packet
}

/// An IPv6 packet.
#[must_use]
pub fn v6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next: u8,
    hop_limit: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).expect("short").to_be_bytes());
    packet.extend([next, hop_limit]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// A TCP packet.
#[must_use]
pub fn tcp(source: SocketAddr, destination: SocketAddr, flags: u8) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(source.port().to_be_bytes());
    segment.extend(destination.port().to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    ip(source.ip(), destination.ip(), 6, &segment)
}

/// A UDP packet.
#[must_use]
pub fn udp(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Vec<u8> {
    ip(
        source.ip(),
        destination.ip(),
        17,
        &udp_datagram(source.port(), destination.port(), payload),
    )
}

/// A UDP header and what follows.
#[must_use]
pub fn udp_datagram(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source.to_be_bytes());
    datagram.extend(destination.to_be_bytes());
    datagram.extend(
        u16::try_from(8 + payload.len())
            .expect("short")
            .to_be_bytes(),
    );
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// An ICMP message of either family, by the family of its addresses.
#[must_use]
pub fn icmp(source: IpAddr, destination: IpAddr, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    ip(
        source,
        destination,
        if source.is_ipv4() { 1 } else { 58 },
        &message,
    )
}

/// The ICMP error of this type and code about a packet: four unused bytes (or an MTU), then the packet.
#[must_use]
pub fn icmp_error(
    source: IpAddr,
    destination: IpAddr,
    kind: u8,
    code: u8,
    about: &[u8],
) -> Vec<u8> {
    let mut rest = vec![0, 0, 0x05, 0x14];
    rest.extend(about);
    icmp(source, destination, kind, code, &rest)
}
