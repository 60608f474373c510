//! Tiers: for every two that can decide differently, who wins; and tenants.

use ringfence_agent::model::{
    ClusterAction, ClusterPeer, ClusterPolicy, ClusterRule, ClusterTier, Expiry, TenantException,
    TenantIsolation, TenantMode, Workloads,
};

use super::{
    zoned::{deny, expect, isolated, team, workloads, zone_policy},
    *,
};

/// What a tier is made to say of what comes into `shop/db` from `ops/web`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Deny(Tier),
    /// Of a tier that can.
    Accept(Tier),
    Pass,
}

pub(super) fn put(snapshot: &mut Snapshot, says: Says) {
    match says {
        Says::Deny(Tier::ZoneDeny) => {
            let policy = zone_policy(vec![deny(&["Any"], &["Any"], tcp(80, 80))]);
            snapshot.zone_policies.insert("zp".to_owned(), policy);
        }
        Says::Deny(Tier::ZoneIsolation) => {
            let zone = isolated("db", vec![workloads(&["shop"], &[])]);
            snapshot.zones.insert("db".to_owned(), zone);
        }
        Says::Deny(tier @ (Tier::TenantStrict | Tier::TenantOverridable)) => {
            let mode = match tier {
                Tier::TenantStrict => TenantMode::Strict,
                _ => TenantMode::Overridable,
            };
            let tenants = tenants(mode);
            snapshot.tenants.insert(format!("{mode:?}"), tenants);
        }
        Says::Deny(Tier::ClusterAdmin) => {
            cluster(snapshot, ClusterTier::Admin, ClusterAction::Deny)
        }
        Says::Accept(Tier::ClusterAdmin) => {
            cluster(snapshot, ClusterTier::Admin, ClusterAction::Accept);
        }
        Says::Pass => cluster(snapshot, ClusterTier::Admin, ClusterAction::Pass),
        Says::Deny(Tier::ClusterBaseline) => {
            cluster(snapshot, ClusterTier::Baseline, ClusterAction::Deny);
        }
        Says::Accept(Tier::ClusterBaseline) => {
            cluster(snapshot, ClusterTier::Baseline, ClusterAction::Accept);
        }
        Says::Deny(Tier::NetworkPolicy) | Says::Accept(Tier::NetworkPolicy) => {
            let rules = match says {
                Says::Deny(_) => Vec::new(),
                _ => vec![rule(None, Ports::Any)],
            };
            let policy = policy("shop/p", &["db"], Some(rules), None);
            snapshot.policies.insert(policy.key.clone(), policy);
        }
        _ => unreachable!("{says:?}"),
    }
}

fn tenants(mode: TenantMode) -> TenantIsolation {
    TenantIsolation {
        name: format!("{mode:?}"),
        label: "team".to_owned(),
        mode,
        shared: Vec::new(),
        except: Vec::new(),
        enforcement: Enforcement::Enforce,
        canary: None,
        origin: Origin::default(),
    }
}

fn cluster(snapshot: &mut Snapshot, tier: ClusterTier, action: ClusterAction) {
    let name = format!("{tier:?}").to_lowercase();
    let policy = cluster_policy(&name, tier, 10, action);
    snapshot.cluster_policies.insert(name, policy);
}

fn cluster_policy(
    name: &str,
    tier: ClusterTier,
    priority: u16,
    action: ClusterAction,
) -> ClusterPolicy {
    ClusterPolicy {
        name: name.to_owned(),
        tier,
        priority,
        namespaces: team(&["shop"]),
        pods: Selector::default(),
        ingress: vec![ClusterRule {
            name: "r".to_owned(),
            action,
            peers: vec![ClusterPeer::Pods {
                namespaces: team(&["ops"]),
                pods: Selector::default(),
            }],
            ports: Ports::Any,
        }],
        egress: Vec::new(),
        enforcement: Enforcement::Enforce,
        origin: Origin::default(),
    }
}

#[test]
fn of_two_tiers_that_disagree_the_stronger_one_decides() {
    use Says::{Accept, Deny, Pass};
    use Tier::{
        ClusterAdmin, ClusterBaseline, NetworkPolicy, TenantOverridable, TenantStrict, ZoneDeny,
        ZoneIsolation,
    };
    let mut cases: Vec<(Vec<Says>, Tier)> = Vec::new();
    // What can only deny, against whatever accepts after it.
    for above in [ZoneDeny, ZoneIsolation, TenantStrict] {
        for below in [ClusterAdmin, NetworkPolicy, ClusterBaseline] {
            cases.push((vec![Deny(above), Accept(below)], above));
        }
    }
    cases.extend([
        (
            vec![Accept(ClusterAdmin), Deny(NetworkPolicy)],
            ClusterAdmin,
        ),
        (
            vec![Deny(ClusterAdmin), Accept(NetworkPolicy)],
            ClusterAdmin,
        ),
        (
            vec![Accept(ClusterAdmin), Deny(TenantOverridable)],
            ClusterAdmin,
        ),
        (
            vec![Accept(ClusterAdmin), Deny(ClusterBaseline)],
            ClusterAdmin,
        ),
        (
            vec![Deny(ClusterAdmin), Accept(ClusterBaseline)],
            ClusterAdmin,
        ),
        (vec![Pass, Deny(NetworkPolicy)], NetworkPolicy),
        (vec![Pass, Accept(NetworkPolicy)], NetworkPolicy),
        // A Pass is silence for the tiers that ask whether anybody spoke.
        (vec![Pass, Deny(TenantOverridable)], TenantOverridable),
        (vec![Pass, Deny(ClusterBaseline)], ClusterBaseline),
        (
            vec![Accept(NetworkPolicy), Deny(TenantOverridable)],
            NetworkPolicy,
        ),
        (
            vec![Deny(NetworkPolicy), Accept(ClusterBaseline)],
            NetworkPolicy,
        ),
        (
            vec![Accept(NetworkPolicy), Deny(ClusterBaseline)],
            NetworkPolicy,
        ),
        (
            vec![Deny(TenantOverridable), Accept(ClusterBaseline)],
            TenantOverridable,
        ),
        (
            vec![Pass, Accept(NetworkPolicy), Deny(ZoneIsolation)],
            ZoneIsolation,
        ),
        (
            vec![Deny(ZoneDeny), Deny(ZoneIsolation), Deny(TenantStrict)],
            ZoneDeny,
        ),
    ]);
    for (says, winner) in cases {
        let mut snapshot = world(usual(), Vec::new());
        for it in &says {
            put(&mut snapshot, *it);
        }
        let answer = ask(&snapshot, "ops/web", "shop/db", HTTP);
        let ingress = answer.ingress.clone().unwrap();
        assert_eq!(ingress.tier, winner, "{says:?}: {answer}");
        let accepts = says.contains(&Accept(winner));
        assert_eq!(
            ingress.live == Verdict::Allow,
            accepts,
            "{says:?}: {answer}"
        );
        // Who nobody speaks of is let in, unless a policy isolates the pod from all.
        let other = ask(&snapshot, "203.0.113.9", "shop/db", Some((TCP, 8080)));
        let isolated = says
            .iter()
            .any(|it| matches!(it, Deny(ZoneIsolation | NetworkPolicy)));
        assert_eq!(other.live == Verdict::Deny, isolated, "{says:?}: {other}");
    }
}

#[test]
fn the_lower_priority_number_comes_first_then_the_name() {
    for (first, second, allowed) in [
        ((1, "z"), (2, "a"), true),
        ((1, "a"), (1, "b"), true),
        ((2, "a"), (1, "b"), false),
    ] {
        let mut snapshot = world(usual(), Vec::new());
        for ((priority, name), action) in [
            (first, ClusterAction::Accept),
            (second, ClusterAction::Deny),
        ] {
            let policy = cluster_policy(name, ClusterTier::Admin, priority, action);
            snapshot.cluster_policies.insert(name.to_owned(), policy);
        }
        expect(&snapshot, &[("ops/web", "shop/db", HTTP, allowed)]);
    }
}

#[test]
fn tenants_are_apart_but_for_what_they_share_and_what_is_excepted() {
    let mut snapshot = world(
        [
            usual(),
            vec![pod("none/a", &["10.0.9.1"]), pod("other/a", &["10.0.9.2"])],
        ]
        .concat(),
        Vec::new(),
    );
    let except = TenantException {
        name: "e".to_owned(),
        from: Some(vec![Workloads {
            namespaces: team(&["ops"]),
            pods: app(&["web"]),
            accounts: BTreeSet::new(),
        }]),
        to: None,
        ports: tcp(80, 80),
        expiry: Expiry(None),
    };
    let strict = TenantIsolation {
        except: vec![except],
        ..tenants(TenantMode::Strict)
    };
    snapshot.tenants.insert("t".to_owned(), strict.clone());
    expect(
        &snapshot,
        &[
            ("shop/web", "shop/db", HTTP, true),
            ("ops/web", "shop/db", HTTP, true),
            ("ops/web", "shop/db", None, false),
            ("ops/job", "shop/db", HTTP, false),
            ("shop/db", "ops/web", HTTP, false),
            // Those without a label are one more tenant.
            ("none/a", "other/a", HTTP, true),
            ("none/a", "shop/db", HTTP, false),
            ("203.0.113.1", "shop/db", HTTP, true),
        ],
    );
    let shared = TenantIsolation {
        shared: vec![team(&["ops"])],
        ..strict
    };
    snapshot.tenants.insert("t".to_owned(), shared);
    expect(
        &snapshot,
        &[
            ("ops/job", "shop/db", HTTP, true),
            ("shop/db", "ops/web", HTTP, true),
            ("none/a", "shop/db", HTTP, false),
        ],
    );
}

#[test]
fn an_address_that_several_claim_is_of_a_tenant_if_all_of_them_are() {
    let claimed = |by: [&str; 2], address: &str| by.map(|name| pod(name, &[address]));
    let mut snapshot = world(
        [
            usual(),
            vec![pod("none/a", &["10.0.9.1"])],
            claimed(["none/b", "blank/b"], "10.0.9.2").into(),
            claimed(["none/c", "shop/c"], "10.0.9.3").into(),
        ]
        .concat(),
        Vec::new(),
    );
    let blank = Namespace {
        name: "blank".to_owned(),
        labels: Labels::from([("team".to_owned(), String::new())]),
        origin: Origin::default(),
    };
    snapshot.namespaces.insert("blank".to_owned(), blank);
    let strict = tenants(TenantMode::Strict);
    snapshot.tenants.insert("t".to_owned(), strict);
    expect(
        &snapshot,
        &[
            // No label and an empty one are the same.
            ("10.0.9.2", "none/a", HTTP, true),
            ("10.0.9.2", "shop/db", HTTP, false),
            ("10.0.9.3", "none/a", HTTP, false),
            ("10.0.9.3", "shop/db", HTTP, false),
        ],
    );
}

#[test]
fn what_tenants_may_open_is_judged_at_the_destination_only() {
    let mut snapshot = world(usual(), Vec::new());
    put(&mut snapshot, Says::Deny(Tier::TenantOverridable));
    let answer = ask(&snapshot, "ops/web", "shop/db", HTTP);
    assert_eq!(answer.egress, None);
    assert_eq!(
        answer.ingress.map(|it| it.tier),
        Some(Tier::TenantOverridable)
    );
    expect(&snapshot, &[("shop/web", "shop/db", HTTP, true)]);
}

#[test]
fn a_cluster_policy_in_audit_or_disabled_does_not_count() {
    for (enforcement, staged) in [
        (Enforcement::Audit, Verdict::Deny),
        (Enforcement::Disabled, Verdict::Allow),
    ] {
        let mut snapshot = world(usual(), Vec::new());
        let policy = ClusterPolicy {
            enforcement,
            ..cluster_policy("p", ClusterTier::Admin, 1, ClusterAction::Deny)
        };
        snapshot.cluster_policies.insert("p".to_owned(), policy);
        let answer = ask(&snapshot, "ops/web", "shop/db", HTTP);
        assert_eq!(
            (answer.live, answer.staged),
            (Verdict::Allow, staged),
            "{enforcement:?}"
        );
    }
}

#[test]
fn cluster_policies_reach_nodes_networks_and_named_ports() {
    let mut snapshot = world(
        [
            usual(),
            vec![with_ports(pod("ops/api", &["10.0.1.9"]), &[("http", 8080)])],
        ]
        .concat(),
        Vec::new(),
    );
    snapshot.nodes.insert(
        "n".to_owned(),
        Node {
            name: "n".to_owned(),
            labels: Labels::from([("os".to_owned(), "linux".to_owned())]),
            addresses: vec!["192.0.2.1".parse().unwrap()],
            origin: Origin::default(),
        },
    );
    let rule = |action, peers, ports| ClusterRule {
        name: String::new(),
        action,
        peers,
        ports,
    };
    let policy = ClusterPolicy {
        ingress: Vec::new(),
        egress: vec![
            rule(
                ClusterAction::Deny,
                vec![ClusterPeer::Nodes(only("os", Operator::Exists))],
                tcp(22, 22),
            ),
            rule(
                ClusterAction::Deny,
                vec![ClusterPeer::Network("192.0.2.0/24".parse().unwrap())],
                tcp(80, 80),
            ),
            rule(
                ClusterAction::Deny,
                vec![ClusterPeer::Pods {
                    namespaces: Selector::default(),
                    pods: Selector::default(),
                }],
                named("http"),
            ),
        ],
        ..cluster_policy("p", ClusterTier::Admin, 1, ClusterAction::Deny)
    };
    snapshot.cluster_policies.insert("p".to_owned(), policy);
    expect(
        &snapshot,
        &[
            ("shop/db", "192.0.2.1", Some((TCP, 22)), false),
            ("shop/db", "192.0.2.2", Some((TCP, 22)), true),
            ("shop/db", "192.0.2.2", HTTP, false),
            ("shop/db", "ops/api", Some((TCP, 8080)), false),
            ("shop/db", "ops/api", HTTP, true),
            ("ops/web", "192.0.2.1", Some((TCP, 22)), true),
        ],
    );
}
