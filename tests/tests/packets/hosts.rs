//! The node itself as somebody who is judged: at its uplinks, by the zones that it is in.

use ringfence_agent::{
    dataplane::host,
    model::{Failsafe, Host},
};
use ringfence_common::{
    cell::Verdict,
    mark::{MarkLayout, Stamp},
};
use ringfence_tests::{
    desk::{Desk, options},
    packet::{self, Way, frame, icmp_error, tcp::ACK, tcp::SYN},
    sandbox::sandbox,
};

use super::{NODE, WORLD, at};

/// Zone `admin`.
const ADMIN: &str = "203.0.113.5";
/// Zone `bad`.
const BAD: &str = "198.51.100.5";
/// In no zone.
const NOWHERE: &str = "192.0.3.5";
/// Another node.
const OTHER_NODE: &str = "192.0.2.2";
/// A device that leads off the node.
const UPLINK: u32 = 7;
/// The device of the pod on the desk.
const POD_DEVICE: u32 = 1;

const ZONES: &str = r#"
---
apiVersion: v1
kind: Node
metadata: { name: desk, labels: { role: worker } }
status: { addresses: [ { type: InternalIP, address: 192.0.2.1 } ] }
---
apiVersion: v1
kind: Node
metadata: { name: other }
status: { addresses: [ { type: InternalIP, address: 192.0.2.2 } ] }
---
apiVersion: v1
kind: Service
metadata: { name: front, namespace: shop }
spec: { type: NodePort, clusterIP: 10.96.0.1, ports: [ { port: 80, nodePort: 30080 } ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: nodes }
spec: { members: [ { nodes: { matchLabels: { role: worker } } } ], ingress: Isolated, egress: Isolated }
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: admin }
spec: { members: [ { networks: { cidrs: [ 203.0.113.0/24 ] } } ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: bad }
spec: { members: [ { networks: { cidrs: [ 198.51.100.0/24 ] } } ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: ZonePolicy
metadata: { name: nodes }
spec:
  rules:
  - { name: metrics, action: Allow, from: [ { zoneNames: [ admin ] } ], to: [ { zoneNames: [ nodes ] } ], ports: [ { protocol: TCP, port: 9100 } ] }
  - { name: db, action: Allow, from: [ { zoneNames: [ nodes ] } ], to: [ { zoneNames: [ admin ] } ], ports: [ { protocol: TCP, port: 5432 } ] }
  - name: no-ssh
    action: Deny
    from: [ { zoneNames: [ bad ] } ]
    to: [ { zoneNames: [ nodes ] } ]
    ports: [ { protocol: TCP, port: 22 } ]
    acknowledgeLockout: true
"#;

fn judged(audit: bool) -> Option<Host> {
    Some(Host {
        node: "desk".to_owned(),
        audit,
        failsafe: Failsafe::usual(),
    })
}

/// Runs `body` on a node that is judged so, under these zones.
fn on_a_node(host: Option<Host>, body: impl FnOnce(&mut Desk) + Send + 'static) {
    sandbox(move |bpffs| {
        let mut desk = Desk::new(bpffs, WORLD);
        desk.compiling.host = host;
        desk.apply(&format!("{WORLD}{ZONES}"));
        body(&mut desk);
    });
}

/// A frame between others than the pod.
fn segment(from: (&str, u16), to: (&str, u16), flags: u8) -> Vec<u8> {
    frame(
        Way::In,
        &packet::tcp(at(from.0, from.1), at(to.0, to.1), flags),
    )
}

fn datagram(from: (&str, u16), to: (&str, u16)) -> Vec<u8> {
    frame(
        Way::In,
        &packet::udp(at(from.0, from.1), at(to.0, to.1), b"hello"),
    )
}

/// True if a frame that comes in by the uplink passes.
fn comes_in(desk: &Desk, frame: &[u8]) -> bool {
    desk.hook("from_host", frame, UPLINK, 0).is_some()
}

/// True if a frame that the node generates may leave.
fn goes_out(desk: &Desk, frame: &[u8]) -> bool {
    desk.hook("to_host", frame, 0, 0).is_some()
}

#[test]
fn what_zones_allow_reaches_the_node_and_nothing_else_does() {
    on_a_node(judged(false), |desk| {
        for (from, port, expect) in [
            (ADMIN, 9100, true),
            (ADMIN, 9101, false),
            (NOWHERE, 9100, false),
            (BAD, 9100, false),
            // What no policy closes, and what closes even that.
            (NOWHERE, 22, true),
            (BAD, 22, false),
            (OTHER_NODE, 10250, true),
            (NOWHERE, 10250, false),
        ] {
            let syn = segment((from, 40_000), (NODE, port), SYN);
            assert_eq!(comes_in(desk, &syn), expect, "{from} to {port}");
            let answer = segment((NODE, port), (from, 40_000), SYN | ACK);
            assert_eq!(
                goes_out(desk, &answer),
                expect,
                "the answer of {port} to {from}"
            );
        }
        let between_others = segment((NOWHERE, 40_000), ("10.0.0.20", 9100), SYN);
        assert!(comes_in(desk, &between_others), "that is forwarded");
    });
}

#[test]
fn what_the_node_may_send_is_answered_and_nothing_else_leaves() {
    on_a_node(judged(false), |desk| {
        for (to, port, expect) in [
            (ADMIN, 5432, true),
            (ADMIN, 5433, false),
            (NOWHERE, 5432, false),
        ] {
            let answer = segment((to, port), (NODE, 40_000), SYN | ACK);
            assert!(!comes_in(desk, &answer), "nothing was asked of {to}");
            let syn = segment((NODE, 40_000), (to, port), SYN);
            assert_eq!(goes_out(desk, &syn), expect, "{to}:{port}");
            assert_eq!(comes_in(desk, &answer), expect, "{to}:{port} answers");
        }
        for (port, expect) in [(53, true), (54, false)] {
            let question = datagram((NODE, 40_000), (NOWHERE, port));
            assert_eq!(goes_out(desk, &question), expect, "{port}");
            let answer = datagram((NOWHERE, port), (NODE, 40_000));
            assert_eq!(comes_in(desk, &answer), expect, "{port} answers");
        }
    });
}

#[test]
fn what_is_only_forwarded_has_its_answers_and_opens_nothing() {
    on_a_node(judged(false), |desk| {
        let answer = segment((NOWHERE, 443), (NODE, 40_000), SYN | ACK);
        assert!(!comes_in(desk, &answer));
        // A pod's, masqueraded.
        let sent = segment((NODE, 40_000), (NOWHERE, 443), SYN);
        let mark = MarkLayout::DEFAULT.stamped(0, Stamp::FINAL);
        assert!(desk.hook("to_host", &sent, POD_DEVICE, mark).is_some());
        assert!(
            comes_in(desk, &answer),
            "its answer comes to the node's address"
        );
        // A node port, whoever is behind it.
        let syn = segment((NOWHERE, 40_001), (NODE, 30_080), SYN);
        assert!(comes_in(desk, &syn));
        let answer = segment((NODE, 30_080), (NOWHERE, 40_001), SYN | ACK);
        assert!(goes_out(desk, &answer));
        let other = segment((NODE, 30_081), (NOWHERE, 40_001), SYN | ACK);
        assert!(!goes_out(desk, &other));
    });
}

#[test]
fn tunnels_between_nodes_and_errors_about_what_is_known_pass() {
    on_a_node(judged(false), |desk| {
        let tunnel = |from, to| datagram((from, 40_000), (to, 4789));
        assert!(comes_in(desk, &tunnel(OTHER_NODE, NODE)));
        assert!(goes_out(desk, &tunnel(NODE, OTHER_NODE)));
        assert!(!comes_in(desk, &tunnel(NOWHERE, NODE)), "that is no node's");
        let unreachable = |port| {
            let about = packet::tcp(at(NODE, 40_000), at(ADMIN, port), SYN);
            frame(
                Way::In,
                &icmp_error(at(NOWHERE, 0).ip(), at(NODE, 0).ip(), 3, 4, &about),
            )
        };
        assert!(goes_out(desk, &segment((NODE, 40_000), (ADMIN, 5432), SYN)));
        assert!(comes_in(desk, &unreachable(5432)));
        assert!(
            !comes_in(desk, &unreachable(5433)),
            "nothing is known of that"
        );
        let echo = packet::icmp(at(NOWHERE, 0).ip(), at(NODE, 0).ip(), 8, 0, &[0, 1, 0, 1]);
        assert!(!comes_in(desk, &frame(Way::In, &echo)));
    });
}

#[test]
fn what_cannot_be_read_and_what_goes_to_many_is_not_for_the_node() {
    for (host, passes) in [(None, true), (judged(false), false)] {
        on_a_node(host, move |desk| {
            let syn = segment((ADMIN, 40_000), (NODE, 9100), SYN);
            assert!(comes_in(desk, &syn));
            let mut long = syn.clone();
            long[14] = 0x4f;
            assert_eq!(
                comes_in(desk, &long),
                passes,
                "it ends before its header does"
            );
            let shout = datagram((NOWHERE, 40_000), ("224.0.0.251", 5353));
            assert_eq!(comes_in(desk, &shout), passes, "to many");
            let packet = packet::v4(
                NOWHERE.parse().unwrap(),
                NODE.parse().unwrap(),
                17,
                &[],
                100,
                &[0; 64],
            );
            assert_eq!(
                comes_in(desk, &frame(Way::In, &packet)),
                passes,
                "a later fragment"
            );
        });
    }
}

#[test]
fn what_no_other_machine_has_is_no_way_in_and_no_way_out() {
    on_a_node(judged(false), |desk| {
        // The node's own zone is open to itself, and it is not who sends this.
        for from in [NODE, "127.0.0.1"] {
            assert!(
                !comes_in(desk, &segment((from, 40_000), (NODE, 9100), SYN)),
                "{from}"
            );
        }
        for to in ["127.0.0.1", "127.0.0.53"] {
            assert!(comes_in(
                desk,
                &datagram((ADMIN, 40_000), ("10.0.0.20", 53))
            ));
            assert!(
                !comes_in(desk, &datagram((ADMIN, 40_000), (to, 53))),
                "{to}"
            );
        }
        // Somebody on top of the uplink, with an address of his own.
        assert!(goes_out(
            desk,
            &segment(("192.0.2.99", 40_000), (NOWHERE, 80), SYN)
        ));
        // A mark that a process of the node wrote.
        let sent = segment((NODE, 40_002), (NOWHERE, 80), SYN);
        let mark = MarkLayout::DEFAULT.stamped(0, Stamp::FINAL);
        assert!(desk.hook("to_host", &sent, 0, mark).is_none());
    });
}

#[test]
fn audit_tells_what_would_be_cut_and_cuts_nothing() {
    on_a_node(judged(true), |desk| {
        let _: Vec<_> = desk.events();
        for (port, staged) in [(9100, Verdict::Allow), (9101, Verdict::Deny)] {
            let syn = segment((ADMIN, 40_000), (NODE, port), SYN);
            assert!(comes_in(desk, &syn));
            let events = desk.events();
            let told = events.iter().map(|event| event.staged).next();
            assert_eq!(told.unwrap_or(Verdict::Allow), staged, "{port}");
            for event in events {
                assert_eq!(event.endpoint.as_deref(), Some("node:desk"));
                assert_eq!(event.verdict, Verdict::Allow);
            }
        }
    });
}

#[test]
fn the_way_back_in_needs_no_agent() {
    sandbox(|bpffs| {
        let run_dir = tempfile::tempdir().unwrap();
        let mut options = options(bpffs.clone());
        options.run_dir = run_dir.path().to_owned();
        let mut desk = Desk::with(&options, WORLD);
        desk.compiling.host = judged(false);
        let world = format!("{WORLD}{ZONES}");
        desk.apply(&world);
        let syn = segment((NOWHERE, 40_000), (NODE, 9100), SYN);
        assert!(!comes_in(&desk, &syn));
        assert!(host::open(run_dir.path(), &bpffs).unwrap(), "it was judged");
        assert!(comes_in(&desk, &syn), "at once");
        desk.apply(&world);
        assert!(comes_in(&desk, &syn), "and whatever the agent wants");
        assert!(host::close(run_dir.path()).unwrap());
        desk.apply(&world);
        assert!(!comes_in(&desk, &syn));
    });
}
