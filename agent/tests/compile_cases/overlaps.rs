//! Zones that overlap, and names that are nobody's.

use ringfence_agent::model::ZoneRule;

use super::{
    zoned::{
        SSH, allow, deny, except, expect, isolated, networks, workloads, zone, zone_policy, zoned,
    },
    *,
};

#[test]
fn who_is_in_two_zones_is_isolated_by_both_denied_by_each_and_allowed_by_none() {
    let both = || vec![workloads(&["shop"], &["db"])];
    let snapshot = zoned(
        vec![
            isolated("one", both()),
            zone(
                "two",
                [both(), vec![workloads(&["ops"], &["web"])]].concat(),
            ),
        ],
        vec![
            allow(&["World"], &["one"], tcp(80, 80)),
            allow(&["World"], &["Cluster"], tcp(81, 81)),
            deny(&["two"], &["Any"], tcp(443, 443)),
            ZoneRule {
                except: vec![except(Some(&["two"]), None, Ports::Any)],
                ..deny(&["Any"], &["World"], tcp(25, 25))
            },
        ],
    );
    let port = |number| Some((TCP, number));
    expect(
        &snapshot,
        &[
            ("203.0.113.1", "shop/db", HTTP, false),
            ("203.0.113.1", "shop/db", port(81), true),
            ("shop/db", "203.0.113.1", port(443), false),
            ("shop/db", "203.0.113.1", port(444), true),
            // The exception is for whoever is in "two" alone.
            ("shop/db", "203.0.113.1", port(25), false),
            ("ops/web", "203.0.113.1", port(25), true),
            // Nobody's same zone.
            ("ops/web", "shop/db", HTTP, false),
        ],
    );
}

#[test]
fn who_is_in_two_zones_is_not_unzoned() {
    let both = || vec![workloads(&["shop"], &["db"])];
    let snapshot = zoned(
        vec![zone("one", both()), zone("two", both())],
        vec![deny(&["Unzoned"], &["World"], Ports::Any)],
    );
    expect(
        &snapshot,
        &[
            ("shop/db", "203.0.113.1", HTTP, true),
            ("shop/web", "203.0.113.1", HTTP, false),
        ],
    );
}

#[test]
fn the_same_network_twice_is_an_overlap() {
    let snapshot = zoned(
        vec![
            isolated("one", vec![networks(&["192.0.2.0/24"], &[])]),
            zone(
                "two",
                vec![networks(&["192.0.2.0/24", "198.51.100.0/24"], &[])],
            ),
        ],
        vec![allow(&["Cluster"], &["one", "two"], Ports::Any)],
    );
    expect(
        &snapshot,
        &[
            ("shop/db", "192.0.2.1", HTTP, false),
            ("shop/db", "198.51.100.1", HTTP, true),
        ],
    );
}

#[test]
fn a_name_that_resolves_to_nothing_matches_nothing_and_the_rest_holds() {
    let snapshot = zoned(
        vec![zone("web", vec![workloads(&[], &["web"])])],
        vec![
            deny(&["nowhere", "web"], &["World"], tcp(80, 80)),
            ZoneRule {
                except: vec![except(Some(&["nowhere"]), None, Ports::Any)],
                ..deny(&["web"], &["World"], tcp(81, 81))
            },
        ],
    );
    expect(
        &snapshot,
        &[
            ("shop/web", "203.0.113.1", HTTP, false),
            ("shop/db", "203.0.113.1", HTTP, true),
            ("shop/web", "203.0.113.1", Some((TCP, 81)), false),
        ],
    );
}

#[test]
fn an_address_that_several_pods_claim_is_in_the_zones_of_each() {
    let twins = vec![pod("ops/one", &["10.0.5.7"]), pod("ops/two", &["10.0.5.7"])];
    let mut snapshot = world([usual(), twins].concat(), Vec::new());
    for name in ["ops/one", "ops/two"] {
        // Neither is on this node.
        snapshot.local.remove(&key(name));
    }
    let quarantine = zone("quarantine", vec![workloads(&["ops"], &["one", "two"])]);
    snapshot.zones.insert("quarantine".to_owned(), quarantine);
    let other = zone("other", vec![workloads(&["ops"], &["web"])]);
    snapshot.zones.insert("other".to_owned(), other);
    let rules = vec![deny(&["quarantine"], &["Any"], tcp(80, 80))];
    snapshot
        .zone_policies
        .insert("zp".to_owned(), zone_policy(rules));
    expect(
        &snapshot,
        &[
            ("10.0.5.7", "shop/db", HTTP, false),
            ("10.0.5.7", "shop/db", SSH, true),
            ("ops/web", "shop/db", HTTP, true),
        ],
    );
}

#[test]
fn names_that_are_nobodys_and_zones_that_overlap_are_told() {
    let both = || vec![workloads(&["shop"], &["db"])];
    let snapshot = zoned(
        vec![zone("one", both()), zone("two", both())],
        vec![allow(&["one", "nowhere"], &["two"], Ports::Any)],
    );
    let (_, told) = compile(&snapshot, &Options::default());
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    let [one, two, unknown] = &told[..] else {
        panic!("{told:#?}")
    };
    for (said, name) in [(one, "SecurityZone/one"), (two, "SecurityZone/two")] {
        assert!(
            said.contains(name) && said.contains("1 pods (in shop)") && !said.contains("  "),
            "{said}"
        );
    }
    assert!(
        unknown.contains("ZonePolicy/zp: spec.rules[0].from: there is no SecurityZone \"nowhere\""),
        "{unknown}"
    );
    let mended = zoned(
        vec![zone("one", both())],
        vec![allow(&["one"], &["one"], Ports::Any)],
    );
    assert_eq!(compile(&mended, &Options::default()).1, []);
}
