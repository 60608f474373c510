//! The packet parser over any bytes, beside a naive one that knows only plain packets.
//!
//! **Invariant.** It never panics; ports are read only from transport headers that lie wholly inside the packet; on plain
//! packets (no VLAN tag, option, fragment or extension header) both agree on whether, and as what, they are read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfence_common::packet::{self, Bytes, Fragment, Packet};

fuzz_target!(|bytes: &[u8]| {
    let Ok(frame) = packet::frame(bytes) else {
        assert!(
            bytes.len() < 14 || tagged(bytes),
            "an untagged frame has a type"
        );
        return;
    };
    assert!(matches!(frame.offset, 14 | 18 | 22) && frame.offset <= bytes.len());
    assert_eq!(frame.source[..], bytes[6..12]);
    assert_eq!(
        u16::from_be_bytes([bytes[frame.offset - 2], bytes[frame.offset - 1]]),
        frame.ethertype
    );
    // Whatever the type says: both families' parsers must bear any bytes.
    let four = packet::v4(bytes, frame.offset);
    let six = packet::v6(bytes, frame.offset);
    if let Ok(packet) = &four {
        inside(bytes, frame.offset, packet, 20);
        let _ = packet::embedded_v4(bytes, packet);
    }
    if let Ok(packet) = &six {
        inside(bytes, frame.offset, packet, 40);
        if let Ok(embedded) = packet::embedded_v6(bytes, packet) {
            assert_eq!(embedded.source, bytes[packet.transport + 16..][..16]);
        }
        if packet.protocol == 58 {
            let _ = packet::nd_target(bytes, packet);
            for skip in [0, 16] {
                let _ = packet::neighbour_options_are(bytes, packet, skip, &frame.source);
            }
        }
    }
    assert!(four.is_err() || six.is_err(), "a packet is of one version");
    let arp = packet::arp(bytes, frame.offset);
    let body = &bytes[frame.offset..];
    assert_eq!(
        arp.is_ok(),
        body.len() >= 28 && body[..6] == [0, 1, 8, 0, 6, 4]
    );
    if let Ok(arp) = arp {
        assert_eq!(
            (&arp.hardware[..], &arp.address[..]),
            (&body[8..14], &body[14..18])
        );
    }
    match plain(body, 4) {
        Plain::Unknown => {}
        Plain::Refused => assert!(four.is_err(), "{four:?}"),
        Plain::Read(expected) => agree(&expected, &four.expect("a plain IPv4 packet")),
    }
    match plain(body, 6) {
        Plain::Unknown => {}
        Plain::Refused => assert!(six.is_err(), "{six:?}"),
        Plain::Read(expected) => agree(&expected, &six.expect("a plain IPv6 packet")),
    }
});

fn tagged(bytes: &[u8]) -> bool {
    matches!(bytes[12..14], [0x81, 0x00] | [0x88, 0xa8])
}

/// What holds of every packet that is read.
fn inside<A>(bytes: &[u8], offset: usize, packet: &Packet<A>, header: usize) {
    assert!(packet.end <= Bytes::len(bytes));
    assert!(packet.transport >= offset + header && packet.transport <= packet.end);
    let room = packet.end - packet.transport;
    if packet.fragment == Fragment::Later {
        assert_eq!((packet.source_port, packet.destination_port), (0, 0));
        assert_eq!((packet.tcp_flags, packet.icmp_type), (0, 0));
        return;
    }
    let needed = match packet.protocol {
        6 => 20,
        17 | 1 | 58 => 8,
        132 => 12,
        _ => 0,
    };
    assert!(room >= needed, "{room} bytes of {needed}");
    if needed == 0 {
        assert_eq!((packet.source_port, packet.destination_port), (0, 0));
    }
    if packet.protocol != 6 {
        assert_eq!(packet.tcp_flags, 0);
    }
}

/// What the naive parser says.
enum Plain {
    /// Not plain: the naive parser does not know.
    Unknown,
    Refused,
    Read(Naive),
}

struct Naive {
    source: Vec<u8>,
    destination: Vec<u8>,
    protocol: u8,
    ports: (u16, u16),
    flags: u8,
}

/// The packet of this version that `body` begins with, read as a beginner would.
fn plain(body: &[u8], version: u8) -> Plain {
    let header = if version == 4 { 20 } else { 40 };
    if body.len() < header || body[0] >> 4 != version {
        return Plain::Refused;
    }
    let number = |at: usize| usize::from(body[at]) << 8 | usize::from(body[at + 1]);
    let (length, protocol, addresses) = if version == 4 {
        if body[0] & 15 < 5 {
            return Plain::Refused;
        }
        // Options; fragments; lengths of zero, which offloads use for what does not fit.
        if body[0] & 15 > 5 || number(6) & 0x3fff != 0 || number(2) == 0 {
            return Plain::Unknown;
        }
        (number(2), body[9], 12..20)
    } else {
        if matches!(body[6], 0 | 43 | 44 | 51 | 60) || number(4) == 0 {
            return Plain::Unknown;
        }
        (number(4) + 40, body[6], 8..40)
    };
    let foreign = if version == 4 { 58 } else { 1 };
    if length < header || length > body.len() || protocol == foreign {
        return Plain::Refused;
    }
    let segment = &body[header..length];
    let port = |at: usize| u16::from(segment[at]) << 8 | u16::from(segment[at + 1]);
    let (ports, flags) = match (protocol, segment.len()) {
        (6, 20..) if segment[12] >> 4 >= 5 => ((port(0), port(2)), segment[13]),
        (17, 8..) | (132, 12..) => ((port(0), port(2)), 0),
        (1 | 58, 8..) => {
            let named = match protocol {
                1 => [0, 8, 13, 14].contains(&segment[0]),
                _ => [128, 129].contains(&segment[0]),
            };
            let id = if named { port(4) } else { 0 };
            ((id, id), 0)
        }
        (6 | 17 | 132 | 1 | 58, _) => return Plain::Refused,
        _ => ((0, 0), 0),
    };
    let (source, destination) = body[addresses.clone()].split_at(addresses.len() / 2);
    Plain::Read(Naive {
        source: source.into(),
        destination: destination.into(),
        protocol,
        ports,
        flags,
    })
}

fn agree<A: AsRef<[u8]>>(expected: &Naive, read: &Packet<A>) {
    assert_eq!(read.source.as_ref(), expected.source);
    assert_eq!(read.destination.as_ref(), expected.destination);
    assert_eq!(read.protocol, expected.protocol);
    assert_eq!((read.source_port, read.destination_port), expected.ports);
    assert_eq!(read.tcp_flags, expected.flags);
}
