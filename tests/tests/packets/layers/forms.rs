//! The forms that a packet to metadata may have: fragments, options, routes, translated addresses, ports that are listed.

use std::net::IpAddr;

use ringfence_common::{
    config::Nat64,
    mark::Stamp,
    metadata::{MetadataWord, PortKey},
};
use ringfence_tests::packet::{Way, frame, tcp::SYN, udp_datagram, v4};

use super::{
    super::{POD, WORLD, at, ip, tcp, udp},
    BRIDGE, ELSEWHERE, UPLINK, configure, on_the_desk, own_cgroup, passes, syn,
};

#[test]
fn fragments_options_and_routes_hide_nothing_from_the_layers_behind() {
    on_the_desk(WORLD, |desk| {
        configure(desk, |config| config.pods_cgroup = own_cgroup());
        let (IpAddr::V4(pod), IpAddr::V4(imds), IpAddr::V4(other)) = (
            at(POD[0], 0).ip(),
            at("169.254.169.254", 0).ip(),
            at("203.0.113.9", 0).ip(),
        ) else {
            panic!("IPv4")
        };
        let open = udp_datagram(4000, 53, b"question");
        let route = [131, 7, 4, 169, 254, 169, 254, 0];
        // A chain of so many options headers in front of the transport.
        let behind = |to: &str, headers: usize| {
            let mut payload = Vec::new();
            for left in (0..headers).rev() {
                payload.extend([if left == 0 { 17 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
            }
            payload.extend(udp_datagram(4000, 80, b"question"));
            ip(Way::Out, POD[1], to, 60, &payload)
        };
        // A routing header with one segment left, and one with none.
        let through = |left: u8| {
            let IpAddr::V6(last) = at("fd00:ec2::254", 0).ip() else {
                panic!("IPv6")
            };
            let mut payload = vec![17, 2, 4, left, 0, 0, 0, 0];
            payload.extend(last.octets());
            payload.extend(udp_datagram(4000, 80, b"question"));
            ip(Way::Out, POD[1], "2001:db8:113::5", 43, &payload)
        };
        for (what, packet, allowed) in [
            ("open", v4(pod, imds, 17, &[], 0x2000, &open), true),
            ("later", v4(pod, imds, 17, &[], 1, b"restrest"), false),
            (
                "later elsewhere",
                v4(pod, other, 17, &[], 1, b"restrest"),
                true,
            ),
            (
                "options",
                v4(pod, imds, 17, &[1, 1, 1, 0], 0, &udp_datagram(1, 80, b"")),
                false,
            ),
            (
                "open behind options",
                v4(pod, imds, 17, &[1, 1, 1, 0], 0, &open),
                true,
            ),
            (
                "no room for ports",
                v4(pod, imds, 17, &[], 0x2000, b"1"),
                false,
            ),
            (
                "ICMP",
                v4(pod, imds, 1, &[], 0, &[8, 0, 0, 0, 0, 1, 0, 1]),
                false,
            ),
            ("GRE", v4(pod, imds, 47, &[], 0, &[0; 8]), false),
            ("routed", v4(pod, other, 17, &route, 0, &open), false),
            ("routed, IPv6", through(1), false),
            ("at its end", through(0), true),
            ("few headers", behind("fd00:ec2::254", 8), false),
            ("many headers", behind("fd00:ec2::254", 9), false),
            ("few headers, elsewhere", behind("2001:db8:113::5", 8), true),
            (
                "many headers, elsewhere",
                behind("2001:db8:113::5", 9),
                false,
            ),
        ] {
            let frame = frame(Way::Out, &packet);
            for hook in ["to_host", "to_lo", "from_socket"] {
                let found = passes(desk, hook, &frame, 0, Stamp::NONE);
                assert_eq!(found, allowed, "{hook}: {what}");
            }
        }
        // What is only forwarded may be for somebody else, but for no metadata endpoint.
        for (to, headers, allowed) in [
            ("fd00:ec2::254", 8, false),
            ("fd00:ec2::254", 9, false),
            ("fd00:ec2::254", 20, false),
            ("2001:db8:113::5", 20, true),
        ] {
            let frame = frame(Way::Out, &behind(to, headers));
            for ingress in [BRIDGE, UPLINK] {
                let found = passes(desk, "to_host", &frame, ingress, Stamp::NONE);
                assert_eq!(found, allowed, "{to} behind {headers}, by {ingress}");
            }
        }
        configure(desk, |config| config.pods_cgroup = ELSEWHERE);
        let routed = frame(Way::Out, &v4(pod, other, 17, &route, 0, &open));
        assert!(
            passes(desk, "to_host", &routed, 0, Stamp::NONE),
            "the node's"
        );
    });
}

#[test]
fn metadata_behind_a_configured_prefix_is_metadata_for_every_layer() {
    on_the_desk(WORLD, |desk| {
        let last = "2001:db8:122:344:a9:fea9:fe00::";
        let (near, far) = ("2001:db8:64::a9fe:a9fe", "2001:db8:64::cb00:7109");
        let hooks = ["from_pod", "to_host", "to_lo", "from_socket"];
        configure(desk, |config| config.pods_cgroup = own_cgroup());
        for hook in hooks {
            for address in [near, far, last] {
                let found = passes(desk, hook, &syn(1, address), 0, Stamp::NONE);
                assert!(found, "{hook}: {address}, no prefix");
            }
        }
        let octets = |text: &str| match at(text, 0).ip() {
            IpAddr::V6(address) => address.octets(),
            IpAddr::V4(_) => panic!("IPv6"),
        };
        configure(desk, |config| {
            config.nat64[0] = Nat64::new(&octets("2001:db8:64::"), 12);
            config.nat64[3] = Nat64::new(&octets("2001:db8:122:344::"), 8);
        });
        for hook in hooks {
            for (address, allowed) in [(near, false), (far, true), (last, false)] {
                let found = passes(desk, hook, &syn(1, address), 0, Stamp::NONE);
                assert_eq!(found, allowed, "{hook}: {address}");
            }
        }
    });
}

#[test]
fn an_address_with_a_list_of_ports_is_metadata_at_these_alone() {
    on_the_desk(WORLD, |desk| {
        configure(desk, |config| config.pods_cgroup = own_cgroup());
        let IpAddr::V4(address) = at("168.63.129.16", 0).ip() else {
            panic!("IPv4")
        };
        let key = address.to_ipv6_mapped().octets();
        let maps = desk.kernel.maps();
        let word = MetadataWord::new(&key, 5, 0, 3);
        maps.metadata.insert(key, word, 0).expect("there is room");
        for (list, protocol, port) in [(3, 6, 80), (4, 17, 80), (3, 47, 0)] {
            let key = PortKey {
                list,
                port,
                protocol,
                _pad: [0; 3],
            };
            maps.metadata_ports
                .insert(key, 1, 0)
                .expect("there is room");
        }
        let IpAddr::V4(pod) = at(POD[0], 0).ip() else {
            panic!("IPv4")
        };
        for (what, packet, allowed) in [
            ("its port", syn(0, "168.63.129.16"), false),
            (
                "a port of another protocol",
                udp(Way::Out, (POD[0], 1), ("168.63.129.16", 80)),
                true,
            ),
            (
                "another port",
                tcp(Way::Out, (POD[0], 1), ("168.63.129.16", 4000), SYN),
                true,
            ),
            (
                "no port",
                frame(Way::Out, &v4(pod, address, 17, &[], 1, b"restrest")),
                false,
            ),
            (
                "its protocol",
                frame(Way::Out, &v4(pod, address, 47, &[], 0, &[0; 8])),
                false,
            ),
            (
                "ICMP",
                frame(
                    Way::Out,
                    &v4(pod, address, 1, &[], 0, &[8, 0, 0, 0, 0, 1, 0, 1]),
                ),
                true,
            ),
        ] {
            for hook in ["from_pod", "to_host", "from_socket"] {
                // At the pod's own hook a later fragment without its first is dropped in any case.
                let found = passes(desk, hook, &packet, 0, Stamp::NONE);
                assert_eq!(found, allowed, "{hook}: {what}");
            }
        }
    });
}
