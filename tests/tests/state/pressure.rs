//! Eviction: a flood of flows makes the kernel forget connections, and forgetting opens nothing.

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use ringfence_agent::dataplane::Kernel as _;
use ringfence_common::Direction;
use ringfence_tests::{
    desk::Desk,
    packet::{
        Way,
        tcp::{ACK, SYN},
    },
};

use super::{FRIEND, POD, STRANGER, on_the_desk, only, tcp, udp, with};

/// Connections that there is room for.
const ROOM: u32 = 1024;

/// Keeps this thread on the CPU where it is: the kernel gives each CPU some entries of its own, and what lies in another
/// one's is not evicted by a flood on this one.
fn stay() {
    let mut set = CpuSet::new();
    let here = nix::sched::sched_getcpu().expect("a CPU");
    set.set(here).expect("fewer CPUs than bits");
    sched_setaffinity(Pid::from_raw(0), &set).expect("its own thread");
}

/// Sends datagrams this way from and to many ports until no TCP connection is remembered. Each flow has two packets:
/// those with one are forgotten before any connection that was used again.
fn flood(desk: &Desk, way: Way) {
    for port in 1024..60_000_u16 {
        let frame = udp(way, (POD[0], port), (FRIEND[0], 53));
        assert!(desk.passes(way, &frame) && desk.passes(way, &frame));
        if port % 1024 == 0 {
            let left = desk.kernel.connections().expect("the map is there");
            if left.iter().all(|connection| connection.protocol != 6) {
                return;
            }
        }
    }
    panic!("a TCP connection outlives every flood");
}

#[test]
fn established_connections_go_on_under_a_flood_and_nothing_opens() {
    let policies = with(&[only("ingress", "friend", 80)]);
    on_the_desk(ROOM, &policies, |desk| {
        stay();
        let (serves, asks) = ((POD[0], 80), (FRIEND[0], 4000));
        let (own, service) = ((POD[0], 40_000), (STRANGER[0], 443));
        assert!(desk.passes(Way::In, &tcp(Way::In, serves, asks, SYN)));
        assert!(desk.passes(Way::Out, &tcp(Way::Out, serves, asks, SYN | ACK)));
        assert!(desk.passes(Way::Out, &tcp(Way::Out, own, service, SYN)));
        assert!(desk.passes(Way::In, &tcp(Way::In, own, service, SYN | ACK)));
        for way in [Way::In, Way::Out, Way::In] {
            flood(desk, Way::Out);
            assert!(desk.passes(way, &tcp(way, serves, asks, ACK)));
            assert!(desk.passes(way, &tcp(way, own, service, ACK)));
            // Strangers' segments at the port that policy opens to the friend.
            for flags in [SYN, SYN | ACK] {
                assert!(!desk.passes(Way::In, &tcp(Way::In, serves, service, flags)));
            }
            assert!(!desk.passes(Way::In, &udp(Way::In, serves, service)));
        }
        // Who is evicted makes room: no connection was without an entry.
        let counters = desk.kernel.counters().expect("the map is there");
        assert_eq!(counters.untracked, 0);
    });
}

#[test]
fn what_was_revoked_and_evicted_is_adopted_by_no_direction() {
    // Each time the direction that the connection was not opened in is free.
    for (closed, direction) in [
        ("ingress", Direction::Ingress),
        ("egress", Direction::Egress),
    ] {
        let open = with(&[only(closed, "friend", 80)]);
        on_the_desk(ROOM, &open.clone(), move |desk| {
            stay();
            let (pod, friend, toward, answering) = match direction {
                Direction::Ingress => ((POD[0], 80), (FRIEND[0], 4000), Way::In, Way::Out),
                Direction::Egress => ((POD[0], 4000), (FRIEND[0], 80), Way::Out, Way::In),
            };
            let kept = match direction {
                Direction::Ingress => ((POD[0], 40_000), (FRIEND[0], 443)),
                Direction::Egress => ((POD[0], 443), (FRIEND[0], 40_000)),
            };
            assert!(desk.passes(toward, &tcp(toward, pod, friend, SYN)));
            assert!(desk.passes(answering, &tcp(answering, pod, friend, SYN | ACK)));
            assert!(desk.passes(toward, &tcp(toward, pod, friend, ACK)));
            assert!(desk.passes(answering, &tcp(answering, kept.0, kept.1, SYN)));
            desk.apply(&with(&[only(closed, "friend", 81)]));
            assert!(!desk.passes(answering, &tcp(answering, pod, friend, ACK)));
            flood(desk, answering);
            for _ in 0..2 {
                for way in [toward, answering] {
                    assert!(
                        !desk.passes(way, &tcp(way, pod, friend, ACK)),
                        "{closed} {way:?}"
                    );
                    assert!(
                        desk.passes(way, &tcp(way, kept.0, kept.1, ACK)),
                        "the other one"
                    );
                }
            }
            // Allowed again it goes on as what it was.
            desk.apply(&open);
            assert!(desk.passes(answering, &tcp(answering, pod, friend, ACK)));
            let connections = desk.kernel.connections().unwrap();
            let back = connections
                .iter()
                .find(|one| one.local_port == pod.1 && one.protocol == 6);
            assert_eq!(back.unwrap().direction, direction);
            desk.apply(&with(&[only(closed, "friend", 81)]));
            assert!(
                !desk.passes(toward, &tcp(toward, pod, friend, ACK)),
                "and can be revoked again"
            );
        });
    }
}
