//! IPv6 extension headers, and packets that say themselves by which way they go.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    Technique,
    attack::{Attack, Outcome},
    packet::{self, protocol},
    raw::Frames,
};

pub const TECHNIQUES: &[Technique] = &[
    ("extension-hop-by-hop", |attack| {
        extended(attack, protocol::HOP_BY_HOP)
    }),
    ("extension-destination", |attack| {
        extended(attack, protocol::DESTINATION)
    }),
    ("extension-atomic-fragment", |attack| {
        extended(attack, protocol::FRAGMENT)
    }),
    ("extension-routing", |attack| {
        extended(attack, protocol::ROUTING)
    }),
    ("extension-chain", extension_chain),
    ("source-route-loose", |attack| source_route(attack, 131)),
    ("source-route-strict", |attack| source_route(attack, 137)),
    ("segment-routing", segment_routing),
];

/// An extension header of 8 bytes that says nothing, before `next`.
fn header(kind: u8, next: u8) -> [u8; 8] {
    match kind {
        // Whole in one part.
        protocol::FRAGMENT => [next, 0, 0, 0, 0x52, 0x46, 0, 1],
        // A type for experiments, with no way left to go.
        protocol::ROUTING => [next, 0, 253, 0, 0, 0, 0, 0],
        // Padding.
        _ => [next, 0, 1, 4, 0, 0, 0, 0],
    }
}

fn ends(attack: &Attack) -> io::Result<(Ipv6Addr, Ipv6Addr)> {
    match (attack.from, attack.to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => Ok((from, to)),
        _ => Err(io::Error::other("extension headers are IPv6's")),
    }
}

/// SYN and datagram behind one extension header.
fn extended(attack: &Attack, kind: u8) -> io::Result<Outcome> {
    send(attack, &[kind])
}

/// Behind several, in the order that the standard recommends.
fn extension_chain(attack: &Attack) -> io::Result<Outcome> {
    send(
        attack,
        &[
            protocol::HOP_BY_HOP,
            protocol::DESTINATION,
            protocol::ROUTING,
            protocol::FRAGMENT,
            protocol::DESTINATION,
        ],
    )
}

fn send(attack: &Attack, kinds: &[u8]) -> io::Result<Outcome> {
    let (from, to) = ends(attack)?;
    let [source, target] = [(attack.from, attack.source_port), (attack.to, attack.port)];
    let packets = [
        (protocol::TCP, packet::syn(source, target, &attack.token)),
        (protocol::UDP, packet::udp(source, target, &attack.token)),
    ]
    .map(|(number, message)| {
        let mut payload = Vec::new();
        for (index, &kind) in kinds.iter().enumerate() {
            let next = kinds.get(index + 1).copied().unwrap_or(number);
            payload.extend(header(kind, next));
        }
        payload.extend(message);
        let first = kinds.first().copied().unwrap_or(number);
        packet::v6(from, to, first, &payload)
    });
    Frames::new(attack)?.send(&packets)
}

/// To the node, with the service as the next stop.
fn source_route(attack: &Attack, option: u8) -> io::Result<Outcome> {
    let (IpAddr::V4(from), IpAddr::V4(to), IpAddr::V4(via)) =
        (attack.from, attack.to, attack.needed_via()?)
    else {
        return Err(io::Error::other("this option is IPv4's"));
    };
    let [a, b, c, d] = to.octets();
    let options = [option, 7, 4, a, b, c, d, 0];
    let packets = [
        (
            protocol::TCP,
            packet::syn(
                (attack.from, attack.source_port),
                (attack.to, attack.port),
                &attack.token,
            ),
        ),
        (
            protocol::UDP,
            packet::udp(
                (attack.from, attack.source_port),
                (attack.to, attack.port),
                &attack.token,
            ),
        ),
    ]
    .map(|(number, message)| routed(from, via, number, &options, &message));
    Frames::new(attack)?.send(&packets)
}

fn routed(from: Ipv4Addr, via: Ipv4Addr, number: u8, options: &[u8], message: &[u8]) -> Vec<u8> {
    packet::v4(from, via, number, options, 0, message)
}

/// To the node, with a segment routing header whose last segment is the service.
fn segment_routing(attack: &Attack) -> io::Result<Outcome> {
    let (from, to) = ends(attack)?;
    let IpAddr::V6(via) = attack.needed_via()? else {
        return Err(io::Error::other("this header is IPv6's"));
    };
    let message = packet::udp(
        (attack.from, attack.source_port),
        (attack.to, attack.port),
        &attack.token,
    );
    // Two segments, in reverse order, one left to go.
    let mut payload = vec![protocol::UDP, 4, 4, 1, 1, 0, 0, 0];
    payload.extend(to.octets());
    payload.extend(via.octets());
    payload.extend(message);
    let packet = packet::v6(from, via, protocol::ROUTING, &payload);
    Frames::new(attack)?.send(&[packet])
}
