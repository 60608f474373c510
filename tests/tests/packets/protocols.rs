//! Protocols without ports, echo, multicast and broadcast, addresses in disguise.

use ringfence_common::event::Reason;
use ringfence_tests::packet::{Way, frame, icmp, udp_datagram};

use super::{
    FRIEND, NODE, POD, POLICY, STRANGER, WORLD, at, guarded, ip, malformed::denial, on_the_desk,
    udp,
};

/// IGMP, IP in IP, DCCP, IPv6 in IP, RSVP, GRE, ESP, AH, OSPF, UDP-Lite; a number that nobody has.
const OTHERS: [u8; 11] = [2, 4, 33, 41, 46, 47, 50, 51, 89, 136, 253];
/// Has a meaning in one family only: AH is an extension header in IPv6.
const AUTHENTICATION: u8 = 51;

/// The policy, with rules that name no port.
fn any_port() -> String {
    let policy = POLICY.replace("\n    ports: [ { port: 80 } ]", "").replace(
        "\n    ports: [ { port: 443 }, { port: 53, protocol: UDP } ]",
        "",
    );
    assert_ne!(policy, POLICY);
    format!("{WORLD}{policy}")
}

#[test]
fn a_rule_with_ports_covers_no_protocol_without_them_and_one_without_covers_all() {
    let payload = [0x0f, 0xa0, 0, 80, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (manifests, friendly) in [(guarded(), false), (any_port(), true)] {
        on_the_desk(&manifests, move |desk| {
            for family in 0..2 {
                for protocol in OTHERS {
                    if family == 1 && protocol == AUTHENTICATION {
                        continue;
                    }
                    for way in [Way::Out, Way::In] {
                        let packet = |remote: &str| {
                            frame(way, &ip(way, POD[family], remote, protocol, &payload))
                        };
                        assert_eq!(
                            desk.passes(way, &packet(FRIEND[family])),
                            friendly,
                            "{protocol} {way:?}"
                        );
                        assert!(
                            !desk.passes(way, &packet(STRANGER[family])),
                            "{protocol} {way:?}"
                        );
                    }
                }
            }
        });
    }
}

#[test]
fn an_echo_is_answered_where_it_may_be_sent_and_an_answer_alone_opens_nothing() {
    on_the_desk(&any_port(), |desk| {
        for (family, (ask, answer)) in [(8, 0), (128, 129)].into_iter().enumerate() {
            let (pod, friend, stranger) = (
                at(POD[family], 0).ip(),
                at(FRIEND[family], 0).ip(),
                at(STRANGER[family], 0).ip(),
            );
            let id = |id: u8| [0, id, 0, 1];
            let out = |to, kind, number| frame(Way::Out, &icmp(pod, to, kind, 0, &id(number)));
            let back = |from, kind, number| frame(Way::In, &icmp(from, pod, kind, 0, &id(number)));
            assert!(!desk.passes(Way::In, &back(stranger, answer, 1)));
            assert!(!desk.passes(Way::In, &back(stranger, ask, 1)));
            assert!(!desk.passes(Way::Out, &out(stranger, ask, 1)));
            assert!(desk.passes(Way::Out, &out(friend, ask, 1)));
            assert!(desk.passes(Way::In, &back(friend, answer, 1)));
        }
    });
    // Where only the pod may ask.
    let outwards = any_port().replace(
        "  ingress:\n  - from: [ { podSelector: { matchLabels: { app: friend } } } ]\n",
        "",
    );
    assert_ne!(outwards, any_port());
    on_the_desk(&outwards, |desk| {
        for (family, (ask, answer)) in [(8, 0), (128, 129)].into_iter().enumerate() {
            let (pod, friend) = (at(POD[family], 0).ip(), at(FRIEND[family], 0).ip());
            let id = |id: u8| [0, id, 0, 1];
            let asked = frame(Way::Out, &icmp(pod, friend, ask, 0, &id(1)));
            let answered = |number| frame(Way::In, &icmp(friend, pod, answer, 0, &id(number)));
            let asks = frame(Way::In, &icmp(friend, pod, ask, 0, &id(1)));
            assert!(!desk.passes(Way::In, &answered(1)), "nobody has asked");
            assert!(desk.passes(Way::Out, &asked));
            assert!(desk.passes(Way::In, &answered(1)));
            assert!(!desk.passes(Way::In, &answered(2)), "another question's");
            assert!(!desk.passes(Way::In, &asks), "a question is no answer");
        }
    });
}

#[test]
fn a_question_without_a_number_lets_in_its_answer_and_no_other_message() {
    let outwards = any_port().replace(
        "  ingress:\n  - from: [ { podSelector: { matchLabels: { app: friend } } } ]\n",
        "",
    );
    on_the_desk(&outwards, |desk| {
        for (family, (ask, answer)) in [(8, 0), (128, 129)].into_iter().enumerate() {
            let (pod, friend) = (at(POD[family], 0).ip(), at(FRIEND[family], 0).ip());
            let from_friend = |kind: u8| frame(Way::In, &icmp(friend, pod, kind, 0, &[0; 60]));
            assert!(desk.passes(
                Way::Out,
                &frame(Way::Out, &icmp(pod, friend, ask, 0, &[0, 0, 0, 1]))
            ));
            assert!(desk.passes(Way::In, &from_friend(answer)));
            let others: &[u8] = if family == 0 {
                &[4, 5, 8, 9, 10, 13, 15, 17, 40, 253]
            } else {
                &[0, 5, 100, 127, 128, 138, 139, 140, 200]
            };
            for &kind in others {
                assert!(
                    !desk.passes(Way::In, &from_friend(kind)),
                    "type {kind}, family {family}"
                );
            }
        }
    });
}

#[test]
fn the_other_familys_icmp_is_nobodys() {
    on_the_desk(WORLD, |desk| {
        for (family, (own, other)) in [(1, 58), (58, 1)].into_iter().enumerate() {
            let echo = if family == 0 { 8 } else { 128 };
            let message = |protocol| {
                frame(
                    Way::Out,
                    &ip(
                        Way::Out,
                        POD[family],
                        FRIEND[family],
                        protocol,
                        &[echo, 0, 0, 0, 0, 1, 0, 1],
                    ),
                )
            };
            assert_eq!(denial(desk, &message(own)), None);
            assert_eq!(denial(desk, &message(other)), Some(Reason::Malformed));
        }
    });
}

#[test]
fn what_goes_to_many_is_judged_as_what_it_is() {
    let many = [
        ["224.0.0.251", "ff02::fb"],
        ["239.1.2.3", "ff05::1:3"],
        ["255.255.255.255", "ff02::1"],
    ];
    on_the_desk(&guarded(), move |desk| {
        for group in many {
            for (family, to) in group.into_iter().enumerate() {
                assert!(
                    !desk.passes(Way::Out, &udp(Way::Out, (POD[family], 5353), (to, 5353))),
                    "{to}"
                );
                // To the pod comes what a neighbour sends to the group.
                let heard = |from: &str| {
                    let (from, to) = (at(from, 5353), at(to, 80));
                    let datagram = udp_datagram(from.port(), to.port(), b"hello");
                    frame(
                        Way::In,
                        &ringfence_tests::packet::ip(from.ip(), to.ip(), 17, &datagram),
                    )
                };
                assert!(!desk.passes(Way::In, &heard(STRANGER[family])), "{to}");
                assert!(
                    !desk.passes(Way::In, &heard(FRIEND[family])),
                    "UDP 80 is not allowed: {to}"
                );
            }
        }
    });
    on_the_desk(&any_port(), move |desk| {
        for group in many {
            for (family, to) in group.into_iter().enumerate() {
                let heard = |from: &str| {
                    let (from, to) = (at(from, 5353), at(to, 80));
                    let datagram = udp_datagram(from.port(), to.port(), b"hello");
                    frame(
                        Way::In,
                        &ringfence_tests::packet::ip(from.ip(), to.ip(), 17, &datagram),
                    )
                };
                assert!(desk.passes(Way::In, &heard(FRIEND[family])), "{to}");
                assert!(!desk.passes(Way::In, &heard(STRANGER[family])), "{to}");
                assert!(
                    !desk.passes(Way::Out, &udp(Way::Out, (POD[family], 5353), (to, 5353))),
                    "no rule names {to}"
                );
            }
        }
    });
}

#[test]
fn an_address_in_disguise_is_nobodys() {
    on_the_desk(&guarded(), |desk| {
        assert!(desk.passes(Way::Out, &udp(Way::Out, (POD[1], 4000), (FRIEND[1], 53))));
        for disguise in [
            "::ffff:10.0.0.20",
            "::10.0.0.20",
            "64:ff9b::a00:14",
            "2002:a00:14::1",
        ] {
            assert!(
                !desk.passes(Way::Out, &udp(Way::Out, (POD[1], 4000), (disguise, 53))),
                "{disguise}"
            );
            assert!(
                !desk.passes(Way::In, &udp(Way::In, (POD[1], 80), (disguise, 4000))),
                "{disguise}"
            );
        }
        let source = at("::ffff:10.0.0.10", 4000);
        let datagram = udp_datagram(4000, 53, b"hello");
        let spoofed =
            ringfence_tests::packet::ip(source.ip(), at(FRIEND[1], 0).ip(), 17, &datagram);
        assert_eq!(
            denial(desk, &frame(Way::Out, &spoofed)),
            Some(Reason::SpoofedAddress)
        );
    });
}

#[test]
fn who_has_the_pods_or_the_nodes_address_and_is_neither_gets_nothing_by_it() {
    on_the_desk(&guarded(), |desk| {
        for pod in POD {
            // From the network, with the pod's own address as sender.
            let own = udp(Way::In, (pod, 80), (pod, 4000));
            assert!(!desk.passes(Way::In, &own), "{pod}");
            assert!(
                desk.passes_back(&own),
                "it left by the device that it comes back by"
            );
        }
        let node = udp(Way::In, (POD[0], 81), (NODE, 4000));
        assert!(!desk.passes(Way::In, &node), "forwarded");
        assert!(desk.passes_from_node(&node));
    });
}
