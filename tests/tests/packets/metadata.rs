//! The metadata check comes before everything else.

use ringfence_common::event::Reason;
use ringfence_tests::packet::{Way, frame, tcp::SYN, udp_datagram, v4};

use super::{POD, STRANGER, WORLD, at, on_the_desk, tcp, udp};

/// The same world with access granted to the pod.
pub(super) fn granted() -> String {
    WORLD.replace(
        "labels: { app: cart } }",
        "labels: { app: cart }, annotations: { metadata.ringfence.dev/access: imds } }",
    )
}

/// Metadata addresses, and forms that lead to them.
pub(super) const ADDRESSES: [(usize, &str); 8] = [
    (0, "169.254.169.254"),
    (0, "100.100.100.200"),
    (0, "169.254.170.2"),
    (1, "fd00:ec2::254"),
    (1, "fd20:ce::254"),
    (1, "64:ff9b::a9fe:a9fe"),
    (1, "2002:a9fe:a9fe::1"),
    (1, "::ffff:169.254.169.254"),
];

#[test]
fn metadata_is_denied_without_a_grant_though_no_policy_says_anything() {
    on_the_desk(WORLD, |desk| {
        for (family, address) in ADDRESSES {
            let syn = tcp(Way::Out, (POD[family], 4000), (address, 80), SYN);
            assert!(!desk.passes(Way::Out, &syn), "{address}");
            assert!(!desk.passes(
                Way::Out,
                &udp(Way::Out, (POD[family], 4000), (address, 8080))
            ));
        }
        let events = desk.events();
        assert!(!events.is_empty() && events.iter().all(|event| event.reason == Reason::Metadata));
        let near = [
            (0, "169.254.169.253"),
            (0, "169.254.20.10"),
            (0, "169.254.170.23"),
            (1, "fd00:ec2::23"),
        ];
        for (family, address) in near {
            let syn = tcp(Way::Out, (POD[family], 4000), (address, 80), SYN);
            assert!(
                desk.passes(Way::Out, &syn),
                "{address} is no metadata service"
            );
        }
    });
}

#[test]
fn a_grant_opens_it_and_taking_it_back_ends_connections() {
    on_the_desk(&granted(), |desk| {
        for (family, address) in ADDRESSES {
            let syn = tcp(Way::Out, (POD[family], 4000), (address, 80), SYN);
            assert!(desk.passes(Way::Out, &syn), "{address}");
        }
        desk.apply(WORLD);
        let ack = tcp(Way::Out, (POD[0], 4000), ("169.254.169.254", 80), 16);
        assert!(!desk.passes(Way::Out, &ack), "established, and over");
        assert!(desk.passes(
            Way::Out,
            &tcp(Way::Out, (POD[0], 4000), (STRANGER[0], 80), SYN)
        ));
    });
}

#[test]
fn dns_and_time_stay_open_where_they_share_the_address() {
    on_the_desk(WORLD, |desk| {
        assert!(desk.passes(
            Way::Out,
            &udp(Way::Out, (POD[0], 4000), ("169.254.169.254", 53))
        ));
        assert!(desk.passes(
            Way::Out,
            &tcp(Way::Out, (POD[0], 4000), ("169.254.169.254", 53), SYN)
        ));
        assert!(desk.passes(
            Way::Out,
            &udp(Way::Out, (POD[0], 4000), ("169.254.169.254", 123))
        ));
        assert!(!desk.passes(
            Way::Out,
            &tcp(Way::Out, (POD[0], 4000), ("169.254.169.254", 123), SYN)
        ));
        assert!(!desk.passes(
            Way::Out,
            &udp(Way::Out, (POD[1], 4000), ("fd00:ec2::254", 53))
        ));
    });
}

#[test]
fn options_fragments_and_other_protocols_hide_nothing() {
    on_the_desk(WORLD, |desk| {
        let (std::net::IpAddr::V4(pod), std::net::IpAddr::V4(imds), std::net::IpAddr::V4(other)) = (
            at(POD[0], 0).ip(),
            at("169.254.169.254", 0).ip(),
            at(STRANGER[0], 0).ip(),
        ) else {
            panic!("IPv4")
        };
        // No operation, three times, and the end of the options.
        let options = [1, 1, 1, 0];
        let open = udp_datagram(4000, 53, b"question");
        let closed = udp_datagram(4000, 80, b"question");
        for (what, packet, allowed) in [
            ("options", v4(pod, imds, 17, &options, 0, &closed), false),
            (
                "options elsewhere",
                v4(pod, other, 17, &options, 0, &closed),
                true,
            ),
            (
                "first fragment of an open port",
                v4(pod, imds, 17, &[], 0x2000, &open),
                true,
            ),
            (
                "later fragment, even of an open port",
                v4(pod, imds, 17, &[], 1, b"rest"),
                false,
            ),
            (
                "ICMP",
                v4(pod, imds, 1, &[], 0, &[8, 0, 0, 0, 0, 1, 0, 1]),
                false,
            ),
            ("GRE", v4(pod, imds, 47, &[], 0, &[0; 8]), false),
        ] {
            assert_eq!(
                desk.passes(Way::Out, &frame(Way::Out, &packet)),
                allowed,
                "{what}"
            );
        }
    });
}
