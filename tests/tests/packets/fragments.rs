//! Fragments: a later one is what its first was, and nothing without it.

use std::net::IpAddr;

use ringfence_common::event::Reason;
use ringfence_tests::packet::{Way, frame, tcp as flags, udp_datagram, v4, v6};

use super::{FRIEND, POD, STRANGER, at, guarded, malformed::denial, on_the_desk};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// One fragment of a packet between the pod and somebody: `offset` in units of 8 bytes.
struct Piece<'a> {
    way: Way,
    remote: &'a str,
    id: u8,
    offset: u16,
    more: bool,
    protocol: u8,
    payload: &'a [u8],
}

impl Piece<'_> {
    fn frame(&self, family: usize) -> Vec<u8> {
        let (pod, remote) = (at(POD[family], 0).ip(), at(self.remote, 0).ip());
        let (source, destination) = match self.way {
            Way::Out => (pod, remote),
            Way::In => (remote, pod),
        };
        let packet = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let field = u16::from(self.more) << 13 | self.offset;
                let mut packet = v4(source, destination, self.protocol, &[], field, self.payload);
                packet[4..6].copy_from_slice(&[0, self.id]);
                packet
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut payload = vec![self.protocol, 0];
                payload.extend((self.offset << 3 | u16::from(self.more)).to_be_bytes());
                payload.extend([0, 0, 0, self.id]);
                payload.extend(self.payload);
                v6(source, destination, 44, 64, &payload)
            }
            _ => panic!("addresses of two families"),
        };
        frame(self.way, &packet)
    }
}

/// What policy allows, and what it does not: the way, and the destination port of UDP out or of TCP in.
const CASES: [(Way, u16, bool); 4] = [
    (Way::Out, 53, true),
    (Way::Out, 54, false),
    (Way::In, 80, true),
    (Way::In, 81, false),
];

fn segment(source: u16, destination: u16) -> Vec<u8> {
    let mut segment = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    segment.extend([
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        0x50,
        flags::SYN,
        255,
        255,
        0,
        0,
        0,
        0,
    ]);
    segment
}

#[test]
fn a_later_fragment_is_what_its_first_was_and_nothing_before_it() {
    on_the_desk(&guarded(), |desk| {
        for (family, friend) in FRIEND.into_iter().enumerate() {
            for (id, (way, port, allowed)) in (1_u8..).zip(CASES) {
                let (protocol, head) = match way {
                    Way::Out => (UDP, udp_datagram(4000, port, b"12345678")),
                    Way::In => (TCP, [segment(4000, port), vec![0; 12]].concat()),
                };
                let piece = |offset, more, payload| Piece {
                    way,
                    remote: friend,
                    id,
                    offset,
                    more,
                    protocol,
                    payload,
                };
                let first = piece(0, true, &head).frame(family);
                let middle = piece(4, true, b"morebyte").frame(family);
                let last = piece(5, false, b"rest").frame(family);
                let what = format!("family {family}, port {port}");
                assert!(!desk.passes(way, &middle), "before the first: {what}");
                assert!(!desk.passes(way, &last), "before the first: {what}");
                assert_eq!(desk.passes(way, &first), allowed, "{what}");
                assert_eq!(desk.passes(way, &last), allowed, "{what}");
                assert_eq!(desk.passes(way, &middle), allowed, "{what}");
            }
        }
    });
}

#[test]
fn a_later_fragment_belongs_to_one_packet_of_one_sender_in_one_direction() {
    on_the_desk(&guarded(), |desk| {
        for (family, friend) in FRIEND.into_iter().enumerate() {
            let datagram = udp_datagram(4000, 53, b"12345678");
            let own = Piece {
                way: Way::Out,
                remote: friend,
                id: 7,
                offset: 0,
                more: true,
                protocol: UDP,
                payload: &datagram,
            };
            assert!(desk.passes(Way::Out, &own.frame(family)));
            let rest = Piece {
                offset: 2,
                more: false,
                payload: b"rest",
                ..own
            };
            assert!(desk.passes(Way::Out, &rest.frame(family)));
            for (what, other) in [
                ("another packet's", Piece { id: 8, ..rest }),
                (
                    "to somebody else",
                    Piece {
                        remote: STRANGER[family],
                        ..rest
                    },
                ),
                (
                    "the other way",
                    Piece {
                        way: Way::In,
                        ..rest
                    },
                ),
            ] {
                assert!(
                    !desk.passes(other.way, &other.frame(family)),
                    "{what}, family {family}"
                );
            }
        }
    });
}

#[test]
fn a_fragment_that_overlaps_what_was_judged_is_dropped() {
    on_the_desk(&guarded(), |desk| {
        for (family, friend) in FRIEND.into_iter().enumerate() {
            let head = [segment(4000, 80), vec![0; 12]].concat();
            let first = Piece {
                way: Way::In,
                remote: friend,
                id: 9,
                offset: 0,
                more: true,
                protocol: TCP,
                payload: &head,
            };
            assert!(desk.passes(Way::In, &first.frame(family)));
            // It would put other flags over those that were judged.
            let flags = Piece {
                offset: 1,
                payload: &[0; 16],
                ..first
            };
            assert_eq!(
                denial_in(desk, &flags.frame(family)),
                Some(Reason::Malformed)
            );
            let urgent = Piece {
                offset: 2,
                payload: &[0; 8],
                ..first
            };
            assert_eq!(
                denial_in(desk, &urgent.frame(family)),
                Some(Reason::Malformed)
            );
            // Another first one is judged by its own ports, whatever the one before was.
            let closed = [segment(4000, 81), vec![0; 12]].concat();
            let ports = Piece {
                payload: &closed,
                ..first
            };
            assert_eq!(denial_in(desk, &ports.frame(family)), Some(Reason::Policy));
            let behind = Piece {
                offset: 4,
                payload: b"morebyte",
                ..first
            };
            assert!(desk.passes(Way::In, &behind.frame(family)), "no overlap");
        }
    });
}

fn denial_in(desk: &mut ringfence_tests::desk::Desk, frame: &[u8]) -> Option<Reason> {
    let _earlier = desk.events();
    if desk.passes(Way::In, frame) {
        return None;
    }
    Some(desk.events()[0].reason)
}

#[test]
fn a_first_fragment_without_its_whole_transport_header_is_dropped() {
    on_the_desk(super::WORLD, |desk| {
        for (family, friend) in FRIEND.into_iter().enumerate() {
            let icmp = if family == 0 { 1 } else { 58 };
            for (protocol, needed) in [(TCP, 20), (UDP, 8), (132, 12), (icmp, 8)] {
                for length in [0, needed - 4, needed] {
                    let mut payload = vec![0; length];
                    if length == 20 {
                        payload[12] = 0x50;
                    }
                    if protocol == icmp && length > 0 {
                        payload[0] = if family == 0 { 8 } else { 128 };
                    }
                    let tiny = Piece {
                        way: Way::Out,
                        remote: friend,
                        id: 3,
                        offset: 0,
                        more: true,
                        protocol,
                        payload: &payload,
                    };
                    let expected = (length < needed).then_some(Reason::Malformed);
                    assert_eq!(
                        denial(desk, &tiny.frame(family)),
                        expected,
                        "{length} bytes of protocol {protocol}"
                    );
                }
            }
        }
    });
}

#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    on_the_desk(&guarded(), |desk| {
        for (port, allowed) in [(53, true), (54, false)] {
            let datagram = udp_datagram(4001, port, b"whole");
            let atomic = Piece {
                way: Way::Out,
                remote: FRIEND[1],
                id: 5,
                offset: 0,
                more: false,
                protocol: UDP,
                payload: &datagram,
            };
            assert_eq!(desk.passes(Way::Out, &atomic.frame(1)), allowed, "{port}");
            let later = Piece {
                offset: 2,
                payload: b"rest",
                ..atomic
            };
            assert!(
                !desk.passes(Way::Out, &later.frame(1)),
                "it has no later fragments"
            );
        }
    });
}

#[test]
fn a_first_fragment_has_its_ports_where_nothing_can_be_put_over_them() {
    on_the_desk(super::WORLD, |desk| {
        let datagram = udp_datagram(4000, 53, b"12345678");
        let behind = [&[UDP, 0, 1, 4, 0, 0, 0, 0][..], &datagram].concat();
        let first = Piece {
            way: Way::Out,
            remote: FRIEND[1],
            id: 6,
            offset: 0,
            more: true,
            protocol: 60,
            payload: &behind,
        };
        assert_eq!(denial(desk, &first.frame(1)), Some(Reason::Extensions));
        let whole = Piece {
            more: false,
            ..first
        };
        assert_eq!(
            denial(desk, &whole.frame(1)),
            None,
            "it has no later fragments"
        );
        let usual = Piece {
            protocol: UDP,
            payload: &datagram,
            ..first
        };
        assert_eq!(denial(desk, &usual.frame(1)), None);
    });
}
