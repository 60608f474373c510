//! ARP, neighbour discovery and listener discovery under default deny: they work, and a pod speaks for itself only.

use std::net::Ipv6Addr;

use ringfence_common::Hook;
use ringfence_tests::packet::{NODE_MAC, POD_MAC, Way, ethernet, frame, v6};

use super::{FRIEND, POD, WORLD, on_the_desk};

const CLOSED: &str = r#"
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed, namespace: shop }
spec: { podSelector: {}, policyTypes: [Ingress, Egress] }
"#;

fn closed() -> String {
    format!("{WORLD}{CLOSED}")
}

fn arp(way: Way, hardware: [u8; 6], sender: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 2];
    packet.extend(hardware);
    packet.extend(sender);
    packet.extend([0; 6]);
    packet.extend([10, 0, 0, 1]);
    ethernet(way, 0x0806, &packet)
}

#[test]
fn arp_is_the_pods_own() {
    on_the_desk(&closed(), |desk| {
        for (what, frame, allowed) in [
            ("own", arp(Way::Out, POD_MAC, [10, 0, 0, 10]), true),
            ("probe", arp(Way::Out, POD_MAC, [0; 4]), true),
            (
                "another's address",
                arp(Way::Out, POD_MAC, [10, 0, 0, 20]),
                false,
            ),
            (
                "another's hardware address",
                arp(Way::Out, NODE_MAC, [10, 0, 0, 10]),
                false,
            ),
            (
                "cut off",
                arp(Way::Out, POD_MAC, [10, 0, 0, 10])[..30].to_vec(),
                false,
            ),
        ] {
            assert_eq!(desk.passes(Way::Out, &frame), allowed, "{what}");
        }
        assert!(desk.passes(Way::In, &arp(Way::In, NODE_MAC, [10, 0, 0, 1])));
    });
}

/// A neighbour discovery message: type, then what follows the checksum.
fn discovery(way: Way, source: Ipv6Addr, kind: u8, hop_limit: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(body);
    let all_nodes = "ff02::1".parse().expect("an address");
    frame(way, &v6(source, all_nodes, 58, hop_limit, &message))
}

/// Flags, target, and the link-layer address option of this type.
fn about(target: Ipv6Addr, option: u8, hardware: [u8; 6]) -> Vec<u8> {
    let mut body = vec![0x20, 0, 0, 0];
    body.extend(target.octets());
    body.extend([option, 1]);
    body.extend(hardware);
    body
}

#[test]
fn a_pod_solicits_and_advertises_itself_only() {
    on_the_desk(&closed(), |desk| {
        let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let (own, other) = (v6(POD[1]), v6(FRIEND[1]));
        // What the hardware address 02:00:00:00:00:0a makes.
        let link_local = v6("fe80::ff:fe00:a");
        let none = Ipv6Addr::UNSPECIFIED;
        let (solicit, advertise) = (135, 136);
        for (what, frame, allowed) in [
            (
                "solicitation",
                discovery(Way::Out, own, solicit, 255, &about(other, 1, POD_MAC)),
                true,
            ),
            (
                "from the link-local address",
                discovery(
                    Way::Out,
                    link_local,
                    solicit,
                    255,
                    &about(other, 1, POD_MAC),
                ),
                true,
            ),
            (
                "own advertisement",
                discovery(Way::Out, own, advertise, 255, &about(own, 2, POD_MAC)),
                true,
            ),
            (
                "link-local advertisement",
                discovery(
                    Way::Out,
                    link_local,
                    advertise,
                    255,
                    &about(link_local, 2, POD_MAC),
                ),
                true,
            ),
            (
                "duplicate address detection",
                discovery(Way::Out, none, solicit, 255, &about(link_local, 14, [0; 6])),
                true,
            ),
            (
                "router solicitation",
                discovery(
                    Way::Out,
                    link_local,
                    133,
                    255,
                    &[0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 0x0a],
                ),
                true,
            ),
            (
                "another's advertisement",
                discovery(Way::Out, own, advertise, 255, &about(other, 2, POD_MAC)),
                false,
            ),
            (
                "probing for another's address",
                discovery(Way::Out, none, solicit, 255, &about(other, 14, [0; 6])),
                false,
            ),
            (
                "from another's address",
                discovery(Way::Out, other, solicit, 255, &about(own, 1, POD_MAC)),
                false,
            ),
            (
                "another's hardware address",
                discovery(Way::Out, own, advertise, 255, &about(own, 2, NODE_MAC)),
                false,
            ),
            (
                "through a router",
                discovery(Way::Out, own, advertise, 254, &about(own, 2, POD_MAC)),
                false,
            ),
            (
                "router advertisement",
                discovery(
                    Way::Out,
                    link_local,
                    134,
                    255,
                    &[64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0],
                ),
                false,
            ),
            (
                "redirect",
                discovery(Way::Out, link_local, 137, 255, &[0; 36]),
                false,
            ),
            (
                "option of length 0",
                discovery(Way::Out, own, advertise, 255, &{
                    let mut body = about(own, 2, POD_MAC);
                    body[21] = 0;
                    body
                }),
                false,
            ),
        ] {
            assert_eq!(desk.passes(Way::Out, &frame), allowed, "{what}");
        }
        let gateway = v6("fe80::1");
        for (what, frame, allowed) in [
            (
                "the gateway's advertisement",
                discovery(
                    Way::In,
                    gateway,
                    advertise,
                    255,
                    &about(gateway, 2, NODE_MAC),
                ),
                true,
            ),
            (
                "its router advertisement",
                discovery(Way::In, gateway, 134, 255, &[0; 12]),
                true,
            ),
            (
                "from behind a router",
                discovery(
                    Way::In,
                    gateway,
                    advertise,
                    254,
                    &about(gateway, 2, NODE_MAC),
                ),
                false,
            ),
        ] {
            assert_eq!(desk.passes(Way::In, &frame), allowed, "{what}");
        }
    });
}

#[test]
fn a_pod_reports_what_it_listens_to_and_asks_nobody() {
    on_the_desk(&closed(), |desk| {
        let message_to = |to: &str, way, from: &str, hop_limit, body: &[u8]| {
            // Hop-by-hop options with the router alert.
            let mut payload = vec![58, 0, 5, 2, 0, 0, 1, 0];
            payload.extend(body);
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            frame(way, &v6(from, to, 0, hop_limit, &payload))
        };
        let message = |way, from: &str, hop_limit, body: &[u8]| {
            message_to("ff02::16", way, from, hop_limit, body)
        };
        let (own, router) = ("fe80::ff:fe00:a", "fe80::1");
        let listens = |kind: u8, more: usize| {
            let mut body = vec![kind, 0, 0, 0, 0, 0, 0, 0];
            body.extend("ff05::fb".parse::<Ipv6Addr>().unwrap().octets());
            body.resize(24 + more, 0);
            body
        };
        let report = [143, 0, 0, 0, 0, 0, 0, 0];
        for (what, frame, way, allowed) in [
            (
                "a report",
                message(Way::Out, own, 1, &report),
                Way::Out,
                true,
            ),
            ("far", message(Way::Out, own, 64, &report), Way::Out, false),
            (
                "foreign",
                message(Way::Out, router, 1, &report),
                Way::Out,
                false,
            ),
            (
                "of version 1",
                message_to("ff05::fb", Way::Out, own, 1, &listens(131, 0)),
                Way::Out,
                true,
            ),
            (
                "of version 1, to another group",
                message(Way::Out, own, 1, &listens(131, 0)),
                Way::Out,
                false,
            ),
            (
                "done",
                message(Way::Out, own, 1, &listens(132, 0)),
                Way::Out,
                true,
            ),
            (
                "a letter",
                message(Way::Out, own, 1, &listens(131, 40)),
                Way::Out,
                false,
            ),
            (
                "a query",
                message(Way::Out, own, 1, &listens(130, 0)),
                Way::Out,
                false,
            ),
            (
                "asked",
                message(Way::In, router, 1, &listens(130, 0)),
                Way::In,
                true,
            ),
            (
                "another's report",
                message(Way::In, router, 1, &report),
                Way::In,
                false,
            ),
        ] {
            assert_eq!(desk.passes(way, &frame), allowed, "{what}");
        }
        let told: Vec<Way> = desk
            .events()
            .iter()
            .map(|event| match event.hook {
                Hook::FromPod => Way::Out,
                _ => Way::In,
            })
            .collect();
        assert!(
            told.contains(&Way::Out) && !told.contains(&Way::In),
            "{told:?}"
        );
        desk.apply(WORLD);
        let theirs = message(Way::In, router, 1, &report);
        assert!(desk.passes(Way::In, &theirs), "policy decides");
    });
}

#[test]
fn a_neighbour_message_is_no_letter_to_the_world() {
    on_the_desk(&closed(), |desk| {
        let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let (own, other, far) = (v6(POD[1]), v6(FRIEND[1]), v6("2001:db8::1"));
        let message = |to: Ipv6Addr, kind: u8, body: &[u8]| {
            let mut message = vec![kind, 0, 0, 0];
            message.extend(body);
            frame(
                Way::Out,
                &ringfence_tests::packet::v6(own, to, 58, 255, &message),
            )
        };
        let letter = {
            let mut body = about(far, 1, POD_MAC);
            body.extend([200, 1, 1, 2, 3, 4, 5, 6]);
            body
        };
        for (what, frame, allowed) in [
            (
                "is the neighbour still there?",
                message(other, 135, &about(other, 1, POD_MAC)),
                true,
            ),
            (
                "an answer to a neighbour",
                message(other, 136, &about(own, 2, POD_MAC)),
                true,
            ),
            (
                "a question about somebody else",
                message(far, 135, &about(other, 1, POD_MAC)),
                false,
            ),
            ("an unknown option", message(far, 135, &letter), false),
            (
                "an unknown option, on the link",
                message(v6("ff02::1"), 135, &letter),
                false,
            ),
            (
                "a router solicitation to the world",
                message(far, 133, &[0; 4]),
                false,
            ),
        ] {
            assert_eq!(desk.passes(Way::Out, &frame), allowed, "{what}");
        }
    });
}
