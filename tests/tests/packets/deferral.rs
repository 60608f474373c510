//! Egress that cannot be judged at the pod: what its mark says, and what becomes of it where it ends or leaves the node.

use std::net::SocketAddr;

use ringfence_common::{
    event::Reason,
    mark::{MarkLayout, Stamp},
};
use ringfence_tests::{
    desk::Desk,
    packet::{Way, ethernet, frame, icmp_error, tcp as segment, tcp::ACK, tcp::SYN},
};

use super::{FRIEND, NODE, POD, STRANGER, WORLD, at, on_the_desk, tcp, udp};

/// A Service's address, in both families.
const SERVICE: [&str; 2] = ["10.96.0.1", "fd00:96::1"];
/// Somewhere else that policy allows.
const ELSEWHERE: [&str; 2] = ["203.0.113.5", "2001:db8:113::5"];
/// Somewhere else that it does not.
const NOWHERE: [&str; 2] = ["198.51.100.5", "2001:db8:100::5"];
/// Another node.
const OTHER_NODE: &str = "192.0.2.2";
/// A device that leads off the node.
const UPLINK: u32 = 7;
/// Bits of the mark that are somebody else's.
const OTHERS: u32 = 0x4080;

const SERVICES: &str = r#"
---
apiVersion: v1
kind: Service
metadata: { name: front, namespace: shop }
spec:
  type: NodePort
  clusterIP: 10.96.0.1
  clusterIPs: [ 10.96.0.1, "fd00:96::1" ]
  ports: [ { port: 80, targetPort: 443, nodePort: 30080 } ]
---
apiVersion: v1
kind: Node
metadata: { name: other }
status: { addresses: [ { type: InternalIP, address: 192.0.2.2 } ] }
"#;

fn policy(friend: &str) -> String {
    format!(
        r#"
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{ name: cart, namespace: shop }}
spec:
  podSelector: {{ matchLabels: {{ app: cart }} }}
  policyTypes: [Ingress, Egress]
  egress:
  - to: [ {{ podSelector: {{ matchLabels: {{ app: {friend} }} }} }} ]
    ports: [ {{ port: 443 }}, {{ port: 443, protocol: UDP }} ]
  - to: [ {{ ipBlock: {{ cidr: 203.0.113.0/24 }} }}, {{ ipBlock: {{ cidr: "2001:db8:113::/48" }} }} ]
"#
    )
}

fn world() -> String {
    format!("{WORLD}{SERVICES}{}", policy("friend"))
}

fn marked(stamp: Stamp) -> u32 {
    MarkLayout::DEFAULT.stamped(OTHERS, stamp)
}

/// What a program lets through, and with which stamp; other bits of the mark stay as they are.
fn stamp(desk: &Desk, program: &str, frame: &[u8], before: Stamp) -> Option<Stamp> {
    let mark = desk.hook(program, frame, UPLINK, marked(before))?;
    assert_eq!(MarkLayout::DEFAULT.clear(mark), OTHERS, "others' bits");
    Some(MarkLayout::DEFAULT.stamp(mark))
}

#[test]
fn a_pod_hook_decides_about_pods_and_leaves_services_to_others() {
    on_the_desk(&world(), |desk| {
        let source = Some(Stamp(desk.place()));
        for family in 0..2 {
            let pod = POD[family];
            for (to, port, expect) in [
                (FRIEND[family], 443, Some(Stamp::FINAL)),
                (FRIEND[family], 80, None),
                (STRANGER[family], 443, None),
                (SERVICE[family], 80, source),
                (SERVICE[family], 443, None),
                (ELSEWHERE[family], 443, source),
                (NOWHERE[family], 443, None),
            ] {
                let sent = tcp(Way::Out, (pod, 40_000), (to, port), SYN);
                let got = stamp(desk, "from_pod", &sent, Stamp::NONE);
                assert_eq!(got, expect, "{to}:{port}");
                let more = tcp(Way::Out, (pod, 40_000), (to, port), ACK);
                let again = stamp(desk, "from_pod", &more, Stamp::NONE);
                assert_eq!(again, expect, "{to}:{port}, under way");
                // An answer without its question is not remembered, and marked all the same.
                let answer = tcp(Way::Out, (pod, 40_001), (to, port), SYN | ACK);
                let alone = stamp(desk, "from_pod", &answer, Stamp::NONE);
                assert_eq!(alone, expect, "{to}:{port}, an answer");
            }
        }
        for (port, expect) in [(30_080, source), (30_081, None)] {
            let sent = tcp(Way::Out, (POD[0], 40_000), (NODE, port), SYN);
            assert_eq!(
                stamp(desk, "from_pod", &sent, Stamp::NONE),
                expect,
                "{port}"
            );
        }
        let wrong = udp(Way::Out, (POD[0], 40_000), (SERVICE[0], 80));
        assert_eq!(stamp(desk, "from_pod", &wrong, Stamp::NONE), None);
    });
}

#[test]
fn without_policy_a_pod_says_only_that_it_is_one() {
    on_the_desk(&format!("{WORLD}{SERVICES}"), |desk| {
        for to in [FRIEND[0], SERVICE[0], NOWHERE[0]] {
            let sent = tcp(Way::Out, (POD[0], 40_000), (to, 80), SYN);
            let got = stamp(desk, "from_pod", &sent, Stamp::NONE);
            assert_eq!(got, Some(Stamp::FINAL), "{to}");
            let gone = stamp(desk, "to_host", &sent, Stamp::FINAL);
            assert_eq!(gone, Some(Stamp::NONE), "{to}");
        }
        // A rule of the node that nobody knows of made it one for a tunnel, here or on another node.
        for to in [NODE, OTHER_NODE] {
            let tunnel = udp(Way::Out, (POD[0], 40_000), (to, 4789));
            assert_eq!(stamp(desk, "to_host", &tunnel, Stamp::FINAL), None, "{to}");
        }
        let own = udp(Way::Out, (NODE, 40_000), (OTHER_NODE, 4789));
        assert!(
            stamp(desk, "to_host", &own, Stamp::NONE).is_some(),
            "the node's own"
        );
        let arrived = udp(Way::Out, (ELSEWHERE[0], 40_000), (POD[0], 443));
        assert_eq!(stamp(desk, "from_tunnel", &arrived, Stamp::FINAL), None);
        assert_eq!(
            stamp(desk, "from_host", &arrived, Stamp::FINAL),
            Some(Stamp::FINAL),
            "it crossed a switch in the node, and is still who it was"
        );
        let mut request = arp_request();
        assert_eq!(stamp(desk, "from_tunnel", &request, Stamp::FINAL), None);
        assert!(stamp(desk, "from_tunnel", &request, Stamp::NONE).is_some());
        request[12..14].copy_from_slice(&[0x88, 0xcc]);
        assert_eq!(
            stamp(desk, "from_tunnel", &request, Stamp::FINAL),
            None,
            "whatever it is"
        );
    });
}

/// What asks whose an address is.
fn arp_request() -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, 1];
    body.extend([0; 20]);
    ethernet(Way::Out, 0x0806, &body)
}

#[test]
fn another_nodes_pod_reaches_no_tunnel_here() {
    on_the_desk(&world(), |desk| {
        for (from, to, port, passes) in [
            (FRIEND[0], NODE, 4789, false),
            (FRIEND[0], NODE, 53, true),
            (OTHER_NODE, NODE, 4789, true),
            (ELSEWHERE[0], NODE, 4789, true),
            (FRIEND[0], POD[0], 4789, true),
        ] {
            let sent = udp(Way::Out, (from, 40_000), (to, port));
            let got = stamp(desk, "from_host", &sent, Stamp::NONE);
            assert_eq!(got.is_some(), passes, "{from} -> {to}:{port}");
        }
    });
}

#[test]
fn an_error_goes_where_its_sender_may_send_on_what_it_is_about() {
    on_the_desk(&world(), |desk| {
        let source = Stamp(desk.place());
        for family in 0..2 {
            let pod = at(POD[family], 40_000);
            let (kind, code) = if family == 0 { (3, 3) } else { (1, 4) };
            let refused = |to: SocketAddr, about: SocketAddr| {
                let answer = segment(about, pod, SYN | ACK);
                let error = icmp_error(pod.ip(), to.ip(), kind, code, &answer);
                frame(Way::Out, &error)
            };
            let service = at(SERVICE[family], 80);
            let sent = tcp(Way::Out, (POD[family], 40_000), (SERVICE[family], 80), SYN);
            let error = refused(service, service);
            assert_eq!(
                stamp(desk, "from_pod", &error, Stamp::NONE),
                None,
                "about nothing"
            );
            assert!(stamp(desk, "from_pod", &sent, Stamp::NONE).is_some());
            assert_eq!(
                stamp(desk, "from_pod", &error, Stamp::NONE),
                Some(source),
                "to be judged as what it becomes"
            );
            let (friend, stranger) = (at(FRIEND[family], 443), at(STRANGER[family], 443));
            let between = icmp_error(
                pod.ip(),
                friend.ip(),
                kind,
                code,
                &segment(friend, stranger, ACK),
            );
            let between = frame(Way::Out, &between);
            assert_eq!(
                stamp(desk, "from_pod", &between, Stamp::NONE),
                None,
                "about others"
            );
            for (to, about, passes) in [
                (friend, friend, true),
                (friend, at(FRIEND[family], 80), false),
                (stranger, stranger, false),
                (stranger, friend, false),
            ] {
                let error = refused(to, about);
                let got = stamp(desk, "to_host", &error, source);
                assert_eq!(got.is_some(), passes, "{to} about {about}");
            }
            // And what comes back about what the pod may not send any more does not.
            let question = segment(pod, friend, SYN);
            let back = icmp_error(friend.ip(), pod.ip(), kind, code, &question);
            let back = frame(Way::In, &back);
            let sent = tcp(Way::Out, (POD[family], 40_000), (FRIEND[family], 443), SYN);
            assert!(stamp(desk, "to_host", &sent, source).is_some());
            assert!(stamp(desk, "from_host", &back, Stamp::NONE).is_some());
            desk.apply(&format!("{WORLD}{SERVICES}{}", policy("nobody")));
            assert_eq!(
                stamp(desk, "from_host", &back, Stamp::NONE),
                None,
                "revoked"
            );
            desk.apply(&world());
        }
    });
}

#[test]
fn what_leaves_the_node_is_judged_as_what_it_has_become() {
    on_the_desk(&world(), |desk| {
        let source = Stamp(desk.place());
        let unused = Stamp(source.0 + 1);
        for family in 0..2 {
            let pod = POD[family];
            for (from, to, before, passes) in [
                (pod, (FRIEND[family], 443), source, true),
                (pod, (FRIEND[family], 80), source, false),
                (pod, (STRANGER[family], 443), source, false),
                (pod, (ELSEWHERE[family], 80), source, true),
                // Judged for good where it left the pod.
                (pod, (STRANGER[family], 443), Stamp::FINAL, true),
                // Without a mark the address tells.
                (pod, (FRIEND[family], 443), Stamp::NONE, true),
                (pod, (STRANGER[family], 443), Stamp::NONE, false),
                // Out of a tunnel that the pod reached through a translation.
                (NOWHERE[family], (FRIEND[family], 443), source, false),
                (pod, (FRIEND[family], 443), unused, false),
                // None of a pod's.
                (
                    ELSEWHERE[family],
                    (STRANGER[family], 443),
                    Stamp::NONE,
                    true,
                ),
            ] {
                let sent = tcp(Way::Out, (from, 40_000), to, SYN);
                let expect = passes.then_some(Stamp::NONE);
                let got = stamp(desk, "to_host", &sent, before);
                assert_eq!(got, expect, "{from} -> {to:?}, {before:?}");
            }
        }
        // Masqueraded: the mark alone tells.
        for (to, before, passes) in [
            (FRIEND[0], source, true),
            (STRANGER[0], source, false),
            (STRANGER[0], Stamp::NONE, true),
        ] {
            let sent = udp(Way::Out, (NODE, 40_000), (to, 443));
            let got = stamp(desk, "to_host", &sent, before);
            assert_eq!(got.is_some(), passes, "{to} {before:?}");
        }
        let reasons: Vec<Reason> = desk.events().iter().map(|event| event.reason).collect();
        assert!(reasons.contains(&Reason::Egress) && reasons.contains(&Reason::ForgedMark));
    });
}

#[test]
fn no_tunnel_of_a_node_is_reached_through_a_translation() {
    on_the_desk(&world(), |desk| {
        let source = Stamp(desk.place());
        for (to, port) in [(NODE, 4789), (OTHER_NODE, 4789), (OTHER_NODE, 6081)] {
            let inner = udp(Way::Out, (POD[0], 40_000), (to, port));
            assert_eq!(stamp(desk, "to_host", &inner, source), None, "{to}:{port}");
            assert_eq!(stamp(desk, "from_pod", &inner, Stamp::NONE), None);
        }
        let reasons: Vec<Reason> = desk.events().iter().map(|event| event.reason).collect();
        assert!(
            reasons
                .iter()
                .all(|&reason| reason == Reason::Encapsulation),
            "{reasons:?}"
        );
        // A mark does not come in by a wire, so it came out of a tunnel.
        let arrived = udp(Way::Out, (ELSEWHERE[0], 40_000), (POD[0], 443));
        assert_eq!(stamp(desk, "from_tunnel", &arrived, source), None);
        assert_eq!(
            stamp(desk, "from_tunnel", &arrived, Stamp::NONE),
            Some(Stamp::NONE)
        );
    });
}

#[test]
fn what_answers_passes_only_while_the_sender_may_send() {
    on_the_desk(&world(), |desk| {
        let source = Stamp(desk.place());
        for family in 0..2 {
            let sent = udp(Way::Out, (POD[family], 40_000), (FRIEND[family], 443));
            let answer = udp(Way::In, (POD[family], 40_000), (FRIEND[family], 443));
            desk.apply(&world());
            assert!(stamp(desk, "to_host", &sent, source).is_some());
            assert!(stamp(desk, "from_host", &answer, Stamp::NONE).is_some());
            desk.apply(&format!("{WORLD}{SERVICES}{}", policy("nobody")));
            assert_eq!(
                stamp(desk, "from_host", &answer, Stamp::NONE),
                None,
                "revoked"
            );
            assert_eq!(stamp(desk, "to_host", &sent, source), None, "revoked");
            desk.apply(&world());
            assert!(
                stamp(desk, "from_host", &answer, Stamp::NONE).is_some(),
                "allowed again"
            );
            let other = udp(Way::In, (POD[family], 40_001), (FRIEND[family], 443));
            assert!(
                stamp(desk, "from_host", &other, Stamp::NONE).is_some(),
                "not ours to judge"
            );
        }
    });
}

#[test]
fn a_service_that_leads_back_to_its_client_is_to_itself() {
    on_the_desk(&world(), |desk| {
        let source = Stamp(desk.place());
        let port = (POD[0], 8080);
        let masqueraded = tcp(Way::In, port, (NODE, 50_000), SYN);
        assert_eq!(
            stamp(desk, "to_pod", &masqueraded, Stamp::NONE),
            None,
            "somebody else's"
        );
        assert_eq!(
            stamp(desk, "to_pod", &masqueraded, source),
            Some(Stamp::NONE)
        );
        let answer = tcp(Way::Out, port, (NODE, 50_000), SYN | ACK);
        assert_eq!(
            stamp(desk, "from_pod", &answer, Stamp::NONE),
            Some(Stamp::FINAL)
        );
        let inherited = tcp(Way::In, port, (NODE, 50_000), ACK);
        assert_eq!(
            stamp(desk, "to_pod", &inherited, Stamp::NONE),
            None,
            "what the pod may send to itself is nobody else's"
        );
        assert!(stamp(desk, "to_pod", &inherited, source).is_some());
        let other = tcp(Way::Out, port, (NODE, 50_001), SYN | ACK);
        assert_eq!(stamp(desk, "from_pod", &other, Stamp::NONE), None);
        let foreign = tcp(Way::In, port, (NOWHERE[0], 50_000), SYN);
        assert_eq!(stamp(desk, "to_pod", &foreign, source), None);
    });
}
