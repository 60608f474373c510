//! Tables are swapped on one CPU while packets are judged on another: every packet meets all of one state, or all of
//! the other, and never a mixture.
//!
//! Each flow here has the same verdict in both states, and another one in a mixture of them: a peer changes its label
//! and the policy changes the label that it names. The programs' own counters tell if a single packet was judged
//! otherwise. With `RINGFENCE_SOAK=1` there are 10^8 packets.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use aya::{TestRun as _, TestRunOptions, programs::SchedClassifier};
use ringfence_agent::{compile::Desired, dataplane::Kernel as _};
use ringfence_common::cell::Verdict;
use ringfence_tests::{
    desk::Desk,
    packet::{
        Way,
        tcp::{ACK, SYN},
    },
};

use super::{FRIEND, POD, on_the_desk, only, tcp, udp, world};

const ROOM: u32 = 16_384;
/// Packets that the kernel judges at one call.
const BATCH: u32 = 500;

/// How many packets each test judges, and how often it swaps, at least.
fn extent() -> (u64, u64) {
    match std::env::var_os("RINGFENCE_SOAK") {
        Some(_) => (100_000_000, 500),
        None => (1_000_000, 20),
    }
}

/// The world where the friend, and a crowd that changes with it, have a label, and the policy names another one or the
/// same. Each change writes many elements of the maps: what one of them leaves free is taken by the next.
fn state(label: &str, named: &str) -> String {
    let mut text = world(label, "stranger");
    for number in 1..=40 {
        text += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: crowd-{number}, namespace: shop, labels: {{ app: {label} }} }}\n\
             status: {{ phase: Running, podIPs: [ {{ ip: 10.0.1.{number} }}, {{ ip: \"fd00::1:{number}\" }} ] }}\n"
        );
    }
    // Nothing goes out: else a segment may belong to a connection of the pod's own.
    text + &only("ingress", named, 80) + &only("egress", "nobody", 1)
}

/// Packets by verdict that the programs have counted.
fn counted(desk: &Desk) -> [u64; 2] {
    let counters = desk.kernel.counters().expect("the map is there");
    [Verdict::Allow, Verdict::Deny].map(|wanted| {
        let of = counters
            .packets
            .iter()
            .filter(|(_, _, verdict, _)| *verdict == wanted);
        of.map(|(.., count)| count).sum()
    })
}

/// Judges these frames, which come to the pod, again and again while the two states take turns; how many passed, how
/// many did not, and how often the states changed.
fn race(desk: &mut Desk, states: &[Desired; 2], frames: &[Vec<u8>]) -> ([u64; 2], u64) {
    let info = {
        let program: &SchedClassifier = desk
            .kernel
            .ebpf()
            .program("to_pod")
            .expect("the object has it")
            .try_into()
            .expect("a classifier");
        program.info().expect("it is loaded")
    };
    let program = SchedClassifier::from_program_info(info, "to_pod".into()).expect("a classifier");
    let before = counted(desk);
    let (judged, swaps) = (AtomicU64::new(0), AtomicU64::new(0));
    let (packets, changes) = extent();
    let goes_on =
        || judged.load(Ordering::Relaxed) < packets || swaps.load(Ordering::Relaxed) < changes;
    thread::scope(|scope| {
        scope.spawn(|| {
            for frame in frames.iter().cycle() {
                if !goes_on() {
                    return;
                }
                // As the desk has it: from a device that is not this one.
                let mut skb = [0_u8; 192];
                skb[36] = 7;
                let options = TestRunOptions {
                    data_in: Some(frame),
                    ctx_in: Some(&skb),
                    repeat: BATCH,
                    ..TestRunOptions::default()
                };
                program.test_run(options).expect("it runs");
                judged.fetch_add(u64::from(BATCH), Ordering::Relaxed);
            }
        });
        while goes_on() {
            for state in states {
                desk.kernel.apply(state).expect("it fits");
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let after = counted(desk);
    let passed = [after[0] - before[0], after[1] - before[1]];
    assert_eq!(
        passed[0] + passed[1],
        judged.into_inner(),
        "each is counted"
    );
    let swaps = swaps.into_inner();
    println!("{} packets, {swaps} swaps", passed[0] + passed[1]);
    (passed, swaps)
}

/// New connections and datagrams from the friend, in both families, and segments of an established connection.
fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for family in 0..2 {
        let (pod, friend) = ((POD[family], 80), (FRIEND[family], 4000));
        frames.push(tcp(Way::In, pod, friend, SYN));
        frames.push(tcp(Way::In, pod, friend, ACK));
        frames.push(udp(Way::In, pod, friend));
    }
    frames
}

#[test]
fn what_both_states_allow_is_never_denied() {
    on_the_desk(ROOM, &state("red", "red"), |desk| {
        let states = [state("red", "red"), state("blue", "blue")].map(|text| desk.compile(&text));
        let ([_, denied], swaps) = race(desk, &states, &frames());
        assert_eq!(denied, 0, "in {swaps} swaps");
        assert!(!desk.passes(Way::In, &tcp(Way::In, (POD[0], 81), (FRIEND[0], 4000), SYN)));
    });
}

#[test]
fn what_both_states_deny_is_never_allowed() {
    on_the_desk(ROOM, &state("red", "blue"), |desk| {
        let states = [state("red", "blue"), state("blue", "red")].map(|text| desk.compile(&text));
        let ([passed, _], swaps) = race(desk, &states, &frames());
        assert_eq!(passed, 0, "in {swaps} swaps");
        desk.apply(&state("red", "red"));
        assert!(desk.passes(Way::In, &frames()[0]));
    });
}

#[test]
fn what_the_states_do_not_agree_about_follows_them() {
    on_the_desk(ROOM, &state("red", "red"), |desk| {
        let states = [state("red", "red"), state("red", "blue")].map(|text| desk.compile(&text));
        let ([passed, denied], swaps) = race(desk, &states, &frames());
        assert!(
            passed > 0 && denied > 0,
            "{passed} passed, {denied} did not, in {swaps} swaps"
        );
        // The last state is the one that denies: at once, and what is established too.
        for frame in frames() {
            assert!(!desk.passes(Way::In, &frame));
        }
        desk.apply(&state("red", "red"));
        for frame in frames() {
            assert!(desk.passes(Way::In, &frame));
        }
    });
}
