//! Parser and judge on the host: the very code that the kernel runs, on maps made of collections, over bytes that a
//! kernel's test run would refuse.

use proptest::{collection::vec, prelude::*};
use ringfence_agent::dataplane::fake::FakeMaps;
use ringfence_common::{
    Hook,
    cell::{Cell, Tier, Verdict},
    endpoint::{EndpointRecord, EndpointWord, SourceWord},
    event::Reason,
    judge::{Context, LOOPBACK, Outcome, Socket, firewall, judge},
    mark::{MarkLayout, Stamp},
    metadata::{Grants, MetadataWord, layers, mapped},
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

const IMDS: [u8; 4] = [169, 254, 169, 254];
/// The pod's place in `SOURCES`.
const PLACE: Stamp = Stamp(3);
/// A device that leads to pods, and is none's.
const BRIDGE: u32 = 9;
/// A cgroup below the pods'.
const CGROUP: u64 = 4711;

/// TCP to this address, port 80, as it is behind the frame.
fn segment(to: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0];
    packet.extend(POD);
    packet.extend(to);
    packet.extend([
        0x0f, 0xa0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0,
    ]);
    packet
}

/// A pod that was granted this, with a metadata service that is endpoint 0.
fn with_metadata(grants: Grants) -> FakeMaps {
    let mut maps = maps(None);
    let key = mapped(&IMDS);
    maps.metadata.insert(key, MetadataWord::new(&key, 0, 0, 0));
    let record = maps.records.get_mut(&1).expect("it is there");
    record.grants = grants.0;
    record.source = PLACE.0;
    maps.sources.insert(PLACE.0, SourceWord::new(IFINDEX, 0));
    maps.bridges.insert(BRIDGE);
    maps
}

fn asks(maps: &FakeMaps, hook: Hook, ingress: u32, stamp: Stamp) -> Verdict {
    let context = Context {
        hook,
        ifindex: 7,
        ingress,
        mark: MarkLayout::DEFAULT.stamped(0, stamp),
    };
    let bytes = segment(IMDS);
    firewall(maps, bytes.as_slice(), &context, Some(0x0800)).verdict
}

#[test]
fn a_forwarded_packet_passes_by_its_device_or_by_a_mark_that_a_pods_hook_wrote() {
    let granted = with_metadata(Grants::new(1, 0));
    for (ingress, stamp, expect) in [
        (IFINDEX, Stamp::NONE, Verdict::Allow),
        (BRIDGE, PLACE, Verdict::Allow),
        (BRIDGE, Stamp::NONE, Verdict::Deny),
        (BRIDGE, Stamp::FINAL, Verdict::Deny),
        (7, PLACE, Verdict::Deny),
        (LOOPBACK, PLACE, Verdict::Deny),
    ] {
        let found = asks(&granted, Hook::ToHost, ingress, stamp);
        assert_eq!(found, expect, "{ingress}, {stamp:?}");
    }
    for (grants, what) in [
        (Grants::NONE, "none"),
        (Grants::new(0, 1), "asks, and does not reach"),
        (Grants::new(2, 0), "another"),
    ] {
        let maps = with_metadata(grants);
        for ingress in [IFINDEX, BRIDGE] {
            let found = asks(&maps, Hook::ToHost, ingress, PLACE);
            assert_eq!(found, Verdict::Deny, "{what}");
        }
    }
}

#[test]
fn a_packet_of_this_machine_passes_by_its_socket() {
    let mut maps = with_metadata(Grants::ALL);
    for (socket, grants, reaches, may_ask) in [
        (Socket::NOBODY, Grants::ALL, Verdict::Deny, Verdict::Deny),
        (Socket::NODE, Grants::NONE, Verdict::Allow, Verdict::Deny),
        (Socket(CGROUP), Grants::NONE, Verdict::Deny, Verdict::Deny),
        (
            Socket(CGROUP),
            Grants::new(0, 1),
            Verdict::Deny,
            Verdict::Allow,
        ),
        (
            Socket(CGROUP),
            Grants::new(1, 0),
            Verdict::Allow,
            Verdict::Allow,
        ),
    ] {
        maps.socket = socket;
        maps.catalogue.grants = [(CGROUP, grants.0)].into_iter().collect();
        for stamp in [Stamp::NONE, PLACE] {
            for hook in [Hook::ToHost, Hook::Lo] {
                assert_eq!(asks(&maps, hook, 0, stamp), reaches, "{socket:?}, {hook:?}");
            }
            let found = asks(&maps, Hook::SocketPackets, 0, stamp);
            assert_eq!(found, may_ask, "{socket:?}");
        }
    }
    maps.config.metadata_layers = layers::ALL & !layers::TO_HOST;
    maps.socket = Socket::NOBODY;
    assert_eq!(asks(&maps, Hook::ToHost, 0, Stamp::NONE), Verdict::Allow);
    assert_eq!(asks(&maps, Hook::Lo, 0, Stamp::NONE), Verdict::Deny);
}
