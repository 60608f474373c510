//! Plans, step by step: after each of them every packet is judged wholly by the old state or wholly by the new one.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

mod metadata;
mod room;
mod world;

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use ringfence_agent::{
    dataplane::fake::FakeMaps,
    diff::{Installed, Limits, Op, Planner, Wanted, diff},
};
use ringfence_common::judge::Tables as _;

use world::{NETS, World, cells, desired, judged, says, world};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 3000 }))]

    /// Through a random history of worlds, at every step of every plan.
    #[test]
    fn no_step_shows_a_mixture(worlds in vec(world(), 1..6)) {
        let mut installed = Installed::default();
        let mut maps = FakeMaps::default();
        let mut before: Option<World> = None;
        let grants = BTreeMap::new();
        for world in worlds {
            let desired = desired(&world);
            let plan = diff(&installed, Wanted { desired: &desired, grants: &grants }, &Limits::default()).unwrap();
            for op in &plan.ops {
                maps.execute(op);
                for (endpoint, address, port) in cells() {
                    let Some(got) = judged(&maps, endpoint, address, port) else { continue };
                    let new = says(&world, endpoint, address.into(), port);
                    let old = before.as_ref().is_some_and(|old| says(old, endpoint, address.into(), port));
                    prop_assert!(got == new || got == old, "{op:?}: endpoint {endpoint} {address}:{port} {got}");
                }
            }
            for (endpoint, address, port) in cells() {
                let new = says(&world, endpoint, address.into(), port);
                prop_assert_eq!(judged(&maps, endpoint, address, port), Some(new), "{} {}:{}", endpoint, address, port);
            }
            installed = plan.after;
            let again = diff(&installed, Wanted { desired: &desired, grants: &grants }, &Limits::default()).unwrap();
            prop_assert_eq!(again.ops, Vec::<Op>::new(), "a second time there is nothing to do");
            before = Some(world);
        }
    }

    /// Killed at any operation: what is read back leads to the same state, and every endpoint has a new generation.
    #[test]
    fn a_crash_at_any_point_leads_to_the_same_state(old in world(), new in world(), at in any::<prop::sample::Index>()) {
        let limits = Limits::default();
        let grants = BTreeMap::new();
        let mut maps = FakeMaps::default();
        let (first, second) = (desired(&old), desired(&new));
        let plan = diff(&Installed::default(), Wanted { desired: &first, grants: &grants }, &limits).unwrap();
        plan.ops.iter().for_each(|op| maps.execute(op));
        let before = maps.read();
        prop_assert_eq!(&before, &plan.after, "what is read back is what was planned");
        let plan = diff(&before, Wanted { desired: &second, grants: &grants }, &limits).unwrap();
        let crash = at.index(plan.ops.len() + 1);
        plan.ops[..crash].iter().for_each(|op| maps.execute(op));
        let after = maps.read();
        let plan = diff(&after, Wanted { desired: &second, grants: &grants }, &limits).unwrap();
        for op in &plan.ops {
            maps.execute(op);
            for (endpoint, address, port) in cells() {
                let got = judged(&maps, endpoint, address, port).unwrap_or(false);
                let states = [&old, &new].map(|world| says(world, endpoint, address.into(), port));
                prop_assert!(states.contains(&got), "{op:?}: endpoint {endpoint} {address}:{port} {got}");
            }
        }
        for (endpoint, address, port) in cells() {
            let expected = says(&new, endpoint, address.into(), port);
            prop_assert_eq!(judged(&maps, endpoint, address, port), Some(expected));
            if says(&old, endpoint, address.into(), port) != expected {
                let ifindex = u32::try_from(endpoint).unwrap() + 10;
                let generation = maps.endpoint(ifindex).generation();
                prop_assert!(generation > before.endpoints[&ifindex].word.generation());
            }
        }
    }

    /// Whatever changed for a packet, its endpoint has a new generation; what did not change needs none.
    #[test]
    fn every_changed_verdict_comes_with_a_new_generation(old in world(), new in world()) {
        let mut maps = FakeMaps::default();
        let grants = BTreeMap::new();
        let mut installed = Installed::default();
        let mut generations = Vec::new();
        for world in [&old, &new] {
            let desired = desired(world);
            let plan = diff(&installed, Wanted { desired: &desired, grants: &grants }, &Limits::default()).unwrap();
            plan.ops.iter().for_each(|op| maps.execute(op));
            installed = plan.after;
            generations.push([10, 11].map(|ifindex| maps.endpoint(ifindex).generation()));
        }
        for (endpoint, address, port) in cells() {
            if says(&old, endpoint, address.into(), port) != says(&new, endpoint, address.into(), port) {
                prop_assert!(generations[1][endpoint] > generations[0][endpoint]);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_whole_with_the_number_that_would() {
    let rows = BTreeMap::from([(1, [true, false]), (2, [false, true])]);
    let world = World {
        nets: BTreeMap::from([("10.1.1.1/32", 1), ("10.2.0.1/32", 2)]),
        tables: vec![Some(rows), None],
        split: 80,
    };
    let desired = desired(&world);
    let grants = BTreeMap::new();
    let wanted = Wanted {
        desired: &desired,
        grants: &grants,
    };
    let limits = Limits {
        cells: 5,
        ..Limits::default()
    };
    let full = diff(&Installed::default(), wanted, &limits).unwrap_err();
    assert_eq!(
        (full.map, full.needed, full.limit, full.flag),
        ("CELLS", 6, 5, "--cell-entries")
    );
    let limits = Limits {
        cells: 6,
        ..Limits::default()
    };
    assert!(diff(&Installed::default(), wanted, &limits).is_ok());
}

#[test]
fn a_generation_is_never_given_out_twice() {
    let limits = Limits::default();
    let grants = BTreeMap::new();
    let mut installed = Installed::default();
    let mut last = 0;
    for split in [80, 256, 80, 256] {
        let rows = BTreeMap::from([(0, [true, false])]);
        let world = World {
            nets: BTreeMap::new(),
            tables: vec![Some(rows), None],
            split,
        };
        let desired = desired(&world);
        let plan = diff(
            &installed,
            Wanted {
                desired: &desired,
                grants: &grants,
            },
            &limits,
        )
        .unwrap();
        let generation = plan.after.endpoints[&10].word.generation();
        assert!(generation > last);
        last = generation;
        installed = plan.after;
    }
}

/// A limit of [`Limits`], with the map that it is about and the flag that raises it.
type Limit = (
    fn(&mut Limits) -> &mut u32,
    &'static [&'static str],
    &'static str,
);

#[test]
fn every_map_that_is_too_small_is_named_and_the_state_before_goes_on() {
    let cases: [Limit; 9] = [
        (|it| &mut it.addresses, &["ADDRESSES4"], "--address-entries"),
        (|it| &mut it.networks, &["NETWORKS4"], "--network-entries"),
        (|it| &mut it.classes, &["CLASSES"], "--class-entries"),
        (|it| &mut it.cells, &["CELLS"], "--cell-entries"),
        (|it| &mut it.pages, &["PAGES"], "--page-entries"),
        (
            |it| &mut it.endpoints,
            &["RECORDS", "NAMES"],
            "--endpoint-entries",
        ),
        (|it| &mut it.rules, &["RULES"], "--rule-entries"),
        (
            |it| &mut it.identities,
            &["IDENTITIES"],
            "--identity-entries",
        ),
        (|it| &mut it.tables, &["TABLES"], "--table-entries"),
    ];
    let rows = |allowed: &[u8]| {
        allowed
            .iter()
            .map(|&number| (number, [true, false]))
            .collect()
    };
    let small = desired(&World {
        nets: BTreeMap::from([("10.1.1.1/32", 1), ("10.1.0.0/16", 2)]),
        tables: vec![Some(rows(&[1])), None],
        split: 80,
    });
    let mut large = desired(&World {
        nets: NETS
            .into_iter()
            .zip([1, 2, 3, 4].into_iter().cycle())
            .collect(),
        tables: vec![Some(rows(&[1, 3])), Some(rows(&[2, 4]))],
        split: 443,
    });
    large.rules.insert(2, "one more".to_owned());
    let grants = BTreeMap::new();
    let wanted = |desired| Wanted {
        desired,
        grants: &grants,
    };
    for (limit, maps, flag) in cases {
        let mut limits = Limits::default();
        // As much as the small state takes.
        *limit(&mut limits) = 1;
        let plan = loop {
            match Planner::default().plan(wanted(&small), &limits) {
                Ok(plan) => break plan,
                Err(_full) => *limit(&mut limits) += 1,
            }
        };
        let mut planner = Planner::default();
        planner.done(plan);
        let before = planner.installed().clone();
        let full = planner.plan(wanted(&large), &limits).unwrap_err();
        assert!(maps.contains(&full.map), "{full:?}");
        assert_eq!(full.flag, flag);
        assert!(full.needed > full.limit, "{full:?}");
        assert_eq!(planner.installed(), &before, "the state before stays");
        let again = planner.plan(wanted(&small), &limits).unwrap();
        assert_eq!(again.ops, [], "and is still wanted");
        // Whoever does as told gets there; gaps may take a second time.
        let mut told = 0;
        while let Err(full) = planner.plan(wanted(&large), &limits) {
            assert_eq!(full.flag, flag);
            *limit(&mut limits) = u32::try_from(full.needed).unwrap();
            told += 1;
            assert!(told < 4, "{full:?}");
        }
    }
}
