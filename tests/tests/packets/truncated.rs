//! Packets that end too early, at each length: nothing passes that is not there.

use ringfence_tests::packet::{Way, frame, tcp as flags, udp_datagram};

use super::{FRIEND, POD, ip, on_the_desk, tcp};

/// The least that the kernel's test run takes: a frame with an IP header.
const LEAST: [usize; 2] = [34, 54];

#[test]
fn a_frame_that_ends_inside_its_packet_is_dropped_at_each_length() {
    // Nothing is isolated: it is the end that is refused.
    on_the_desk(super::WORLD, |desk| {
        for (family, least) in LEAST.into_iter().enumerate() {
            let icmp = if family == 0 { 1 } else { 58 };
            let echo = if family == 0 { 8 } else { 128 };
            let (pod, friend) = (POD[family], FRIEND[family]);
            for whole in [
                tcp(Way::Out, (pod, 4000), (friend, 80), flags::SYN),
                frame(
                    Way::Out,
                    &ip(Way::Out, pod, friend, 17, &udp_datagram(4000, 80, b"data")),
                ),
                frame(
                    Way::Out,
                    &ip(
                        Way::Out,
                        pod,
                        friend,
                        132,
                        &[15, 160, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0],
                    ),
                ),
                frame(
                    Way::Out,
                    &ip(Way::Out, pod, friend, icmp, &[echo, 0, 0, 0, 0, 7, 0, 1]),
                ),
                // Of a protocol without ports there is nothing to read, and yet it must be there.
                frame(Way::Out, &ip(Way::Out, pod, friend, 47, &[0; 8])),
            ] {
                for length in least..whole.len() {
                    assert!(
                        !desk.passes(Way::Out, &whole[..length]),
                        "{length} of {} bytes, family {family}",
                        whole.len()
                    );
                }
                assert!(desk.passes(Way::Out, &whole), "family {family}");
            }
        }
    });
}

#[test]
fn a_packet_whose_length_leaves_no_room_for_its_header_is_dropped() {
    on_the_desk(super::WORLD, |desk| {
        for family in 0..2 {
            let icmp = if family == 0 { 1 } else { 58 };
            for (protocol, needed) in [(6, 20), (17, 8), (132, 12), (icmp, 8)] {
                for length in 0..=needed {
                    let mut payload = vec![0; length];
                    if length > 12 {
                        payload[12] = 0x50;
                    }
                    if protocol == icmp && length > 0 {
                        payload[0] = if family == 0 { 8 } else { 128 };
                    }
                    // The frame itself goes on: what is behind the packet's end is padding.
                    let mut padded = frame(
                        Way::Out,
                        &ip(Way::Out, POD[family], FRIEND[family], protocol, &payload),
                    );
                    padded.extend([0x50; 60]);
                    assert_eq!(
                        desk.passes(Way::Out, &padded),
                        length == needed,
                        "{length} bytes of protocol {protocol}"
                    );
                }
            }
        }
    });
}
