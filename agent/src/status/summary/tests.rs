//! Each condition with each of its reasons.

use std::{collections::BTreeMap, time::Instant};

use super::{super::fleet::Fleet, *};
use crate::{
    api::{NodeZoneState, NodeZoneStateSpec, NodeZoneStateStatus},
    compile::census,
    model::{
        Enforcement, Entity, Expiry, IntraZone, Members, MetadataAccess, MetadataFirewall, Node,
        Openness, Origin, Ports, Selector, Zone, ZoneAction, ZonePeer, ZonePolicy, ZoneRule,
    },
    watch::Revision,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What there is, and what nodes report.
#[derive(Default)]
struct World {
    snapshot: Snapshot,
    findings: BTreeMap<String, Vec<Diagnostic>>,
    fleet: Fleet,
}

fn versions(latest: i64, accepted: Option<i64>) -> Versions {
    let revision = |generation| Revision {
        uid: "u".into(),
        generation,
    };
    Versions {
        latest: revision(latest),
        accepted: accepted.map(revision),
    }
}

fn key(kind: Kind) -> ObjectKey {
    ObjectKey::new(kind, None, "x")
}

fn zone(members: Vec<Members>) -> Zone {
    Zone {
        name: "x".to_owned(),
        members,
        ingress: Openness::Isolated,
        egress: Openness::Open,
        intra_zone: IntraZone::Allow,
        enforcement: Enforcement::Enforce,
        origin: Origin::default(),
    }
}

fn policy(zone: &str, enforcement: Enforcement, expiry: Expiry) -> ZonePolicy {
    ZonePolicy {
        name: "x".to_owned(),
        rules: vec![ZoneRule {
            name: "r".to_owned(),
            action: ZoneAction::Allow,
            from: vec![ZonePeer::Zone(zone.to_owned())],
            to: vec![ZonePeer::Entity(Entity::Any)],
            ports: Ports::Any,
            except: Vec::new(),
            acknowledge_lockout: false,
            expiry,
        }],
        enforcement,
        canary: None,
        origin: Origin::default(),
    }
}

impl World {
    /// Nodes that have this generation of the object, or have refused it.
    fn nodes(mut self, kind: Kind, nodes: &[(&str, i64, Option<&str>)]) -> Self {
        for (name, generation, error) in nodes {
            let node = Node {
                name: (*name).to_owned(),
                ..Node::default()
            };
            self.snapshot.nodes.insert((*name).to_owned(), node);
            let mut state = NodeZoneState::new(name, NodeZoneStateSpec::default());
            state.status = Some(NodeZoneStateStatus {
                renew_time: Some(Time(Timestamp::now())),
                in_force: vec![version_print(kind.as_str(), "x", "u", *generation)],
                object_count: None,
                error: error.map(str::to_owned),
            });
            self.fleet.take(&state, true, Instant::now());
        }
        self.fleet.place(&self.snapshot, None);
        self
    }

    fn says(&self, kind: Kind, versions: &Versions, young: bool) -> BTreeMap<&'static str, String> {
        let view = View {
            snapshot: &self.snapshot,
            findings: &self.findings,
            census: &census(&self.snapshot),
            nodes: &self.fleet.roll(Instant::now()),
            denials: &Denials::of(&self.snapshot),
            host_enforced: false,
        };
        let summary = summarize(&key(kind), versions, &view, young);
        let said = summary.said.into_iter();
        said.map(|it| {
            (
                it.kind,
                format!("{:?} {}: {}", it.truth, it.reason, it.message),
            )
        })
        .collect()
    }
}

#[track_caller]
fn assert_says(said: &BTreeMap<&'static str, String>, expected: &[(&str, &str)]) {
    for (kind, start) in expected {
        let found = said.get(kind).map_or("nothing", String::as_str);
        assert!(found.starts_with(start), "{kind}: {found}");
    }
}

#[test]
fn programmed_means_this_version_at_every_node() {
    let kind = Kind::TenantIsolation;
    let world = World::default();
    let said = world.says(kind, &versions(2, Some(2)), false);
    assert_says(
        &said,
        &[
            ("Programmed", "Unknown NodesPending: no node"),
            ("Ready", "Unknown NodesPending"),
        ],
    );

    let world = World::default().nodes(kind, &[("w1", 1, None), ("w2", 1, None)]);
    let said = world.says(kind, &versions(2, Some(2)), true);
    assert_says(&said, &[("Programmed", "Unknown NodesPending: 0/2")]);
    let said = world.says(kind, &versions(2, Some(2)), false);
    assert_says(
        &said,
        &[("Programmed", "No NodesPending: 0/2, waiting: w1, w2")],
    );

    let world = World::default().nodes(kind, &[("w1", 2, None), ("w2", 1, None)]);
    let said = world.says(kind, &versions(2, Some(2)), true);
    assert_says(
        &said,
        &[
            ("Accepted", "Yes Accepted"),
            ("Programmed", "No NodesPending: 1/2, waiting: w2"),
            ("Enforcing", "No NotProgrammed"),
            ("Ready", "No NodesPending: Programmed: 1/2, waiting: w2"),
        ],
    );

    let world = World::default().nodes(kind, &[("w1", 2, None), ("w2", 1, Some("full"))]);
    let said = world.says(kind, &versions(2, Some(2)), false);
    assert_says(
        &said,
        &[(
            "Programmed",
            "No ProgrammingFailed: 1/2, waiting: w2; w2: full",
        )],
    );

    let world = World::default().nodes(kind, &[("w1", 2, None), ("w2", 2, None)]);
    let said = world.says(kind, &versions(2, Some(2)), false);
    assert_says(
        &said,
        &[
            ("Programmed", "Yes Programmed: 2/2"),
            ("Enforcing", "Yes Enforced"),
            ("Ready", "Yes Ready"),
        ],
    );
    // The same name, another incarnation.
    let mut other = versions(2, Some(2));
    other.latest.uid = "v".into();
    other.accepted = Some(other.latest.clone());
    assert_says(
        &world.says(kind, &other, false),
        &[("Programmed", "No NodesPending")],
    );
}

#[test]
fn what_cannot_be_used_says_why_and_what_stays() {
    let kind = Kind::MetadataFirewall;
    let mut world = World::default().nodes(kind, &[("w1", 2, None)]);
    let found = |field: &str, message: &str| Diagnostic {
        object: "MetadataFirewall/x".to_owned(),
        field: field.to_owned(),
        message: message.to_owned(),
        ..Diagnostic::default()
    };
    let found = vec![
        found("spec.a", "NotSupported: not yet"),
        found("spec.b", "wrong"),
        found("", "not in force"),
    ];
    world
        .findings
        .insert("MetadataFirewall/x".to_owned(), found);
    let said = world.says(kind, &versions(3, Some(2)), false);
    assert_says(
        &said,
        &[
            (
                "Accepted",
                "No NotSupported: spec.a: NotSupported: not yet; spec.b: wrong; not in force",
            ),
            (
                "Programmed",
                "No NotAccepted: generation 2 of it stays in force",
            ),
            ("Enforcing", "No NotAccepted"),
            ("Ready", "No NotSupported: Accepted"),
        ],
    );
    let said = world.says(kind, &versions(1, None), false);
    assert_says(&said, &[("Programmed", "No NotAccepted: no version")]);
}

#[test]
fn names_of_zones_resolve_to_zones_that_count() {
    let kind = Kind::ZonePolicy;
    let says = |zone_mode: Option<Enforcement>, mode| {
        let mut world = World::default().nodes(kind, &[("w1", 1, None)]);
        world
            .snapshot
            .zone_policies
            .insert("x".to_owned(), policy("x", mode, Expiry(None)));
        if let Some(enforcement) = zone_mode {
            let zone = Zone {
                enforcement,
                ..zone(Vec::new())
            };
            world.snapshot.zones.insert("x".to_owned(), zone);
        }
        world.says(kind, &versions(1, Some(1)), false)
    };
    let said = says(None, Enforcement::Enforce);
    assert_says(
        &said,
        &[
            (
                "ResolvedRefs",
                "No ZoneNotFound: there is no SecurityZone x",
            ),
            ("Programmed", "Yes"),
            ("Ready", "No ZoneNotFound"),
        ],
    );
    let audit = Some(Enforcement::Audit);
    assert_says(
        &says(audit, Enforcement::Enforce),
        &[("ResolvedRefs", "No ZoneNotEnforced")],
    );
    assert_says(
        &says(audit, Enforcement::Audit),
        &[
            ("ResolvedRefs", "Yes"),
            ("Enforcing", "No AuditMode"),
            ("Ready", "Yes"),
        ],
    );
    assert_says(
        &says(Some(Enforcement::Disabled), Enforcement::Audit),
        &[("ResolvedRefs", "No ZoneNotEnforced")],
    );
    assert_says(
        &says(Some(Enforcement::Enforce), Enforcement::Disabled),
        &[("ResolvedRefs", "Yes"), ("Enforcing", "No Disabled")],
    );
}

#[test]
fn a_metadata_firewall_in_audit_is_ready_and_says_that_it_denies_nothing() {
    let kind = Kind::MetadataFirewall;
    for (enforcement, said) in [
        (Enforcement::Enforce, "Yes Enforced"),
        (Enforcement::Audit, "No AuditMode: nothing is denied"),
    ] {
        let mut world = World::default().nodes(kind, &[("w1", 1, None)]);
        let firewall = MetadataFirewall {
            enforcement,
            ..MetadataFirewall::default()
        };
        world.snapshot.firewalls.insert("x".to_owned(), firewall);
        assert_says(
            &world.says(kind, &versions(1, Some(1)), false),
            &[("Accepted", "Yes"), ("Enforcing", said), ("Ready", "Yes")],
        );
    }
}

#[test]
fn a_policy_whose_rules_contradict_says_which_opens_nothing() {
    let mut world = World::default().nodes(Kind::ZonePolicy, &[("w1", 1, None)]);
    world
        .snapshot
        .zones
        .insert("x".to_owned(), zone(Vec::new()));
    let mut says = |action, expiry| {
        let mut policy = policy("x", Enforcement::Enforce, Expiry(None));
        policy.rules.push(ZoneRule {
            name: "no".to_owned(),
            action,
            from: vec![ZonePeer::Entity(Entity::Any)],
            expiry,
            ..policy.rules[0].clone()
        });
        world.snapshot.zone_policies.insert("x".to_owned(), policy);
        world.says(Kind::ZonePolicy, &versions(1, Some(1)), false)
    };
    assert_says(
        &says(ZoneAction::Deny, Expiry(None)),
        &[
            (
                "Effective",
                "No Contradicted: rule r opens nothing: ZonePolicy/x rule no denies all of it",
            ),
            ("Ready", "Yes"),
        ],
    );
    for (action, expiry) in [
        (ZoneAction::Allow, Expiry(None)),
        (ZoneAction::Deny, Expiry(Some(-1))),
    ] {
        assert_says(&says(action, expiry), &[("Effective", "Yes")]);
    }
}

#[test]
fn what_ends_by_itself_says_so() {
    let mut world = World::default().nodes(Kind::ZonePolicy, &[("w1", 1, None)]);
    world.snapshot.past = 10;
    let ends = policy("x", Enforcement::Enforce, Expiry(Some(10)));
    world.snapshot.zone_policies.insert("x".to_owned(), ends);
    let said = world.says(Kind::ZonePolicy, &versions(1, Some(1)), false);
    assert_says(
        &said,
        &[(
            "Expired",
            "Yes RulesExpired: absent since their `expirationTime`: r",
        )],
    );

    let mut world = World::default().nodes(Kind::MetadataAccess, &[("w1", 1, None)]);
    let mut grant = MetadataAccess {
        name: "x".to_owned(),
        endpoints: Some(["imds".into(), "imsd".into()].into()),
        subjects: Vec::new(),
        annotation_required: false,
        expiry: Expiry(Some(11)),
        origin: Origin::default(),
    };
    world.snapshot.past = 10;
    world.snapshot.grants.insert("x".to_owned(), grant.clone());
    let said = world.says(Kind::MetadataAccess, &versions(1, Some(1)), false);
    assert_says(
        &said,
        &[
            ("Expired", "No NotExpired"),
            ("Enforcing", "Yes"),
            (
                "ResolvedRefs",
                "No EndpointNotFound: there is no metadata endpoint imsd: the name opens nothing",
            ),
        ],
    );
    grant.endpoints = None;
    grant.expiry = Expiry(Some(10));
    world.snapshot.grants.insert("x".to_owned(), grant);
    let said = world.says(Kind::MetadataAccess, &versions(1, Some(1)), false);
    assert_says(
        &said,
        &[
            ("Expired", "Yes Expired"),
            ("Enforcing", "No Expired"),
            ("ResolvedRefs", "Yes ResolvedRefs"),
        ],
    );
}

#[test]
fn a_zone_says_who_is_in_it_and_what_of_it_is_not_enforced() {
    let kind = Kind::SecurityZone;
    let mut world = World::default().nodes(kind, &[("w1", 1, None)]);
    world
        .snapshot
        .zones
        .insert("x".to_owned(), zone(Vec::new()));
    let said = world.says(kind, &versions(1, Some(1)), false);
    assert_says(
        &said,
        &[
            ("Populated", "No NoMembers"),
            ("Overlapping", "No"),
            ("Enforcing", "Yes"),
        ],
    );

    let nodes = zone(vec![Members::Nodes(Selector::default())]);
    world.snapshot.zones.insert("x".to_owned(), nodes.clone());
    let other = Zone {
        name: "y".to_owned(),
        ..nodes
    };
    world.snapshot.zones.insert("y".to_owned(), other);
    let said = world.says(kind, &versions(1, Some(1)), false);
    assert_says(
        &said,
        &[
            ("Populated", "Yes Members: 0 pods, 1 nodes, 0 networks"),
            (
                "Overlapping",
                "Yes SharedMembers: node w1 (also in y): each",
            ),
            ("Enforcing", "No HostEnforcementOff"),
            ("Ready", "Yes"),
        ],
    );
}
