//! Connection tracking: what passes because of what passed before, and what must not.

use ringfence_agent::dataplane::Kernel as _;
use ringfence_common::{Direction, cell::Verdict, event::Reason};
use ringfence_tests::packet::{
    Way,
    tcp::{ACK, FIN, RST, SYN},
};

use super::{FRIEND, POD, STRANGER, WORLD, guarded, on_the_desk, tcp, udp};

#[test]
fn replies_pass_with_their_connection_and_only_with_it() {
    on_the_desk(&guarded(), |desk| {
        for family in 0..2 {
            let (pod, friend) = (POD[family], FRIEND[family]);
            let answer = tcp(Way::In, (pod, 40_000), (friend, 443), SYN | ACK);
            assert!(!desk.passes(Way::In, &answer), "an answer to nothing");
            assert!(desk.passes(Way::Out, &tcp(Way::Out, (pod, 40_000), (friend, 443), SYN)));
            assert!(desk.passes(Way::In, &answer));
            assert!(desk.passes(Way::Out, &tcp(Way::Out, (pod, 40_000), (friend, 443), ACK)));
            assert!(desk.passes(
                Way::In,
                &tcp(Way::In, (pod, 40_000), (friend, 443), FIN | ACK)
            ));
            let other = tcp(Way::In, (pod, 40_001), (friend, 443), SYN | ACK);
            assert!(!desk.passes(Way::In, &other), "another port");
        }
        for family in 0..2 {
            let (pod, friend) = (POD[family], FRIEND[family]);
            assert!(!desk.passes(Way::In, &udp(Way::In, (pod, 5000), (friend, 53))));
            assert!(desk.passes(Way::Out, &udp(Way::Out, (pod, 5000), (friend, 53))));
            assert!(desk.passes(Way::In, &udp(Way::In, (pod, 5000), (friend, 53))));
        }
    });
}

#[test]
fn a_bare_syn_in_reply_direction_opens_nothing_but_for_a_simultaneous_open() {
    on_the_desk(&guarded(), |desk| {
        let (pod, friend) = (POD[0], FRIEND[0]);
        let syn_back = tcp(Way::In, (pod, 40_000), (friend, 443), SYN);
        assert!(!desk.passes(Way::In, &syn_back));
        assert!(desk.passes(Way::Out, &tcp(Way::Out, (pod, 40_000), (friend, 443), SYN)));
        assert!(
            desk.passes(Way::In, &syn_back),
            "both ends open at the same time (RFC 9293, figure 7)"
        );
        assert!(desk.passes(Way::In, &tcp(Way::In, (pod, 40_000), (friend, 443), ACK)));
        assert!(
            !desk.passes(Way::In, &syn_back),
            "the connection is under way"
        );
        assert!(
            desk.passes(Way::In, &tcp(Way::In, (pod, 40_000), (friend, 443), ACK)),
            "and goes on"
        );
    });
}

#[test]
fn a_connection_under_way_is_adopted_where_policy_allows_one_of_its_directions() {
    on_the_desk(&guarded(), |desk| {
        // Opened before the agent came: by the friend to port 80, and by the pod to port 443.
        assert!(desk.passes(
            Way::Out,
            &tcp(Way::Out, (POD[0], 80), (FRIEND[0], 4000), ACK)
        ));
        assert!(desk.passes(Way::In, &tcp(Way::In, (POD[0], 80), (FRIEND[0], 4000), ACK)));
        assert!(desk.passes(
            Way::In,
            &tcp(Way::In, (POD[0], 40_000), (FRIEND[0], 443), ACK)
        ));
        // Neither direction is allowed, or it is no segment of a connection under way.
        assert!(!desk.passes(Way::In, &tcp(Way::In, (POD[0], 81), (FRIEND[0], 4000), ACK)));
        assert!(!desk.passes(
            Way::Out,
            &tcp(Way::Out, (POD[0], 80), (STRANGER[0], 4000), ACK)
        ));
        assert!(!desk.passes(
            Way::Out,
            &tcp(Way::Out, (POD[0], 80), (FRIEND[0], 4001), SYN | ACK)
        ));
        assert!(!desk.passes(Way::Out, &udp(Way::Out, (POD[0], 80), (FRIEND[0], 4000))));
        let adopted = desk.kernel.connections().unwrap();
        assert!(adopted.iter().all(|connection| connection.adopted));
        assert_eq!(adopted.len(), 2);
    });
}

#[test]
fn a_stray_ack_opens_no_port() {
    let open_egress = r#"
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed, namespace: shop }
spec: { podSelector: {} }
"#;
    on_the_desk(&format!("{WORLD}{open_egress}"), |desk| {
        let (pod, stranger) = ((POD[0], 3306), (STRANGER[0], 4000));
        // Egress is open, so the segment may belong to a connection that the pod opened: it passes, to a socket that
        // does not exist. What matters is that nothing can be opened after it.
        assert!(desk.passes(Way::In, &tcp(Way::In, pod, stranger, ACK)));
        assert!(!desk.passes(Way::In, &tcp(Way::In, pod, stranger, SYN)));
        assert!(!desk.passes(Way::In, &udp(Way::In, pod, stranger)));
    });
}

#[test]
fn a_revoked_connection_ends_at_once_and_does_not_come_back_by_adoption() {
    on_the_desk(&guarded(), |desk| {
        let (pod, friend) = ((POD[0], 80), (FRIEND[0], 4000));
        assert!(desk.passes(Way::In, &tcp(Way::In, pod, friend, SYN)));
        assert!(desk.passes(Way::Out, &tcp(Way::Out, pod, friend, SYN | ACK)));
        assert!(desk.passes(Way::In, &tcp(Way::In, pod, friend, ACK)));
        let kept = ((POD[0], 40_000), (FRIEND[0], 443));
        assert!(desk.passes(Way::Out, &tcp(Way::Out, kept.0, kept.1, SYN)));
        desk.events();
        // Port 80 is closed, egress stays as it is.
        desk.apply(&guarded().replace("ports: [ { port: 80 } ]", "ports: [ { port: 8080 } ]"));
        for _ in 0..2 {
            assert!(!desk.passes(Way::In, &tcp(Way::In, pod, friend, ACK)));
            assert!(!desk.passes(Way::Out, &tcp(Way::Out, pod, friend, ACK)));
            assert!(!desk.passes(Way::In, &tcp(Way::In, pod, friend, RST)));
        }
        assert!(
            desk.passes(Way::In, &tcp(Way::In, kept.0, kept.1, SYN | ACK)),
            "the other one did not notice"
        );
        let events = desk.events();
        assert_eq!(events[0].reason, Reason::Revoked);
        assert_eq!(
            events[0].rule.as_deref(),
            Some("NetworkPolicy/shop/cart ingress: no rule matches")
        );
        let connections = desk.kernel.connections().unwrap();
        let revoked = connections
            .iter()
            .find(|connection| connection.local_port == 80)
            .unwrap();
        assert_eq!(
            (revoked.verdict, revoked.direction),
            (Verdict::Deny, Direction::Ingress)
        );
        // Allowed again, it goes on.
        desk.apply(&guarded());
        assert!(desk.passes(Way::In, &tcp(Way::In, pod, friend, ACK)));
    });
}

#[test]
fn a_connection_follows_the_labels_of_its_peer() {
    on_the_desk(&guarded(), |desk| {
        let (pod, peer) = ((POD[0], 80), (FRIEND[0], 4000));
        assert!(desk.passes(Way::In, &tcp(Way::In, pod, peer, SYN)));
        desk.apply(&guarded().replace(
            "labels: { app: friend } }\n  status",
            "labels: { app: foe } }\n  status",
        ));
        assert!(!desk.passes(Way::In, &tcp(Way::In, pod, peer, ACK)));
        desk.apply(&guarded());
        assert!(desk.passes(Way::In, &tcp(Way::In, pod, peer, ACK)));
    });
}

#[test]
fn another_pod_with_the_same_address_inherits_no_connection() {
    on_the_desk(&guarded(), |desk| {
        let (pod, friend) = ((POD[0], 40_000), (FRIEND[0], 443));
        assert!(desk.passes(Way::Out, &tcp(Way::Out, pod, friend, SYN)));
        let answer = tcp(Way::In, pod, friend, SYN | ACK);
        assert!(desk.passes(Way::In, &answer));
        desk.apply(&guarded().replace(
            "{ name: cart, namespace: shop, labels",
            "{ name: cart, uid: second, namespace: shop, labels",
        ));
        assert!(!desk.passes(Way::In, &answer));
        assert!(
            desk.passes(Way::Out, &tcp(Way::Out, pod, friend, SYN)),
            "it may open its own"
        );
        assert!(desk.passes(Way::In, &answer));
    });
}

#[test]
fn flushed_connections_are_forgotten() {
    on_the_desk(&guarded(), |desk| {
        let (pod, friend) = ((POD[0], 40_000), (FRIEND[0], 443));
        assert!(desk.passes(Way::Out, &tcp(Way::Out, pod, friend, SYN)));
        assert!(desk.passes(Way::Out, &udp(Way::Out, (POD[0], 5000), (FRIEND[0], 53))));
        assert_eq!(
            desk.kernel
                .flush(&|connection| connection.protocol == 6)
                .unwrap(),
            1
        );
        assert!(!desk.passes(Way::In, &tcp(Way::In, pod, friend, SYN | ACK)));
        assert!(desk.passes(Way::In, &udp(Way::In, (POD[0], 5000), (FRIEND[0], 53))));
    });
}

#[test]
fn a_flood_of_flows_evicts_memory_of_flows_and_never_policy() {
    on_the_desk(&guarded(), |desk| {
        let (allowed, denied) = (
            ((POD[0], 80), (FRIEND[0], 4000)),
            ((POD[0], 80), (STRANGER[0], 4000)),
        );
        assert!(desk.passes(Way::In, &tcp(Way::In, allowed.0, allowed.1, SYN)));
        // More than twice what the table holds.
        for flow in 0..40_000_u32 {
            let port = u16::try_from(1024 + flow % 60_000).unwrap();
            assert!(desk.passes(Way::Out, &udp(Way::Out, (POD[0], port), (FRIEND[0], 53))));
        }
        let tracked = desk.kernel.connections().unwrap();
        assert!(tracked.len() <= 16_384, "{} entries", tracked.len());
        assert!(
            tracked.iter().all(|connection| connection.local_port != 80),
            "evicted"
        );
        assert!(
            desk.passes(Way::In, &tcp(Way::In, allowed.0, allowed.1, ACK)),
            "adopted again"
        );
        assert!(!desk.passes(Way::In, &tcp(Way::In, denied.0, denied.1, ACK)));
        assert!(!desk.passes(Way::In, &tcp(Way::In, denied.0, denied.1, SYN)));
    });
}

#[test]
fn what_another_pods_hook_sees_is_no_connection() {
    let multicast = "224.0.0.251";
    on_the_desk(WORLD, move |desk| {
        // A frame for somebody else that a bridge flooded to this pod, and a multicast: judged, and not remembered.
        let stranger = (STRANGER[0], 4000);
        assert!(desk.passes(Way::In, &tcp(Way::In, (FRIEND[0], 22), stranger, SYN)));
        assert!(desk.passes(Way::In, &udp(Way::In, (multicast, 5353), stranger)));
        assert!(desk.kernel.connections().unwrap().is_empty());
        assert!(desk.passes(Way::In, &tcp(Way::In, (POD[0], 22), stranger, SYN)));
        assert_eq!(desk.kernel.connections().unwrap().len(), 1);
    });
}
