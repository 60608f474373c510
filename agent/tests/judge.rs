//! Parser and judge on the host: the very code that the kernel runs, on maps made of collections, over bytes that a
//! kernel's test run would refuse.

use proptest::{collection::vec, prelude::*};
use ringfence_agent::dataplane::fake::FakeMaps;
use ringfence_common::{
    Hook,
    cell::{Cell, Tier, Verdict},
    endpoint::{EndpointRecord, EndpointWord},
    event::Reason,
    judge::{Context, Outcome, judge},
    table::{NO_PAGES, TableRef},
};

const IFINDEX: u32 = 5;
const POD: [u8; 4] = [10, 0, 0, 10];

/// A pod whose ingress table is one cell, and whose egress is free.
fn maps(cell: Option<Cell>) -> FakeMaps {
    let mut maps = FakeMaps::default();
    let ingress = TableRef {
        id: 1,
        cells: 3,
        pages: NO_PAGES,
        columns: 1,
        flags: 0,
    };
    let record = EndpointRecord {
        born: 1,
        addresses4: [POD, [0; 4]],
        ingress,
        ..EndpointRecord::default()
    };
    maps.records.insert(1, record);
    maps.endpoints.insert(IFINDEX, EndpointWord::new(1, 1));
    maps.cells.extend(cell.map(|cell| (3, cell)));
    maps
}

fn run(maps: &FakeMaps, hook: Hook, frame: &[u8]) -> Outcome {
    judge(
        maps,
        frame,
        &Context {
            hook,
            ifindex: IFINDEX,
            ingress: 7,
            mark: 0,
        },
    )
}

/// UDP from 10.0.0.20 port 4000 to the pod's port 53.
fn datagram() -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([
        0x08, 0x00, 0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 20, 10, 0, 0, 10,
    ]);
    frame.extend([0x0f, 0xa0, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4]);
    frame
}

const ALLOW: Cell = Cell::new(Verdict::Allow, Verdict::Allow, Tier::NetworkPolicy, 1);

#[test]
fn a_cell_that_nobody_wrote_allows_nothing() {
    let written = run(&maps(Some(ALLOW)), Hook::ToPod, &datagram());
    assert_eq!(
        (written.verdict, written.reason),
        (Verdict::Allow, Reason::Policy)
    );
    for missing in [None, Some(Cell::default())] {
        let outcome = run(&maps(missing), Hook::ToPod, &datagram());
        assert_eq!(
            (outcome.verdict, outcome.reason),
            (Verdict::Deny, Reason::BadCell)
        );
    }
}

#[test]
fn every_prefix_of_a_packet_is_truncated() {
    let maps = maps(Some(ALLOW));
    let whole = datagram();
    for length in 0..whole.len() {
        let outcome = run(&maps, Hook::ToPod, &whole[..length]);
        assert_eq!(
            (outcome.verdict, outcome.reason),
            (Verdict::Deny, Reason::Truncated),
            "{length} bytes"
        );
    }
    assert_eq!(run(&maps, Hook::ToPod, &whole).verdict, Verdict::Allow);
}

#[test]
fn a_device_without_endpoint_lets_nothing_through() {
    let maps = maps(Some(ALLOW));
    let context = Context {
        hook: Hook::ToPod,
        ifindex: IFINDEX + 1,
        ingress: 7,
        mark: 0,
    };
    assert_eq!(
        judge(&maps, &datagram()[..], &context).reason,
        Reason::UnknownEndpoint
    );
}

/// Frames with something in them: a good one with bytes overwritten, so that lengths, flags and types go wrong.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let ethertypes = prop_oneof![
        Just([0x08, 0x00]),
        Just([0x86, 0xdd]),
        Just([0x08, 0x06]),
        Just([0x81, 0x00]),
        any::<[u8; 2]>()
    ];
    let noise = (ethertypes, vec(any::<u8>(), 0..120)).prop_map(|(ethertype, payload)| {
        let mut frame = vec![0; 12];
        frame.extend(ethertype);
        frame.extend(payload);
        frame
    });
    let spoiled = vec((0..datagram().len(), any::<u8>()), 0..4).prop_map(|changes| {
        let mut frame = datagram();
        changes
            .into_iter()
            .for_each(|(at, value)| frame[at] = value);
        frame
    });
    prop_oneof![noise, spoiled]
}

proptest! {
    /// Whatever the bytes: an outcome, never a panic; and with a table that denies everything nothing but
    /// neighbour messages reaches the pod.
    #[test]
    fn nothing_slips_through_a_closed_table(frame in frames()) {
        let closed = Cell::new(Verdict::Deny, Verdict::Deny, Tier::NetworkPolicy, 1);
        let outcome = run(&maps(Some(closed)), Hook::ToPod, &frame);
        let may_pass = matches!(outcome.reason, Reason::Neighbour | Reason::ToItself | Reason::Adopted);
        prop_assert!(outcome.verdict == Verdict::Deny || may_pass, "{outcome:?}");
        let sent = run(&maps(None), Hook::FromPod, &frame);
        let own = frame.get(26..30).is_some_and(|source| source == POD) || frame.get(12..14).unwrap() != [8, 0];
        prop_assert!(sent.verdict == Verdict::Deny || own, "{sent:?}");
    }
}
