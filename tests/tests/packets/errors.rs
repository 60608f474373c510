//! ICMP errors: they pass with the connection that they are about.

use ringfence_tests::packet::{
    Way, frame, icmp, icmp_error, ip, tcp as segment,
    tcp::{ACK, SYN},
    udp as datagram,
};

use super::{FRIEND, POD, POLICY, STRANGER, WORLD, at, guarded, on_the_desk, tcp};

/// A router on the way, which no rule names.
const ROUTER: [&str; 2] = ["203.0.113.7", "2001:db8::7"];
/// Fragmentation needed, and packet too big.
const TOO_BIG: [(u8, u8); 2] = [(3, 4), (2, 0)];
/// Time exceeded.
const EXCEEDED: [(u8, u8); 2] = [(11, 0), (3, 0)];

#[test]
fn an_error_about_an_allowed_connection_passes_and_a_forged_one_does_not() {
    on_the_desk(&guarded(), |desk| {
        for family in 0..2 {
            let (pod, friend, router) = (POD[family], FRIEND[family], at(ROUTER[family], 0).ip());
            let sent = segment(at(pod, 40_000), at(friend, 443), SYN);
            for (kind, code) in [TOO_BIG[family], EXCEEDED[family]] {
                let error = frame(
                    Way::In,
                    &icmp_error(router, at(pod, 0).ip(), kind, code, &sent),
                );
                if kind == TOO_BIG[family].0 {
                    assert!(
                        !desk.passes(Way::In, &error),
                        "about nothing that the pod has sent"
                    );
                    assert!(
                        desk.passes(Way::Out, &tcp(Way::Out, (pod, 40_000), (friend, 443), SYN))
                    );
                }
                assert!(desk.passes(Way::In, &error), "family {family} kind {kind}");
            }
            let (kind, code) = TOO_BIG[family];
            for forged in [
                segment(at(pod, 40_001), at(friend, 443), SYN),
                segment(at(pod, 40_000), at(STRANGER[family], 443), SYN),
                datagram(at(pod, 40_000), at(friend, 443), b""),
            ] {
                let error = frame(
                    Way::In,
                    &icmp_error(router, at(pod, 0).ip(), kind, code, &forged),
                );
                assert!(!desk.passes(Way::In, &error), "{forged:?}");
            }
            let misdirected = icmp_error(router, at(STRANGER[family], 0).ip(), kind, code, &sent);
            assert!(
                !desk.passes(Way::In, &frame(Way::In, &misdirected)),
                "to somebody else"
            );
        }
    });
}

#[test]
fn the_pod_may_send_errors_about_what_it_received() {
    on_the_desk(&guarded(), |desk| {
        for family in 0..2 {
            let (pod, friend) = (POD[family], FRIEND[family]);
            let (kind, code) = if family == 0 { (3, 3) } else { (1, 4) };
            let received = segment(at(friend, 4000), at(pod, 80), SYN);
            let error = icmp_error(at(pod, 0).ip(), at(friend, 0).ip(), kind, code, &received);
            let error = frame(Way::Out, &error);
            assert!(!desk.passes(Way::Out, &error));
            assert!(desk.passes(Way::In, &tcp(Way::In, (pod, 80), (friend, 4000), SYN)));
            assert!(desk.passes(Way::Out, &error));
        }
    });
}

#[test]
fn an_error_about_a_revoked_connection_is_dropped() {
    on_the_desk(&guarded(), |desk| {
        assert!(desk.passes(Way::In, &tcp(Way::In, (POD[0], 80), (FRIEND[0], 4000), SYN)));
        let answer = segment(at(POD[0], 80), at(FRIEND[0], 4000), SYN | ACK);
        let error = frame(
            Way::In,
            &icmp_error(at(ROUTER[0], 0).ip(), at(POD[0], 0).ip(), 3, 4, &answer),
        );
        assert!(desk.passes(Way::In, &error));
        desk.apply(&guarded().replace("ports: [ { port: 80 } ]", "ports: [ { port: 8080 } ]"));
        assert!(!desk.passes(Way::In, &error));
    });
}

/// Every error there is, in both families: type and codes.
const ERRORS: [&[(u8, u8)]; 2] = [
    &[(3, 15), (11, 1), (12, 2)],
    &[(1, 7), (2, 0), (3, 1), (4, 2)],
];

#[test]
fn each_error_passes_with_its_connection_whatever_that_is() {
    let open = POLICY.replace(
        "\n    ports: [ { port: 443 }, { port: 53, protocol: UDP } ]",
        "",
    );
    on_the_desk(&format!("{WORLD}{open}"), |desk| {
        for (family, errors) in ERRORS.into_iter().enumerate() {
            let (pod, friend, router) = (POD[family], FRIEND[family], at(ROUTER[family], 0).ip());
            let echo = if family == 0 { 8 } else { 128 };
            let sctp = [15, 160, 0, 80, 0, 0, 0, 0, 1, 2, 3, 4];
            let sent = [
                segment(at(pod, 41_000), at(friend, 443), SYN),
                datagram(at(pod, 41_000), at(friend, 53), b"?"),
                ip(at(pod, 0).ip(), at(friend, 0).ip(), 132, &sctp),
                icmp(at(pod, 0).ip(), at(friend, 0).ip(), echo, 0, &[0, 7, 0, 1]),
            ];
            for packet in sent {
                let errors = || {
                    let all = errors
                        .iter()
                        .flat_map(|&(kind, last)| (0..=last).map(move |code| (kind, code)));
                    all.map(|(kind, code)| {
                        let error = icmp_error(router, at(pod, 0).ip(), kind, code, &packet);
                        ((kind, code), frame(Way::In, &error))
                    })
                };
                for (error, frame) in errors() {
                    assert!(!desk.passes(Way::In, &frame), "nothing was sent: {error:?}");
                }
                assert!(desk.passes(Way::Out, &frame(Way::Out, &packet)));
                for (error, frame) in errors() {
                    assert!(desk.passes(Way::In, &frame), "{error:?} about {packet:?}");
                }
            }
        }
    });
}

#[test]
fn what_asks_for_something_is_no_error() {
    on_the_desk(&guarded(), |desk| {
        for family in 0..2 {
            let (pod, friend, router) = (POD[family], FRIEND[family], at(ROUTER[family], 0).ip());
            let sent = segment(at(pod, 42_000), at(friend, 443), SYN);
            assert!(desk.passes(Way::Out, &frame(Way::Out, &sent)));
            // Source quench and redirects; in IPv6 what nobody has defined.
            let asking: &[(u8, u8)] = if family == 0 {
                &[(4, 0), (5, 0), (5, 1)]
            } else {
                &[(0, 0), (5, 0), (100, 0), (127, 0)]
            };
            for &(kind, code) in asking {
                let message = icmp_error(router, at(pod, 0).ip(), kind, code, &sent);
                assert!(
                    !desk.passes(Way::In, &frame(Way::In, &message)),
                    "type {kind}, family {family}"
                );
            }
            let (kind, code) = EXCEEDED[family];
            let error = icmp_error(router, at(pod, 0).ip(), kind, code, &sent);
            assert!(desk.passes(Way::In, &frame(Way::In, &error)));
        }
    });
}

#[test]
fn an_error_that_does_not_carry_enough_is_about_nothing() {
    on_the_desk(&guarded(), |desk| {
        for family in 0..2 {
            let (pod, friend, router) = (POD[family], FRIEND[family], at(ROUTER[family], 0).ip());
            let sent = segment(at(pod, 43_000), at(friend, 443), SYN);
            assert!(desk.passes(Way::Out, &frame(Way::Out, &sent)));
            let (kind, code) = TOO_BIG[family];
            // The IP header and eight bytes are what every error carries (RFC 792).
            let needed = if family == 0 { 28 } else { 48 };
            for length in 0..=needed {
                let error = icmp_error(router, at(pod, 0).ip(), kind, code, &sent[..length]);
                assert_eq!(
                    desk.passes(Way::In, &frame(Way::In, &error)),
                    length == needed,
                    "{length} bytes, family {family}"
                );
            }
        }
    });
}
