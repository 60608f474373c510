//! Somebody writes to the maps, removes pins and detaches programs behind the agent's back: it is noticed, counted, put right.

use std::time::Duration;

use ringfence_agent::dataplane::{self, Kernel as _};
use ringfence_common::{
    cell::Cell,
    config::Config,
    endpoint::{FarWord, NEAR_IFINDEX, SourceWord},
    metadata::SIEVE_WORDS,
};
use ringfence_tests::{
    desk::{Desk, options},
    packet::{Way, tcp::SYN},
    sandbox::sandbox,
};

use super::{FRIEND, POD, STRANGER, only, tcp, with};

/// More steps than two rounds have.
const STEPS: usize = 600;

/// The pod on the desk, only its friend let in on port 80, audited without a pause.
fn audited(body: impl FnOnce(&mut Desk) + Send + 'static) {
    sandbox(move |bpffs| {
        let mut options = options(bpffs);
        options.audit_interval = Duration::ZERO;
        body(&mut Desk::with(&options, &guarded()));
    });
}

fn guarded() -> String {
    with(&[only("ingress", "friend", 80)])
}

fn audit(desk: &mut Desk) {
    for _ in 0..STEPS {
        desk.kernel.audit();
    }
}

fn drift(desk: &Desk, kind: &str) -> u64 {
    desk.kernel.counters().expect("the maps can be read").drift[kind]
}

fn total(desk: &Desk) -> u64 {
    desk.kernel
        .counters()
        .expect("the maps can be read")
        .drift
        .values()
        .sum()
}

/// A SYN from a new port each time; true if the friend's passes. The stranger's never does.
fn judged(desk: &Desk, port: u16) -> bool {
    let syn = |from, local| tcp(Way::In, (POD[0], local), (from, port), SYN);
    assert!(!desk.passes(Way::In, &syn(FRIEND[0], 81)), "port 81");
    assert!(!desk.passes(Way::In, &syn(STRANGER[0], 80)), "a stranger");
    desk.passes(Way::In, &syn(FRIEND[0], 80))
}

#[test]
fn nothing_is_found_where_nothing_is_wrong_whatever_is_edited_meanwhile() {
    audited(|desk| {
        let manifests = [
            guarded(),
            with(&[
                only("ingress", "stranger", 80),
                only("egress", "friend", 443),
            ]),
            with(&[]),
            with(&[only("egress", "stranger", 5)]),
        ];
        audit(desk);
        for round in 0..40 {
            desk.apply(&manifests[round % manifests.len()]);
            // An edit in the midst of a round, each time elsewhere.
            for _ in 0..7 {
                desk.kernel.audit();
            }
        }
        audit(desk);
        assert_eq!(
            total(desk),
            0,
            "{:?}",
            desk.kernel.counters().expect("the maps can be read").drift
        );
    });
}

#[test]
fn elements_that_somebody_removed_changed_or_added_are_put_right() {
    audited(|desk| {
        assert!(judged(desk, 1000));
        audit(desk);
        assert_eq!(total(desk), 0);
        let maps = desk.kernel.maps();
        let class = maps.classes.keys().next().unwrap().unwrap();
        maps.classes.remove(&class).unwrap();
        let friend = [10, 0, 0, 20];
        let word = maps.addresses4.get(&friend, 0).unwrap();
        maps.addresses4.remove(&friend).unwrap();
        let rule = maps.rules.keys().next().unwrap().unwrap();
        maps.rules.remove(&rule).unwrap();
        assert!(!judged(desk, 1001), "nobody knows the friend");
        audit(desk);
        assert_eq!(drift(desk, "missing"), 3);
        assert!(judged(desk, 1002));

        let tables: Vec<_> = desk.kernel.installed().tables.values().copied().collect();
        let maps = desk.kernel.maps();
        for table in tables {
            for at in 0..table.rows * u32::from(table.table.columns) {
                let cell = table.table.cells + at;
                maps.cells.set(cell, Cell::default(), 0).unwrap();
            }
        }
        maps.config.set(0, Config::default(), 0).unwrap();
        assert!(!judged(desk, 1003));
        audit(desk);
        assert_eq!(drift(desk, "changed"), 2);
        assert!(judged(desk, 1004));

        // An address that is nobody's, and an interface that is no pod's.
        let maps = desk.kernel.maps();
        maps.addresses4.insert([10, 9, 9, 9], word, 0).unwrap();
        let endpoint = maps.endpoints.get(&1, 0).unwrap();
        maps.endpoints.set(77, endpoint, 0).unwrap();
        audit(desk);
        assert_eq!(drift(desk, "unknown"), 1);
        let maps = desk.kernel.maps();
        assert!(maps.addresses4.get(&[10, 9, 9, 9], 0).is_err());
        assert_eq!(drift(desk, "changed"), 3, "an endpoint that is none");
        assert!(judged(desk, 1005));
        let found = total(desk);
        audit(desk);
        assert_eq!(total(desk), found, "once each");
    });
}

#[test]
fn what_decides_beside_tables_is_put_right_too() {
    audited(|desk| {
        audit(desk);
        assert_eq!(total(desk), 0);
        let metadata = "169.254.169.254";
        let reaches_metadata = |desk: &Desk, port| {
            let syn = tcp(Way::Out, (POD[0], port), (metadata, 80), SYN);
            desk.passes(Way::Out, &syn)
        };
        assert!(!reaches_metadata(desk, 2000));
        let place = |desk: &Desk| {
            let endpoint = desk.kernel.installed().endpoints.values().next().unwrap();
            u32::from(endpoint.record.source)
        };
        let place = place(desk);
        let maps = desk.kernel.maps();
        for word in 0..u32::try_from(SIEVE_WORDS).unwrap() {
            maps.metadata_sieve.set(word, 0, 0).unwrap();
        }
        assert!(
            reaches_metadata(desk, 2001),
            "nothing is sieved out any more"
        );
        let maps = desk.kernel.maps();
        let known: Vec<_> = maps.metadata.iter().map(Result::unwrap).collect();
        let (gone, other) = (known[0], known[1]);
        maps.metadata.remove(&gone.0).unwrap();
        maps.metadata.insert(other.0, gone.1, 0).unwrap();
        maps.metadata.insert([9; 16], gone.1, 0).unwrap();
        // A cgroup that nobody granted anything, and an interface that is none.
        maps.grants.insert(77, u64::MAX, 0).unwrap();
        let far = FarWord::new(70_000, NEAR_IFINDEX);
        maps.far_endpoints.insert(70_000, far, 0).unwrap();
        let source = maps.sources.get(&place, 0).unwrap();
        assert!(source.is_guarded());
        maps.sources.set(place, SourceWord::NONE, 0).unwrap();
        maps.sources.set(place + 1, source, 0).unwrap();
        audit(desk);

        assert!(!reaches_metadata(desk, 2002));
        let maps = desk.kernel.maps();
        assert_eq!(maps.metadata.get(&gone.0, 0).unwrap(), gone.1);
        assert_eq!(maps.metadata.get(&other.0, 0).unwrap(), other.1);
        assert_eq!(maps.metadata.keys().count(), known.len());
        assert_eq!(maps.grants.keys().count(), 0);
        assert_eq!(maps.far_endpoints.keys().count(), 0);
        assert_eq!(maps.sources.get(&place, 0).unwrap(), source);
        assert_eq!(maps.sources.get(&(place + 1), 0).unwrap(), SourceWord::NONE);
        assert_eq!(drift(desk, "missing"), 1);
        assert_eq!(drift(desk, "unknown"), 3);
        let sieved = drift(desk, "changed") - 3;
        assert!((1..=known.len() as u64).contains(&sieved), "{sieved}");
        let found = total(desk);
        audit(desk);
        assert_eq!(total(desk), found, "once each");
    });
}

#[test]
fn links_and_pins_that_somebody_removed_come_back() {
    sandbox(|bpffs| {
        let mut options = options(bpffs);
        options.audit_interval = Duration::ZERO;
        let mut desk = Desk::with(&options, &guarded());
        let ours = || {
            let all = dataplane::attached("lo").unwrap();
            all.iter().filter(|program| program.ours).count()
        };
        audit(&mut desk);
        // Two of the pod that is there, and the one of every `lo`.
        assert_eq!((ours(), total(&desk)), (3, 0));
        let pins = options
            .bpffs
            .join(format!("v{}", ringfence_common::ABI_VERSION));
        std::fs::remove_file(pins.join("links/1-to_pod")).unwrap();
        assert_eq!(ours(), 2, "its pin was all that held the link");
        std::fs::remove_file(pins.join("maps/CELLS")).unwrap();
        // Another map in the place of one of ours.
        std::fs::remove_file(pins.join("maps/RULES")).unwrap();
        std::fs::hard_link(pins.join("maps/NAMES"), pins.join("maps/RULES")).unwrap();
        audit(&mut desk);
        assert_eq!((drift(&desk, "attachment"), drift(&desk, "pin")), (1, 2));
        assert_eq!(ours(), 3);
        assert!(judged(&desk, 1000));
        let rules = desk.kernel.installed().rules.clone();
        drop(desk);
        // Who comes after finds everything.
        let heir = dataplane::open(&options).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(heir.installed().rules, rules);
        assert!(!heir.installed().tables.is_empty());
    });
}
