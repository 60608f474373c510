//! What is counted of a packet.

use ringfence_common::{Hook, cell::Verdict, event::Reason};
use ringfence_tests::{
    desk::Desk,
    packet::{Way, tcp::SYN},
};

use super::{FRIEND, POD, STRANGER, guarded, on_the_desk, tcp, udp};
use ringfence_agent::dataplane::Kernel as _;

/// Packets and bytes that were denied so far at this hook for this reason.
fn denied(desk: &Desk, hook: Hook, reason: Reason) -> (u64, u64) {
    let counters = desk.kernel.counters().expect("counters");
    let packets = counters
        .packets
        .iter()
        .find(|(at, why, verdict, _)| (*at, *why, *verdict) == (hook, reason, Verdict::Deny));
    let bytes = counters.denied_bytes.iter();
    let bytes = bytes
        .copied()
        .find(|(at, why, _)| (*at, *why) == (hook, reason));
    (
        packets.map_or(0, |(.., count)| *count),
        bytes.map_or(0, |(.., count)| count),
    )
}

#[test]
fn bytes_are_counted_of_denied_packets_alone_by_hook_and_reason() {
    on_the_desk(&guarded(), |desk| {
        for family in [0, 1] {
            let before = [
                denied(desk, Hook::ToPod, Reason::Policy),
                denied(desk, Hook::FromPod, Reason::Policy),
                denied(desk, Hook::FromPod, Reason::SpoofedAddress),
            ];
            let stranger = tcp(Way::In, (POD[family], 80), (STRANGER[family], 4000), SYN);
            let out = udp(Way::Out, (POD[family], 4001), (STRANGER[family], 53));
            let spoofed = tcp(
                Way::Out,
                (FRIEND[family], 4002),
                (STRANGER[family], 80),
                SYN,
            );
            for _ in 0..3 {
                assert!(!desk.passes(Way::In, &stranger));
            }
            assert!(!desk.passes(Way::Out, &out));
            assert!(!desk.passes(Way::Out, &spoofed));
            // What passes is counted as packets only.
            let friend = tcp(Way::In, (POD[family], 80), (FRIEND[family], 4000), SYN);
            assert!(desk.passes(Way::In, &friend));
            let after = [
                denied(desk, Hook::ToPod, Reason::Policy),
                denied(desk, Hook::FromPod, Reason::Policy),
                denied(desk, Hook::FromPod, Reason::SpoofedAddress),
            ];
            let long = |frame: &[u8]| u64::try_from(frame.len()).unwrap();
            let more = [
                (3, 3 * long(&stranger)),
                (1, long(&out)),
                (1, long(&spoofed)),
            ];
            for ((before, after), more) in before.iter().zip(after).zip(more) {
                assert_eq!((after.0 - before.0, after.1 - before.1), more);
            }
            let counters = desk.kernel.counters().unwrap();
            assert_eq!(
                counters.denied_bytes.len(),
                3,
                "{:?}",
                counters.denied_bytes
            );
        }
    });
}
