//! IPv4 options and IPv6 extension headers: what is behind them is judged, or nothing passes.

use std::net::{Ipv4Addr, Ipv6Addr};

use ringfence_common::event::Reason;
use ringfence_tests::packet::{Way, frame, udp_datagram, v4, v6};

use super::{FRIEND, POD, guarded, on_the_desk};

const UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const ESP: u8 = 50;
const AUTHENTICATION: u8 = 51;
const NOTHING: u8 = 59;
const DESTINATION: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

/// A datagram of the pod to the friend behind these headers.
fn behind(headers: &[u8], port: u16) -> Vec<u8> {
    let mut payload = Vec::new();
    for (index, header) in headers.iter().enumerate() {
        let next = headers.get(index + 1).copied().unwrap_or(UDP);
        payload.extend(match *header {
            AUTHENTICATION => vec![
                next, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9,
            ],
            FRAGMENT => vec![next, 0, 0, 0, 0, 0, 0, 1],
            ROUTING => vec![next, 0, 2, 0, 0, 0, 0, 0],
            // Options: padding.
            _ => vec![next, 0, 1, 4, 0, 0, 0, 0],
        });
    }
    payload.extend(udp_datagram(4000, port, b"data"));
    let (pod, friend): (Ipv6Addr, Ipv6Addr) = (
        POD[1].parse().expect("an address"),
        FRIEND[1].parse().expect("an address"),
    );
    let first = headers.first().copied().unwrap_or(UDP);
    frame(Way::Out, &v6(pod, friend, first, 64, &payload))
}

#[test]
fn what_is_behind_legal_chains_is_judged() {
    let eight = [
        HOP_BY_HOP,
        DESTINATION,
        ROUTING,
        FRAGMENT,
        AUTHENTICATION,
        DESTINATION,
        DESTINATION,
        DESTINATION,
    ];
    on_the_desk(&guarded(), move |desk| {
        for length in 0..=eight.len() {
            assert!(
                desk.passes(Way::Out, &behind(&eight[..length], 53)),
                "{length} headers"
            );
            assert!(
                !desk.passes(Way::Out, &behind(&eight[..length], 54)),
                "{length} headers"
            );
        }
        for header in [HOP_BY_HOP, DESTINATION, ROUTING, FRAGMENT, AUTHENTICATION] {
            assert!(
                desk.passes(Way::Out, &behind(&[header], 53)),
                "header {header}"
            );
            assert!(
                !desk.passes(Way::Out, &behind(&[header], 54)),
                "header {header}"
            );
        }
    });
}

#[test]
fn what_is_behind_illegal_chains_is_dropped() {
    // Nothing is isolated here: it is the chain that is refused.
    on_the_desk(super::WORLD, |desk| {
        for (what, chain) in [
            ("nine headers", &[DESTINATION; 9][..]),
            ("hop-by-hop options twice", &[HOP_BY_HOP, HOP_BY_HOP]),
            (
                "hop-by-hop options behind others",
                &[DESTINATION, HOP_BY_HOP],
            ),
            ("two fragment headers", &[FRAGMENT, FRAGMENT]),
            (
                "two fragment headers, apart",
                &[FRAGMENT, DESTINATION, FRAGMENT],
            ),
        ] {
            let denied = super::malformed::denial(desk, &behind(chain, 53));
            assert_eq!(denied, Some(Reason::Extensions), "{what}");
        }
        assert_eq!(
            super::malformed::denial(desk, &behind(&[DESTINATION; 8], 53)),
            None
        );
        // A header that says that it is longer than the packet.
        let mut long = behind(&[DESTINATION], 53);
        long[14 + 40 + 1] = 40;
        assert_eq!(
            super::malformed::denial(desk, &long),
            Some(Reason::Malformed)
        );
        // A route that is not finished, of any type.
        for kind in [0, 2, 3, 4] {
            let mut route = behind(&[ROUTING], 53);
            route[14 + 40 + 2] = kind;
            assert_eq!(super::malformed::denial(desk, &route), None, "finished");
            route[14 + 40 + 3] = 1;
            assert_eq!(
                super::malformed::denial(desk, &route),
                Some(Reason::Extensions),
                "type {kind}"
            );
        }
    });
}

#[test]
fn headers_that_end_a_chain_hide_no_port() {
    // Behind these there is no port to be found: whoever is isolated does not get through by them.
    on_the_desk(&guarded(), |desk| {
        for last in [ESP, NOTHING, MOBILITY, HIP, SHIM6] {
            assert!(
                !desk.passes(Way::Out, &behind(&[last], 53)),
                "header {last}"
            );
            assert!(
                !desk.passes(Way::Out, &behind(&[DESTINATION, last], 53)),
                "header {last}"
            );
        }
        assert!(desk.passes(Way::Out, &behind(&[DESTINATION], 53)));
    });
}

#[test]
fn what_is_behind_options_is_judged() {
    // Forty bytes in one option: the longest route that can be recorded.
    let mut longest = [0; 40];
    longest[..3].copy_from_slice(&[7, 39, 4]);
    let options: [(&str, Vec<u8>, bool); 10] = [
        ("nothing", vec![1, 1, 1, 0], true),
        ("router alert", vec![148, 4, 0, 0], true),
        (
            "timestamps",
            vec![68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            true,
        ),
        ("record route", vec![7, 7, 4, 0, 0, 0, 0, 0], true),
        ("security", vec![130, 4, 0, 0], true),
        ("forty bytes", longest.to_vec(), true),
        ("more options than anybody sends", vec![1; 40], false),
        (
            "loose source routing",
            vec![131, 7, 4, 203, 0, 113, 1, 0],
            false,
        ),
        (
            "strict source routing",
            vec![137, 7, 4, 203, 0, 113, 1, 0],
            false,
        ),
        (
            "source routing behind others",
            vec![1, 148, 4, 0, 0, 131, 7, 4, 203, 0, 113, 1],
            false,
        ),
    ];
    on_the_desk(&guarded(), move |desk| {
        let (pod, friend): (Ipv4Addr, Ipv4Addr) = (
            POD[0].parse().expect("an address"),
            FRIEND[0].parse().expect("an address"),
        );
        for (what, options, legal) in &options {
            for (port, allowed) in [(53, true), (54, false)] {
                let packet = v4(
                    pod,
                    friend,
                    UDP,
                    options,
                    0,
                    &udp_datagram(4000, port, b"data"),
                );
                assert_eq!(
                    desk.passes(Way::Out, &frame(Way::Out, &packet)),
                    *legal && allowed,
                    "{what}, port {port}"
                );
            }
        }
        // Options that cannot be read hide what follows them.
        for unreadable in [
            [7, 0, 131, 7, 4, 203, 0, 113],
            [7, 1, 131, 7, 4, 203, 0, 113],
            [7, 9, 4, 0, 0, 0, 0, 0],
            [68, 255, 0, 0, 0, 0, 0, 0],
            [1, 1, 1, 1, 1, 1, 222, 3],
            [1, 1, 1, 1, 1, 1, 1, 7],
        ] {
            let packet = v4(
                pod,
                friend,
                UDP,
                &unreadable,
                0,
                &udp_datagram(4000, 53, b"data"),
            );
            assert!(
                !desk.passes(Way::Out, &frame(Way::Out, &packet)),
                "{unreadable:?}"
            );
        }
    });
}
