//! What a process without any right can do: sockets, as every program has them.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, SocketAddrV6},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    Technique,
    attack::{Attack, Outcome},
    packet, sys,
};

pub const TECHNIQUES: &[Technique] = &[
    ("tcp", tcp),
    ("tcp-mapped", tcp_mapped),
    ("tcp-fast-open", tcp_fast_open),
    ("tcp-multipath", tcp_multipath),
    ("tcp-options", tcp_options),
    ("tcp-device", tcp_device),
    ("tcp-held", tcp_held),
    ("tcp-marked", tcp_marked),
    ("tcp-source-route", tcp_source_route),
    ("udp", udp),
    ("udp-connected", udp_connected),
    ("udp-mapped", udp_mapped),
    ("udp-mapped-connected", udp_mapped_connected),
    ("udp-elsewhere", udp_elsewhere),
    ("udp-marked", udp_marked),
    ("udp-source-route", udp_source_route),
    ("udp-fragments", udp_fragments),
    ("udp-options", udp_options),
    ("udp-device", udp_device),
    ("udp-held", udp_held),
    ("udp-lite", udp_lite),
    ("ping", ping),
];

/// IPv4 options that say nothing: they only move what follows.
const NO_OPERATION: [u8; 4] = [1, 1, 1, 1];

/// The protocol of MPTCP, and of UDP-Lite.
const MPTCP: i32 = 262;
const UDP_LITE: i32 = 136;

/// A socket of the target's family at the attack's source port.
fn socket(attack: &Attack, kind: Type, protocol: Option<i32>) -> io::Result<Socket> {
    let domain = Domain::for_address(attack.target());
    let socket = Socket::new(domain, kind, protocol.map(Protocol::from))?;
    at_source_port(&socket, attack, domain == Domain::IPV4)?;
    Ok(socket)
}

/// A socket that speaks IPv6 to an IPv4-mapped address.
fn mapped(attack: &Attack, kind: Type) -> io::Result<(Socket, SockAddr)> {
    let IpAddr::V4(to) = attack.to else {
        return Err(io::Error::other("only IPv4 addresses are mapped"));
    };
    let socket = Socket::new(Domain::IPV6, kind, None)?;
    socket.set_only_v6(false)?;
    at_source_port(&socket, attack, false)?;
    let to = SocketAddrV6::new(to.to_ipv6_mapped(), attack.port, 0, 0);
    Ok((socket, to.into()))
}

fn at_source_port(socket: &Socket, attack: &Attack, v4: bool) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    let any: IpAddr = if v4 { [0; 4].into() } else { [0_u16; 8].into() };
    socket.bind(&SocketAddr::new(any, attack.source_port).into())
}

/// The target, with the device where the address needs one.
fn target(attack: &Attack) -> io::Result<SockAddr> {
    match attack.to {
        IpAddr::V6(to) if to.is_unicast_link_local() => {
            let scope = sys::device_index(&attack.device)?;
            Ok(SocketAddrV6::new(to, attack.port, 0, scope).into())
        }
        _ => Ok(attack.target().into()),
    }
}

/// Connects; `None` if nobody answers in time.
fn connected(socket: &Socket, to: &SockAddr) -> io::Result<Option<()>> {
    socket.set_nonblocking(true)?;
    match socket.connect(to) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
            if !sys::writable(socket)? {
                return Ok(None);
            }
            match socket.take_error()? {
                Some(error) => Err(error),
                None => Ok(Some(())),
            }
        }
        other => other.map(Some),
    }
}

/// Says the token and listens.
fn converse(mut socket: &Socket, attack: &Attack) -> io::Result<Outcome> {
    // The service answers lines.
    socket.write_all(&[&attack.token[..], b"\n"].concat())?;
    listen(socket)
}

fn listen(mut socket: &Socket) -> io::Result<Outcome> {
    if !sys::readable(socket)? {
        return Ok(Outcome::Sent);
    }
    let mut answer = [0; 64];
    match socket.read(&mut answer)? {
        0 => Ok(Outcome::Sent),
        _ => Ok(Outcome::Answered),
    }
}

fn stream(socket: &Socket, attack: &Attack, to: &SockAddr) -> io::Result<Outcome> {
    match connected(socket, to)? {
        Some(()) => converse(socket, attack),
        None => Ok(Outcome::Sent),
    }
}

fn datagram(socket: &Socket, attack: &Attack, to: &SockAddr) -> io::Result<Outcome> {
    socket.send_to(&attack.token, to)?;
    listen(socket)
}

/// `pub`: techniques that only change the place of a process end with this.
pub fn tcp(attack: &Attack) -> io::Result<Outcome> {
    stream(
        &socket(attack, Type::STREAM, None)?,
        attack,
        &target(attack)?,
    )
}

fn tcp_mapped(attack: &Attack) -> io::Result<Outcome> {
    let (socket, to) = mapped(attack, Type::STREAM)?;
    stream(&socket, attack, &to)
}

/// Data in the SYN, sent without a call of `connect`.
fn tcp_fast_open(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::STREAM, None)?;
    // Data in the very first SYN; where the kernel does not know it, the SYN asks for a cookie.
    let _: io::Result<()> =
        sys::set_number(&socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_NO_COOKIE, 1);
    socket.set_nonblocking(true)?;
    match socket.send_to_with_flags(&attack.token, &target(attack)?, libc::MSG_FASTOPEN) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        other => drop(other?),
    }
    listen(&socket)
}

fn tcp_multipath(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::STREAM, Some(MPTCP))?;
    stream(&socket, attack, &target(attack)?)
}

fn tcp_options(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::STREAM, None)?;
    sys::set(&socket, libc::IPPROTO_IP, libc::IP_OPTIONS, &NO_OPERATION)?;
    stream(&socket, attack, &target(attack)?)
}

fn tcp_device(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::STREAM, None)?;
    socket.bind_device(Some(attack.device.as_bytes()))?;
    stream(&socket, attack, &target(attack)?)
}

/// Connects, says so, and goes on when it is told to.
fn tcp_held(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::STREAM, None)?;
    if connected(&socket, &target(attack)?)?.is_none() {
        return Ok(Outcome::Failed("nobody answers".to_owned()));
    }
    held()?;
    converse(&socket, attack)
}

pub fn udp(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::DGRAM, None)?;
    datagram(&socket, attack, &target(attack)?)
}

fn udp_connected(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::DGRAM, None)?;
    socket.connect(&target(attack)?)?;
    converse(&socket, attack)
}

fn udp_mapped(attack: &Attack) -> io::Result<Outcome> {
    let (socket, to) = mapped(attack, Type::DGRAM)?;
    datagram(&socket, attack, &to)
}

fn udp_mapped_connected(attack: &Attack) -> io::Result<Outcome> {
    let (socket, to) = mapped(attack, Type::DGRAM)?;
    socket.connect(&to)?;
    converse(&socket, attack)
}

/// Connected to somebody whom everybody may talk to, and then sent elsewhere.
fn udp_elsewhere(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::DGRAM, None)?;
    socket.connect(&SocketAddr::new(attack.needed_via()?, attack.port).into())?;
    datagram(&socket, attack, &target(attack)?)
}

/// Sockets whose packets bear a mark.
fn tcp_marked(attack: &Attack) -> io::Result<Outcome> {
    marked(attack, Type::STREAM, stream)
}

fn udp_marked(attack: &Attack) -> io::Result<Outcome> {
    marked(attack, Type::DGRAM, datagram)
}

fn marked(
    attack: &Attack,
    kind: Type,
    speak: fn(&Socket, &Attack, &SockAddr) -> io::Result<Outcome>,
) -> io::Result<Outcome> {
    let mut last = Ok(Outcome::Sent);
    for &mark in &attack.marks {
        let socket = socket(attack, kind, None)?;
        socket.set_mark(mark)?;
        last = speak(&socket, attack, &target(attack)?);
    }
    last
}

/// By way of the node, as the socket's options say: the packets' first destination is the node.
fn tcp_source_route(attack: &Attack) -> io::Result<Outcome> {
    let socket = source_routed(attack, Type::STREAM)?;
    stream(&socket, attack, &target(attack)?)
}

fn udp_source_route(attack: &Attack) -> io::Result<Outcome> {
    let socket = source_routed(attack, Type::DGRAM)?;
    datagram(&socket, attack, &target(attack)?)
}

fn source_routed(attack: &Attack, kind: Type) -> io::Result<Socket> {
    let socket = socket(attack, kind, None)?;
    let IpAddr::V4(via) = attack.needed_via()? else {
        return Err(io::Error::other("this option is IPv4's"));
    };
    let [a, b, c, d] = via.octets();
    let options = [131, 7, 4, a, b, c, d, 0];
    sys::set(&socket, libc::IPPROTO_IP, libc::IP_OPTIONS, &options)?;
    Ok(socket)
}

/// More than fits into one packet; the token is in each part.
fn udp_fragments(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::DGRAM, None)?;
    let mut payload = Vec::new();
    while payload.len() < 1990 {
        payload.extend(&attack.token);
        payload.push(b' ');
    }
    // As large as the path allows is not asked: the parts are wanted.
    let (level, name) = if attack.to.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER)
    };
    sys::set_number(&socket, level, name, libc::IP_PMTUDISC_DONT)?;
    socket.send_to(&payload, &target(attack)?)?;
    listen(&socket)
}

fn udp_options(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::DGRAM, None)?;
    sys::set(&socket, libc::IPPROTO_IP, libc::IP_OPTIONS, &NO_OPERATION)?;
    datagram(&socket, attack, &target(attack)?)
}

fn udp_device(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::DGRAM, None)?;
    socket.bind_device(Some(attack.device.as_bytes()))?;
    datagram(&socket, attack, &target(attack)?)
}

fn udp_held(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::DGRAM, None)?;
    socket.connect(&target(attack)?)?;
    held()?;
    converse(&socket, attack)
}

fn udp_lite(attack: &Attack) -> io::Result<Outcome> {
    let socket = socket(attack, Type::DGRAM, Some(UDP_LITE))?;
    datagram(&socket, attack, &target(attack)?)
}

/// An echo request from a socket that needs no right, where the pod's group may have one.
fn ping(attack: &Attack) -> io::Result<Outcome> {
    let (number, message) = packet::echo(attack.from, attack.to, attack.source_port, &attack.token);
    let domain = Domain::for_address(attack.target());
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::from(i32::from(number))))?;
    let at: SocketAddr = (attack.from, attack.source_port).into();
    socket.bind(&at.into())?;
    socket.send_to(&message, &SocketAddr::new(attack.to, 0).into())?;
    listen(&socket)
}

/// Says that it stands, and waits for a line.
fn held() -> io::Result<()> {
    println!("held");
    io::stdout().flush()?;
    io::stdin().read_line(&mut String::new()).map(drop)
}
