//! What cannot be read is dropped, with a reason.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ringfence_common::event::Reason;
use ringfence_tests::{
    desk::Desk,
    packet::{NODE_MAC, Way, ethernet, frame, tcp::SYN, udp_datagram, v4, v6},
};

use super::{FRIEND, POD, STRANGER, WORLD, at, guarded, on_the_desk, tcp, udp};

fn v4s() -> (Ipv4Addr, Ipv4Addr) {
    let (IpAddr::V4(pod), IpAddr::V4(peer)) = (at(POD[0], 0).ip(), at(FRIEND[0], 0).ip()) else {
        panic!("IPv4")
    };
    (pod, peer)
}

fn v6s() -> (Ipv6Addr, Ipv6Addr) {
    let (IpAddr::V6(pod), IpAddr::V6(peer)) = (at(POD[1], 0).ip(), at(FRIEND[1], 0).ip()) else {
        panic!("IPv6")
    };
    (pod, peer)
}

/// Sends it from the pod; the reason of its denial, or `None` if it passed.
pub(super) fn denial(desk: &mut Desk, frame: &[u8]) -> Option<Reason> {
    desk.events();
    if desk.passes(Way::Out, frame) {
        return None;
    }
    let events = desk.events();
    assert_eq!(events.len(), 1, "one event for one denial");
    Some(events[0].reason)
}

#[test]
fn every_refusal_has_its_reason() {
    on_the_desk(WORLD, |desk| {
        let (pod, peer) = v4s();
        let (pod6, peer6) = v6s();
        let datagram = udp_datagram(4000, 80, b"data");
        let good = v4(pod, peer, 17, &[], 0, &datagram);
        let change = |at: usize, value: u8| {
            let mut packet = good.clone();
            packet[at] = value;
            packet
        };
        let chain = |headers: usize| {
            let mut payload = Vec::new();
            for left in (0..headers).rev() {
                // Destination options: next header, length 0, padding.
                payload.extend([if left == 0 { 17 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
            }
            payload.extend(&datagram);
            v6(
                pod6,
                peer6,
                if headers == 0 { 17 } else { 60 },
                64,
                &payload,
            )
        };
        let routing = |segments_left: u8| {
            let mut payload = vec![17, 0, 0, segments_left, 0, 0, 0, 0];
            payload.extend(&datagram);
            v6(pod6, peer6, 43, 64, &payload)
        };
        let late_hop_by_hop = {
            let mut payload = vec![0, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
            payload.extend(&datagram);
            v6(pod6, peer6, 60, 64, &payload)
        };
        let cases: Vec<(&str, Vec<u8>, Option<Reason>)> = vec![
            ("good", frame(Way::Out, &good), None),
            (
                "options",
                frame(Way::Out, &v4(pod, peer, 17, &[1, 1, 1, 0], 0, &datagram)),
                None,
            ),
            (
                "source routing",
                frame(
                    Way::Out,
                    &v4(
                        pod,
                        peer,
                        17,
                        &[131, 7, 4, 169, 254, 169, 254, 0],
                        0,
                        &datagram,
                    ),
                ),
                Some(Reason::Extensions),
            ),
            (
                "version 5",
                ethernet(Way::Out, 0x0800, &change(0, 0x55)),
                Some(Reason::Malformed),
            ),
            (
                "header of 16 bytes",
                frame(Way::Out, &change(0, 0x44)),
                Some(Reason::Malformed),
            ),
            (
                "total length below the header",
                frame(Way::Out, &change(3, 19)),
                Some(Reason::Malformed),
            ),
            (
                "total length beyond the packet",
                frame(Way::Out, &change(2, 4)),
                Some(Reason::Truncated),
            ),
            (
                "no room for the UDP header",
                frame(Way::Out, &v4(pod, peer, 17, &[], 0, &datagram[..7])),
                Some(Reason::Malformed),
            ),
            (
                "no room for the TCP header",
                frame(Way::Out, &v4(pod, peer, 6, &[], 0, &[0; 19])),
                Some(Reason::Malformed),
            ),
            (
                "TCP data offset 4",
                frame(Way::Out, &v4(pod, peer, 6, &[], 0, &[0; 20])),
                Some(Reason::Malformed),
            ),
            // Test-run itself refuses less than a plain IP header.
            (
                "cut off behind the IP header",
                frame(Way::Out, &good[..24]),
                Some(Reason::Truncated),
            ),
            (
                "tiny first fragment",
                frame(Way::Out, &v4(pod, peer, 6, &[], 0x2000, &[0; 8])),
                Some(Reason::Malformed),
            ),
            (
                "later fragment of nothing",
                frame(Way::Out, &v4(pod, peer, 17, &[], 1, b"rest")),
                Some(Reason::Fragment),
            ),
            (
                "IPX",
                ethernet(Way::Out, 0x8137, &good),
                Some(Reason::EtherType),
            ),
            (
                "three VLAN tags",
                ethernet(
                    Way::Out,
                    0x8100,
                    &[0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 8, 0],
                ),
                Some(Reason::EtherType),
            ),
            ("no extension header", frame(Way::Out, &chain(0)), None),
            ("eight extension headers", frame(Way::Out, &chain(8)), None),
            (
                "nine extension headers",
                frame(Way::Out, &chain(9)),
                Some(Reason::Extensions),
            ),
            (
                "hop-by-hop options behind others",
                frame(Way::Out, &late_hop_by_hop),
                Some(Reason::Extensions),
            ),
            (
                "routing header that is done",
                frame(Way::Out, &routing(0)),
                None,
            ),
            (
                "source routing",
                frame(Way::Out, &routing(1)),
                Some(Reason::Extensions),
            ),
        ];
        for (what, frame, expected) in cases {
            assert_eq!(denial(desk, &frame), expected, "{what}");
        }
    });
}

#[test]
fn vlan_tags_in_band_hide_nothing() {
    on_the_desk(&guarded(), |desk| {
        for (port, allowed) in [(443, true), (80, false)] {
            let untagged = tcp(Way::Out, (POD[0], 4000), (FRIEND[0], port), SYN);
            let mut single = untagged[..12].to_vec();
            single.extend([0x81, 0, 0, 5]);
            single.extend(&untagged[12..]);
            let mut double = untagged[..12].to_vec();
            double.extend([0x88, 0xa8, 0, 9, 0x81, 0, 0, 5]);
            double.extend(&untagged[12..]);
            for frame in [&untagged, &single, &double] {
                assert_eq!(desk.passes(Way::Out, frame), allowed, "port {port}");
            }
        }
    });
}

#[test]
fn a_sender_that_is_not_the_pod_is_dropped() {
    on_the_desk(WORLD, |desk| {
        let mut foreign_hardware = udp(Way::Out, (POD[0], 4000), (STRANGER[0], 80));
        foreign_hardware[6..12].copy_from_slice(&NODE_MAC);
        for (what, frame, expected) in [
            (
                "own",
                udp(Way::Out, (POD[0], 4000), (STRANGER[0], 80)),
                None,
            ),
            (
                "own, IPv6",
                udp(Way::Out, (POD[1], 4000), (STRANGER[1], 80)),
                None,
            ),
            (
                "another's",
                udp(Way::Out, (FRIEND[0], 4000), (STRANGER[0], 80)),
                Some(Reason::SpoofedAddress),
            ),
            (
                "another's, IPv6",
                udp(Way::Out, (FRIEND[1], 4000), (STRANGER[1], 80)),
                Some(Reason::SpoofedAddress),
            ),
            (
                "none",
                udp(Way::Out, ("0.0.0.0", 4000), (STRANGER[0], 80)),
                Some(Reason::SpoofedAddress),
            ),
            (
                "none, IPv6",
                udp(Way::Out, ("::", 4000), (STRANGER[1], 80)),
                Some(Reason::SpoofedAddress),
            ),
            (
                "mapped",
                udp(Way::Out, ("::ffff:10.0.0.10", 4000), (STRANGER[1], 80)),
                Some(Reason::SpoofedAddress),
            ),
            (
                "another's hardware address",
                foreign_hardware,
                Some(Reason::SpoofedHardware),
            ),
        ] {
            assert_eq!(denial(desk, &frame), expected, "{what}");
        }
    });
}

#[test]
fn a_device_without_endpoint_lets_nothing_through() {
    on_the_desk(WORLD, |desk| {
        assert!(desk.passes(Way::Out, &udp(Way::Out, (POD[0], 4000), (STRANGER[0], 80))));
        desk.apply(&WORLD.replace("name: cart", "name: other"));
        let reason = denial(desk, &udp(Way::Out, (POD[0], 4000), (STRANGER[0], 80)));
        assert_eq!(reason, Some(Reason::UnknownEndpoint));
    });
}

#[test]
fn tunnels_to_the_node_are_closed_to_pods() {
    on_the_desk(WORLD, |desk| {
        for port in [4789, 8472, 4790, 6081] {
            let tunnel = udp(Way::Out, (POD[0], 4000), (super::NODE, port));
            assert_eq!(denial(desk, &tunnel), Some(Reason::Encapsulation), "{port}");
            // A tunnel's socket without an address hears what goes to many, too.
            for (family, many) in [
                (0, "224.0.0.1"),
                (0, "239.1.1.1"),
                (0, "255.255.255.255"),
                (1, "ff02::1"),
            ] {
                let tunnel = udp(Way::Out, (POD[family], 4000), (many, port));
                assert_eq!(
                    denial(desk, &tunnel),
                    Some(Reason::Encapsulation),
                    "{many} {port}"
                );
                let other = udp(Way::Out, (POD[family], 4000), (many, 5353));
                assert_eq!(denial(desk, &other), None, "{many}");
            }
            let elsewhere = udp(Way::Out, (POD[0], 4000), (STRANGER[0], port));
            assert_eq!(denial(desk, &elsewhere), None, "{port}");
        }
        let (pod, _) = v4s();
        let node = super::NODE.parse().unwrap();
        for protocol in [4, 41, 47] {
            let tunnel = frame(Way::Out, &v4(pod, node, protocol, &[], 0, &[0; 40]));
            assert_eq!(
                denial(desk, &tunnel),
                Some(Reason::Encapsulation),
                "{protocol}"
            );
        }
    });
}
