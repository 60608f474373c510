//! ICMP errors: they pass with the connection that they are about.

use ringfence_tests::packet::{
    Way, frame, icmp_error, tcp as segment,
    tcp::{ACK, SYN},
    udp as datagram,
};

use super::{FRIEND, POD, STRANGER, at, guarded, on_the_desk, tcp};

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
