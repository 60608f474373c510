//! What opens a connection, and what does not.

use ringfence_common::event::Reason;
use ringfence_tests::packet::{
    Way,
    tcp::{ACK, FIN, RST, SYN},
};

use super::{FRIEND, NODE, POD, STRANGER, on_the_desk, only, ping, tcp, udp, with};

const ROOM: u32 = 1024;

#[test]
fn both_ends_may_open_at_once_and_the_door_is_shut_behind_them() {
    on_the_desk(
        ROOM,
        &with(&[only("ingress", "nobody", 1), only("egress", "friend", 443)]),
        |desk| {
            for family in 0..2 {
                let (pod, friend) = ((POD[family], 40_000), (FRIEND[family], 443));
                let back = |flags| tcp(Way::In, pod, friend, flags);
                let out = |flags| tcp(Way::Out, pod, friend, flags);
                assert!(!desk.passes(Way::In, &back(SYN)), "nobody asked");
                assert!(desk.passes(Way::Out, &out(SYN)));
                assert!(desk.passes(Way::Out, &out(SYN)), "sent again");
                assert!(desk.passes(Way::In, &back(SYN)), "RFC 9293, figure 7");
                assert!(desk.passes(Way::Out, &out(SYN | ACK)));
                assert!(desk.passes(Way::In, &back(SYN | ACK)));
                assert!(!desk.passes(Way::In, &back(SYN)), "open it is");
                assert!(desk.passes(Way::In, &back(ACK)) && desk.passes(Way::Out, &out(ACK)));
            }
        },
    );
}

#[test]
fn a_stray_ack_a_bare_syn_and_a_datagram_from_an_allowed_port_open_nothing() {
    on_the_desk(
        ROOM,
        &with(&[only("ingress", "nobody", 1), only("egress", "friend", 443)]),
        |desk| {
            for family in 0..2 {
                let (pod, friend, stranger) = (
                    (POD[family], 3306),
                    (FRIEND[family], 443),
                    (STRANGER[family], 443),
                );
                // It may be of a connection that the pod opened to port 443, and there is none: the pod answers with RST.
                assert!(desk.passes(Way::In, &tcp(Way::In, pod, friend, ACK)));
                assert!(
                    !desk.passes(Way::In, &tcp(Way::In, pod, friend, SYN)),
                    "nothing is open after it"
                );
                assert!(
                    !desk.passes(Way::In, &udp(Way::In, pod, friend)),
                    "from a port that the pod may ask"
                );
                assert!(!desk.passes(Way::In, &tcp(Way::In, pod, stranger, ACK)));
                assert!(
                    !desk.passes(Way::In, &tcp(Way::In, (POD[family], 81), friend, SYN | ACK)),
                    "an answer to nothing"
                );
                assert!(!desk.passes(Way::In, &tcp(Way::In, (POD[family], 81), friend, RST)));
                assert!(desk.passes(Way::Out, &udp(Way::Out, pod, friend)));
                assert!(
                    desk.passes(Way::In, &udp(Way::In, pod, friend)),
                    "its answer"
                );
                assert!(
                    !desk.passes(Way::In, &udp(Way::In, (POD[family], 3307), friend)),
                    "another port's"
                );
            }
        },
    );
}

#[test]
fn an_answer_without_its_question_is_no_beginning() {
    // The pod may send what it likes; nobody may come in.
    on_the_desk(ROOM, &with(&[only("ingress", "nobody", 1)]), |desk| {
        for family in 0..2 {
            let (pod, friend) = ((POD[family], 80), (FRIEND[family], 4000));
            assert!(
                desk.passes(Way::Out, &tcp(Way::Out, pod, friend, SYN | ACK)),
                "egress is free"
            );
            assert!(desk.passes(Way::Out, &tcp(Way::Out, pod, friend, RST)));
            let [request, reply] = [[8, 128][family], [0, 129][family]];
            let answer = ping(Way::Out, POD[family], FRIEND[family], reply, 7);
            assert!(desk.passes(Way::Out, &answer));
            assert_eq!(desk.kernel.maps().connections4.keys().count(), 0);
            assert_eq!(desk.kernel.maps().connections6.keys().count(), 0);
            assert!(!desk.passes(Way::In, &tcp(Way::In, pod, friend, SYN)));
            assert!(!desk.passes(
                Way::In,
                &ping(Way::In, POD[family], FRIEND[family], request, 7)
            ));
        }
    });
}

#[test]
fn a_ping_lets_its_answers_in_and_no_ping_back() {
    on_the_desk(ROOM, &with(&[only("ingress", "nobody", 1)]), |desk| {
        for family in 0..2 {
            let [request, reply] = [[8, 128][family], [0, 129][family]];
            let with =
                |way, kind, identifier| ping(way, POD[family], FRIEND[family], kind, identifier);
            assert!(!desk.passes(Way::In, &with(Way::In, reply, 7)));
            assert!(desk.passes(Way::Out, &with(Way::Out, request, 7)));
            assert!(desk.passes(Way::In, &with(Way::In, reply, 7)));
            assert!(
                !desk.passes(Way::In, &with(Way::In, reply, 8)),
                "another one's"
            );
            assert!(
                !desk.passes(Way::In, &with(Way::In, request, 7)),
                "a question, not an answer"
            );
            assert!(
                desk.passes(Way::In, &with(Way::In, reply, 7)),
                "the connection goes on"
            );
        }
    });
}

#[test]
fn ports_that_are_used_again_are_judged_again() {
    let open = with(&[only("ingress", "friend", 80), only("egress", "friend", 443)]);
    on_the_desk(ROOM, &open, |desk| {
        let (pod, friend) = ((POD[0], 40_000), (FRIEND[0], 443));
        let back = |flags| tcp(Way::In, pod, friend, flags);
        let out = |flags| tcp(Way::Out, pod, friend, flags);
        for end in [RST | ACK, FIN | ACK] {
            assert!(desk.passes(Way::Out, &out(SYN)));
            assert!(desk.passes(Way::In, &back(SYN | ACK)));
            assert!(desk.passes(Way::Out, &out(ACK)));
            assert!(desk.passes(Way::In, &back(end)));
            assert!(desk.passes(Way::Out, &out(end)));
            // Closed, and its last segments may still be under way: the other side may not open it.
            assert!(!desk.passes(Way::In, &back(SYN)));
            assert!(desk.passes(Way::In, &back(ACK)), "a late one");
        }
        // With the same ports the other side's service: opened by whom policy lets, whatever was before.
        let (serves, asks) = ((POD[0], 80), (FRIEND[0], 443));
        assert!(desk.passes(Way::Out, &tcp(Way::Out, serves, asks, SYN)));
        assert!(desk.passes(Way::In, &tcp(Way::In, serves, asks, RST | ACK)));
        assert!(
            desk.passes(Way::In, &tcp(Way::In, serves, asks, SYN)),
            "ingress to 80 is allowed"
        );
        let connections = desk.kernel.maps().connections4.iter().flatten();
        let turned: Vec<_> = connections
            .filter(|(key, _)| key.local_port == 80)
            .map(|(_, connection)| connection.word.original())
            .collect();
        assert_eq!(turned, [ringfence_common::Direction::Ingress]);
        // And over one that was revoked.
        desk.apply(&with(&[
            only("ingress", "friend", 81),
            only("egress", "friend", 443),
        ]));
        assert!(!desk.passes(Way::In, &tcp(Way::In, serves, asks, ACK)));
        assert!(!desk.passes(Way::In, &tcp(Way::In, serves, asks, SYN)));
        assert!(
            desk.passes(Way::Out, &tcp(Way::Out, serves, asks, SYN)),
            "egress to 443 still is"
        );
        assert!(desk.passes(Way::In, &tcp(Way::In, serves, asks, SYN | ACK)));
    });
}

#[test]
fn what_the_node_may_is_not_inherited_by_who_has_its_address() {
    on_the_desk(ROOM, &with(&[only("ingress", "friend", 80)]), |desk| {
        let (pod, node) = ((POD[0], 8080), (NODE, 5555));
        let probe = |flags| tcp(Way::In, pod, node, flags);
        assert!(!desk.passes(Way::In, &probe(SYN)), "a masqueraded client");
        assert!(desk.passes_from_node(&probe(SYN)), "the kubelet");
        assert!(desk.passes(Way::Out, &tcp(Way::Out, pod, node, SYN | ACK)));
        assert!(desk.passes_from_node(&probe(ACK)));
        // With the very same ports, while the node's connection is there.
        for flags in [SYN, ACK, FIN | ACK] {
            assert!(!desk.passes(Way::In, &probe(flags)), "flags {flags}");
        }
        assert!(desk.passes_from_node(&probe(ACK)), "which goes on");
        assert!(desk.passes_from_node(&udp(Way::In, pod, node)));
        assert!(!desk.passes(Way::In, &udp(Way::In, pod, node)));
        desk.events();
        assert!(
            desk.passes(Way::In, &tcp(Way::In, (POD[0], 80), (FRIEND[0], 5555), SYN)),
            "policy lets it in"
        );
        assert!(!desk.passes(Way::In, &tcp(Way::In, (POD[0], 80), node, SYN)));
        let reasons: Vec<_> = desk.events().iter().map(|event| event.reason).collect();
        assert_eq!(reasons, [Reason::Policy]);
    });
}
