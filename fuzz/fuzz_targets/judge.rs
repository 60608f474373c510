//! The whole judge over stories of packets, time and changes of policy, beside a naive oracle.
//!
//! **Invariant.** What the oracle says must not pass does not, what it says must pass does; what leaves a pod says so in its
//! mark, and where it leaves the node untranslated it is judged literally.
//!
//! With `RINGFENCE_TELL` in the environment a story is told on standard error, step by step.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ringfence_common::{
    Hook,
    cell::Verdict,
    judge::{Context, Outcome, judge, leaving},
    mark::Stamp,
};
use ringfence_fuzz::{
    flow::{Arrival, Way},
    input::{Step, Story},
    naive::{self, Packet, Read},
    oracle::Oracle,
    tables::{IFINDEX, PLACE, UPLINK, World},
};

static TELL: LazyLock<bool> = LazyLock::new(|| std::env::var_os("RINGFENCE_TELL").is_some());

fuzz_target!(|bytes: &[u8]| {
    let Some(story) = Story::new(bytes) else {
        return;
    };
    let policies = story.policies.clone();
    let mut world = World::new(policies[0].clone(), story.granted);
    let per_second = world.config.ticks(1);
    let mut oracle = Oracle::new(policies[0].clone(), story.granted, per_second);
    let mut current = 0;
    if *TELL {
        eprintln!("{policies:#?}");
    }
    for step in story {
        if *TELL && !matches!(step, Step::Packet { .. }) {
            eprintln!("{step:?}");
        }
        match step {
            Step::Wait(seconds) => world.now += world.config.ticks(seconds),
            Step::Switch => {
                current ^= 1;
                world.switch(policies[current].clone());
                oracle.switch(policies[current].clone());
            }
            Step::Bear => {
                world.bear();
                oracle.bear();
            }
            Step::Packet {
                arrival,
                mark,
                frame,
            } => meet(&world, &mut oracle, arrival, mark, &frame),
        }
    }
});

/// One packet, judged by both.
fn meet(world: &World, oracle: &mut Oracle, arrival: Arrival, mark: u32, frame: &[u8]) {
    let context = Context {
        hook: match arrival.way {
            Way::Out => Hook::FromPod,
            Way::In => Hook::ToPod,
        },
        ifindex: IFINDEX,
        ingress: arrival.ingress,
        mark,
    };
    let outcome = judge(world, frame, &context);
    let passes = outcome.verdict == Verdict::Allow;
    let read = naive::read(frame);
    if *TELL {
        eprintln!("{arrival:?}\n  {read:?}\n  {outcome:?}");
    }
    let now = world.now;
    let hardware = frame
        .get(6..12)
        .and_then(|it| it.try_into().ok())
        .unwrap_or_default();
    if passes {
        assert!(
            oracle.may_pass(arrival, &read, hardware, now),
            "passed, and must not: {outcome:?} {arrival:?} {read:?}"
        );
    }
    let Read::Ip(packet) = read else {
        return;
    };
    if oracle.must_pass(arrival, &packet, now) {
        assert!(
            passes,
            "dropped, and must not be: {outcome:?} {arrival:?} {packet:?}"
        );
    }
    if !passes {
        return;
    }
    if arrival.way == Way::Out {
        leave(world, oracle, frame, &packet, outcome);
    }
    oracle.passed(arrival, &packet, now);
}

/// What passed its pod's hook goes on to where it leaves the node.
fn leave(world: &World, oracle: &Oracle, frame: &[u8], packet: &Packet, outcome: Outcome) {
    let to_itself = naive_own(packet);
    if packet.is_discovery() || to_itself {
        return;
    }
    let stamp = outcome.stamp;
    assert!(
        stamp == Stamp::FINAL || stamp == Stamp(PLACE),
        "a pod's packet does not say whose it is: {outcome:?} {packet:?}"
    );
    if stamp == Stamp::FINAL {
        assert!(
            oracle.may_be_final(packet, world.now),
            "judged for good, though it may become another: {outcome:?} {packet:?}"
        );
        return;
    }
    let context = Context {
        hook: Hook::ToHost,
        ifindex: UPLINK,
        ingress: IFINDEX,
        mark: world.config.mark.stamped(0, stamp),
    };
    let left = leaving(world, frame, &context, None).verdict == Verdict::Allow;
    let Some(flow) = oracle.leaving(packet) else {
        return;
    };
    let literally = oracle.literally(Way::Out, &flow);
    assert!(
        literally || !left,
        "left the node against policy: {packet:?}"
    );
    if packet.plain && packet.source == Oracle::own(packet.source.is_ipv6()) {
        assert!(left || !literally, "could not leave the node: {packet:?}");
    }
}

fn naive_own(packet: &Packet) -> bool {
    packet.destination == Oracle::own(packet.destination.is_ipv6())
}
