//! The same layers while the `MetadataFirewall` is in Audit: what they deny passes, and is told of once.

use ringfence_agent::dataplane::{EventView, Kernel as _};
use ringfence_common::cell::{Tier, Verdict};
use ringfence_tests::{
    desk::options,
    packet::{frame, udp_datagram, v4},
    sandbox::sandbox,
};

use super::{super::at, *};

/// These manifests with the firewall in this mode.
fn with(manifests: &str, mode: &str) -> String {
    format!(
        "{manifests}\n---\napiVersion: ringfence.dev/v1alpha1\nkind: MetadataFirewall\nmetadata: {{ name: default }}\nspec: {{ enforcement: {mode} }}\n"
    )
}

/// Puts it into this mode, and takes the test's own process for a pod's.
fn switch(desk: &mut Desk, manifests: &str, mode: &str) {
    desk.apply(&with(manifests, mode));
    configure(desk, |config| config.pods_cgroup = own_cgroup());
}

fn is_would_deny(event: &EventView) -> bool {
    (event.verdict, event.staged, event.reason) == (Verdict::Allow, Verdict::Deny, Reason::Metadata)
        && event.tier == Some(Tier::Metadata)
}

/// From the pod to the metadata service, with these options and this place among fragments.
fn to_imds(options: &[u8], fragment: u16) -> Vec<u8> {
    let (IpAddr::V4(pod), IpAddr::V4(imds)) = (at(POD[0], 0).ip(), at("169.254.169.254", 0).ip())
    else {
        panic!("IPv4")
    };
    let question = udp_datagram(4000, 80, b"question");
    frame(Way::Out, &v4(pod, imds, 17, options, fragment, &question))
}

/// Program, what tells, the device that the packet came in by.
const HOOKS: [(&str, Hook, u32); 7] = [
    ("from_pod", Hook::FromPod, OWN),
    ("to_host", Hook::ToHost, 0),
    ("to_host", Hook::ToHost, BRIDGE),
    ("to_node", Hook::ToNode, BRIDGE),
    ("to_lo", Hook::Lo, 0),
    ("to_inner", Hook::Lo, 0),
    ("from_socket", Hook::SocketPackets, 0),
];

#[test]
fn each_layer_lets_through_what_it_would_deny_and_says_so() {
    on_the_desk(WORLD, |desk| {
        for mode in ["Enforce", "Audit", "Enforce"] {
            switch(desk, WORLD, mode);
            let place = Stamp(desk.place());
            for (hook, tells, ingress) in HOOKS {
                for (family, address) in ADDRESSES {
                    let syn = syn(family, address);
                    let passes = passes(desk, hook, &syn, ingress, place);
                    assert_eq!(passes, mode == "Audit", "{hook} by {ingress}: {address}");
                    let events = desk.events();
                    let [event] = events.as_slice() else {
                        panic!("{hook} by {ingress}, {address}: {events:?}");
                    };
                    assert_eq!((event.hook, event.destination_port), (tells, 80));
                    assert_eq!(is_would_deny(event), mode == "Audit", "{hook}: {event:?}");
                }
                let other = tcp(Way::Out, (POD[0], 4000), (FRIEND[0], 80), SYN);
                assert!(passes(desk, hook, &other, ingress, Stamp::NONE), "{hook}");
                assert_eq!(desk.events(), [], "{hook}: what is no metadata is no news");
            }
        }
        let counters = desk.kernel.counters().expect("the map can be read");
        let counted = |hook: Hook, verdict| {
            let mut packets = counters.packets.iter();
            packets.any(|it| (it.0, it.1, it.2) == (hook, Reason::Metadata, verdict))
        };
        for (hook, tells, _) in HOOKS {
            for verdict in [Verdict::Allow, Verdict::Deny] {
                assert!(counted(tells, verdict), "{hook}, {verdict:?}");
            }
        }
    });
}

#[test]
fn a_flow_is_told_of_when_it_begins_and_by_the_first_that_sees_it() {
    on_the_desk(WORLD, |desk| {
        switch(desk, WORLD, "Audit");
        let syn = syn(0, "169.254.169.254");
        let ack = tcp(Way::Out, (POD[0], 4000), ("169.254.169.254", 80), ACK);
        let mark = desk.hook("from_pod", &syn, OWN, 0).expect("it passes");
        assert_eq!(desk.events().len(), 1);
        let layout = MarkLayout::DEFAULT;
        assert!(layout.is_told(mark) && layout.stamp(mark) == Stamp(desk.place()));
        // It leaves, or ends in a proxy's socket: the mark says that all is said. It does not leave the node.
        for hook in ["to_host", "to_node"] {
            let after = desk.hook(hook, &syn, BRIDGE, mark);
            assert_eq!(after, Some(layout.clear(mark)), "{hook}");
            assert_eq!(desk.events(), [], "{hook}");
        }
        let later = desk.hook("from_pod", &ack, OWN, 0);
        assert_eq!(later, Some(mark), "of the same flow");
        assert_eq!(desk.events(), []);
        // By another way, or of somebody else: told where it is seen first, and then by its beginning only.
        // (The pod on the desk has `lo` for its device.)
        for ingress in [UPLINK, OWN] {
            assert!(desk.hook("to_host", &syn, ingress, mark).is_some());
            assert_eq!(
                desk.events().len(),
                1,
                "a mark by {ingress} is no pod's hook's"
            );
        }
        for (hook, ingress) in [("to_host", BRIDGE), ("to_lo", 0), ("from_socket", 0)] {
            assert!(passes(desk, hook, &ack, ingress, Stamp::NONE), "{hook}");
            assert_eq!(desk.events(), [], "{hook}");
        }
        // What the node's network has no device for: told by the socket's packet, not again where it leaves.
        let mark = desk
            .hook("from_socket", &syn, 0, OTHERS)
            .expect("it passes");
        assert_eq!(mark, layout.told(OTHERS));
        assert_eq!(desk.events().len(), 1);
        for hook in ["to_host", "to_lo"] {
            assert_eq!(desk.hook(hook, &syn, 0, mark), Some(OTHERS), "{hook}");
            assert_eq!(desk.events(), [], "{hook}");
        }
        // A granted flow is none of this.
        switch(desk, &granted(), "Audit");
        let mark = desk.hook("from_pod", &syn, OWN, 0).expect("it passes");
        assert!(!layout.is_told(mark));
        assert_eq!(desk.events(), []);
    });
}

#[test]
fn an_audit_lets_through_nothing_that_something_else_refuses() {
    const ISOLATED: &str = "\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: { name: no, namespace: shop }\n\
                            spec: { podSelector: {}, policyTypes: [ Egress ] }\n";
    on_the_desk(WORLD, |desk| {
        switch(desk, WORLD, "Audit");
        let imds = "169.254.169.254";
        let spoofed = tcp(Way::Out, (FRIEND[0], 4000), (imds, 80), SYN);
        assert!(!passes(desk, "from_pod", &spoofed, OWN, Stamp::NONE));
        assert!(
            !passes(desk, "from_pod", &to_imds(&[], 1), OWN, Stamp::NONE),
            "of no first"
        );
        let reasons: Vec<Reason> = desk.events().iter().map(|event| event.reason).collect();
        assert_eq!(reasons, [Reason::SpoofedAddress, Reason::Fragment]);
        let routed = to_imds(&[131, 7, 4, 169, 254, 169, 254, 0], 0);
        for hook in ["from_socket", "to_host", "to_lo"] {
            assert!(!passes(desk, hook, &routed, 0, Stamp::NONE), "{hook}");
        }
        desk.events();
        configure(desk, |config| config.metadata_packets_per_tick = 3);
        for hook in ["from_pod", "from_socket"] {
            let sent = (0..400).filter(|_| passes(desk, hook, &syn(0, imds), OWN, Stamp::NONE));
            let passed = sent.count();
            assert!((3..400).contains(&passed), "{hook}: {passed}");
        }
        desk.events();
        let isolated = format!("{WORLD}{ISOLATED}");
        switch(desk, &isolated, "Audit");
        assert!(!passes(desk, "from_pod", &syn(0, imds), OWN, Stamp::NONE));
        let events = desk.events();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0].verdict, Verdict::Deny);
        assert_ne!(events[0].reason, Reason::Metadata, "policy says it");
    });
}

#[test]
fn an_audit_ends_though_what_comes_with_its_end_does_not_fit() {
    sandbox(|bpffs| {
        let mut options = options(bpffs);
        options.limits.cells = 16;
        let mut desk = Desk::with(&options, &with(WORLD, "Audit"));
        let place = Stamp(desk.place());
        let asks = |desk: &Desk| passes(desk, "from_pod", &syn(0, "169.254.169.254"), OWN, place);
        assert!(asks(&desk));
        let ports: String = (0..40).map(|port| format!("  - {{ ports: [ {{ port: {} }} ], from: [ {{ ipBlock: {{ cidr: 203.0.113.{port}/32 }} }} ] }}\n", 2 * port + 1)).collect();
        let large = format!(
            "{WORLD}---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: large, namespace: shop }}\n\
             spec:\n  podSelector: {{ matchLabels: {{ app: cart }} }}\n  ingress:\n{ports}"
        );
        // What does not fit beside an audit changes nothing.
        let audited = desk.compile(&with(&large, "Audit"));
        assert!(desk.kernel.apply(&audited).is_err() && asks(&desk));
        let ended = desk.compile(&with(&large, "Enforce"));
        for _ in 0..2 {
            let refused = desk.kernel.apply(&ended).expect_err("it has room for 16");
            assert!(refused.to_string().contains("CELLS"), "{refused}");
            assert!(!asks(&desk));
        }
        desk.apply(&with(WORLD, "Audit"));
        assert!(asks(&desk));
    });
}
