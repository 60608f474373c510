//! Encapsulated packets to nodes: refused to every pod but those that a `MetadataFirewall` names, at every hook.

use std::net::IpAddr;

use ringfence_common::{
    event::Reason,
    mark::{MarkLayout, Stamp},
};
use ringfence_tests::{
    desk::Desk,
    packet::{self, Way, frame},
};

use super::{NODE, POD, STRANGER, WORLD, at, malformed::denial, on_the_desk, udp};

/// Another node, in both families.
const OTHER_NODE: [&str; 2] = ["192.0.2.2", "2001:db8:2::2"];
/// A device that leads off the node.
const UPLINK: u32 = 7;

const NODES: &str = r#"
---
apiVersion: v1
kind: Node
metadata: { name: other }
status: { addresses: [ { type: InternalIP, address: 192.0.2.2 }, { type: InternalIP, address: "2001:db8:2::2" } ] }
"#;

/// The world, where pods with this label may send encapsulated packets.
fn world(app: &str) -> String {
    format!(
        "{WORLD}{NODES}---\napiVersion: ringfence.dev/v1alpha1\nkind: MetadataFirewall\nmetadata: {{ name: default }}\nspec:\n  \
         encapsulatingPods: [ {{ name: a, namespaceSelector: {{ matchLabels: {{ kubernetes.io/metadata.name: shop }} }}, \
         podSelector: {{ matchLabels: {{ app: {app} }} }} }} ]\n"
    )
}

/// What tunnels carry, each by what it is: UDP to VXLAN's two ports, VXLAN-GPE's and Geneve's; IP in IP, 6in4, GRE.
fn tunnels(from: &str, to: &str) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = [4789, 8472, 4790, 6081]
        .into_iter()
        .map(|port| {
            (
                format!("udp {port}"),
                udp(Way::Out, (from, 4000), (to, port)),
            )
        })
        .collect();
    let (source, destination): (IpAddr, IpAddr) = (at(from, 0).ip(), at(to, 0).ip());
    for protocol in [4, 41, 47] {
        let inner = packet::ip(source, destination, protocol, &[0; 40]);
        all.push((format!("protocol {protocol}"), frame(Way::Out, &inner)));
    }
    all
}

/// The stamp with which a program lets a packet through.
fn passes(desk: &Desk, program: &str, frame: &[u8], stamp: Stamp) -> Option<Stamp> {
    let mark = MarkLayout::DEFAULT.stamped(0, stamp);
    let after = desk.hook(program, frame, UPLINK, mark)?;
    Some(MarkLayout::DEFAULT.stamp(after))
}

/// Where the pod on the desk sends its tunnels: its node, another one, many.
const ENDS: [(usize, &str); 5] = [
    (0, NODE),
    (0, OTHER_NODE[0]),
    (1, OTHER_NODE[1]),
    (0, "224.0.0.1"),
    (1, "ff02::1"),
];

#[test]
fn a_pod_that_may_sends_every_kind_to_nodes_and_its_mark_says_so_until_it_is_there() {
    on_the_desk(&world("cart"), |desk| {
        let own = Stamp(desk.place());
        for (family, to) in ENDS {
            for (what, tunnel) in tunnels(POD[family], to) {
                let stamp = passes(desk, "from_pod", &tunnel, Stamp::NONE);
                assert_eq!(stamp, Some(own), "{what} to {to}");
                let gone = passes(desk, "to_host", &tunnel, own);
                assert_eq!(gone, Some(Stamp::NONE), "{what} to {to}");
                // Without its mark it may be anybody's.
                for other in [Stamp::FINAL, Stamp(own.0 + 1)] {
                    let gone = passes(desk, "to_host", &tunnel, other);
                    assert_eq!(gone, None, "{what} to {to}, {other:?}");
                }
            }
        }
        // What is no tunnel's is marked as ever.
        let other = udp(Way::Out, (POD[0], 4000), (OTHER_NODE[0], 53));
        assert_eq!(
            passes(desk, "from_pod", &other, Stamp::NONE),
            Some(Stamp::FINAL)
        );
        // Whether a node opens it is asked where it is opened.
        let beyond = udp(Way::Out, (POD[0], 4000), ("203.0.113.5", 4789));
        assert_eq!(passes(desk, "from_pod", &beyond, Stamp::NONE), Some(own));
        // It comes out as somebody else's, whoever that is; with another's mark nothing does.
        let inside = udp(Way::Out, (STRANGER[0], 4000), ("203.0.113.5", 80));
        assert_eq!(passes(desk, "from_tunnel", &inside, own), Some(Stamp::NONE));
        for other in [Stamp::FINAL, Stamp(own.0 + 1)] {
            assert_eq!(
                passes(desk, "from_tunnel", &inside, other),
                None,
                "{other:?}"
            );
        }
        // Its addresses stay its own.
        let spoofed = udp(Way::Out, (STRANGER[0], 4000), (NODE, 4789));
        assert_eq!(denial(desk, &spoofed), Some(Reason::SpoofedAddress));
    });
}

#[test]
fn another_pod_is_refused_at_every_hook_and_so_is_one_that_may_no_longer() {
    on_the_desk(&world("friend"), |desk| {
        for round in 0..3 {
            let own = Stamp(desk.place());
            for (family, to) in ENDS {
                for (what, tunnel) in tunnels(POD[family], to) {
                    let denied = denial(desk, &tunnel);
                    let expect = (round != 1).then_some(Reason::Encapsulation);
                    assert_eq!(denied, expect, "{round}: {what} to {to}");
                    if round != 1 {
                        for stamp in [own, Stamp::FINAL] {
                            let gone = passes(desk, "to_host", &tunnel, stamp);
                            assert_eq!(gone, None, "{what} to {to}");
                        }
                    }
                }
            }
            let inside = udp(Way::Out, (STRANGER[0], 4000), ("203.0.113.5", 80));
            let opened = passes(desk, "from_tunnel", &inside, own);
            assert_eq!(opened.is_some(), round == 1);
            match round {
                0 => desk.apply(&world("cart")),
                _ => desk.apply(&world("nobody")),
            }
        }
    });
}

#[test]
fn a_node_lets_in_what_pods_of_other_nodes_may_send_it_and_nothing_else() {
    on_the_desk(&world("friend"), |desk| {
        for (pod, may) in [(super::FRIEND[0], true), (STRANGER[0], false)] {
            for (what, tunnel) in tunnels(pod, NODE) {
                let passed = passes(desk, "from_host", &tunnel, Stamp::NONE);
                assert_eq!(passed.is_some(), may, "{what} from {pod}");
            }
        }
        // From no pod, it is another node's own.
        for (what, tunnel) in tunnels(OTHER_NODE[0], NODE) {
            assert!(
                passes(desk, "from_host", &tunnel, Stamp::NONE).is_some(),
                "{what}"
            );
        }
        desk.apply(&world("nobody"));
        for (what, tunnel) in tunnels(super::FRIEND[0], NODE) {
            let passed = passes(desk, "from_host", &tunnel, Stamp::NONE);
            assert_eq!(passed, None, "{what}: it may no longer");
        }
    });
}
