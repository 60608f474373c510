//! Zones: the rulings about who is in them and what they deny, one by one.

use ringfence_agent::model::{
    Canary, Expiry, IntraZone, Members, Openness, Zone, ZonePolicy, ZoneRule,
};

use super::{
    zoned::{SSH, allow, deny, except, expect, isolated, networks, team, workloads, zone, zoned},
    *,
};

#[test]
fn an_isolated_zone_lets_in_its_own_and_what_a_rule_allows() {
    let snapshot = zoned(
        vec![
            isolated("db", vec![workloads(&["shop"], &["db"])]),
            zone("apim", vec![networks(&["192.0.2.0/24"], &[])]),
        ],
        vec![allow(&["apim"], &["db"], tcp(3306, 3306))],
    );
    let mysql = Some((TCP, 3306));
    expect(
        &snapshot,
        &[
            ("192.0.2.5", "shop/db", mysql, true),
            ("192.0.2.5", "shop/db", HTTP, false),
            ("192.0.2.5", "shop/db", None, false),
            ("shop/web", "shop/db", mysql, false),
            ("shop/db", "shop/web", HTTP, true),
        ],
    );
    let denied = ask(&snapshot, "shop/web", "shop/db", HTTP);
    let ingress = denied.ingress.unwrap();
    assert_eq!(ingress.tier, Tier::ZoneIsolation);
    assert_eq!(
        ingress.rule.as_deref(),
        Some("SecurityZone/db ingress: no rule allows it")
    );
    // Both ends judge the same flow by the same zones.
    assert_eq!(denied.egress.map(|it| it.live), Some(Verdict::Deny));
}

#[test]
fn a_zone_of_addresses_is_isolated_at_the_pods_that_talk_with_it() {
    let out = Zone {
        egress: Openness::Isolated,
        ..zone("out", vec![networks(&["198.51.100.0/24"], &[])])
    };
    let nfs = isolated("nfs", vec![networks(&["192.0.2.0/24"], &[])]);
    let snapshot = zoned(
        vec![nfs, out, zone("web", vec![workloads(&[], &["web"])])],
        vec![allow(&["web"], &["nfs"], tcp(2049, 2049))],
    );
    let nfs = Some((TCP, 2049));
    expect(
        &snapshot,
        &[
            ("shop/web", "192.0.2.9", nfs, true),
            ("shop/web", "192.0.2.9", HTTP, false),
            ("shop/db", "192.0.2.9", nfs, false),
            ("198.51.100.1", "shop/db", HTTP, false),
            ("shop/db", "198.51.100.1", HTTP, true),
        ],
    );
}

#[test]
fn members_are_selected_pods_then_nodes_then_the_longest_network() {
    let mut snapshot = zoned(
        vec![
            isolated("pods", vec![workloads(&["shop"], &["db"])]),
            isolated("subnet", vec![networks(&["10.0.0.0/16"], &["10.0.1.3/32"])]),
            isolated("narrow", vec![networks(&["10.0.1.0/24"], &[])]),
            isolated(
                "masters",
                vec![Members::Nodes(only("role", Operator::Exists))],
            ),
            zone("probe", vec![networks(&["203.0.113.0/24"], &[])]),
        ],
        vec![
            allow(&["probe"], &["pods"], tcp(1, 1)),
            allow(&["probe"], &["subnet"], tcp(2, 2)),
            allow(&["probe"], &["narrow"], tcp(3, 3)),
            allow(&["Cluster"], &["masters"], tcp(4, 4)),
        ],
    );
    snapshot.nodes.insert(
        "m".to_owned(),
        Node {
            name: "m".to_owned(),
            labels: Labels::from([("role".to_owned(), "master".to_owned())]),
            addresses: vec!["10.0.0.200".parse().unwrap()],
            origin: Origin::default(),
        },
    );
    let port = |number| Some((TCP, number));
    expect(
        &snapshot,
        &[
            ("203.0.113.1", "shop/db", port(1), true),
            ("203.0.113.1", "shop/db", port(2), false),
            // A wide network claims the pods that nobody selects.
            ("203.0.113.1", "shop/web", port(2), true),
            ("203.0.113.1", "shop/web", port(1), false),
            // A longer one hides it; its own exceptions do not hide others.
            ("203.0.113.1", "ops/web", port(3), true),
            ("203.0.113.1", "ops/web", port(2), false),
            ("203.0.113.1", "ops/job", port(3), true),
            // A node is not in the network's zone.
            ("shop/db", "10.0.0.200", port(4), true),
            ("shop/db", "10.0.0.200", port(2), false),
        ],
    );
}

#[test]
fn a_dual_stack_pod_may_be_in_other_zones_by_family() {
    let snapshot = zoned(
        vec![isolated("six", vec![networks(&["fd00::/64"], &[])])],
        Vec::new(),
    );
    expect(
        &snapshot,
        &[
            ("203.0.113.1", "10.0.0.1", HTTP, true),
            ("2001:db8::1", "fd00::1", HTTP, false),
        ],
    );
}

#[test]
fn a_zone_in_audit_is_nobody_to_what_counts() {
    let db = Zone {
        enforcement: Enforcement::Audit,
        ..isolated("db", vec![workloads(&["shop"], &["db"])])
    };
    let wide = isolated("wide", vec![networks(&["10.0.0.0/24"], &[])]);
    let snapshot = zoned(
        vec![db, wide],
        vec![
            allow(&["World"], &["wide"], tcp(80, 80)),
            deny(&["db"], &["World"], tcp(25, 25)),
        ],
    );
    expect(
        &snapshot,
        &[
            // As if the zone were absent, the network claims the pod.
            ("203.0.113.1", "shop/db", HTTP, true),
            ("203.0.113.1", "shop/db", SSH, false),
            ("shop/db", "203.0.113.1", Some((TCP, 25)), true),
        ],
    );
    let http = ask(&snapshot, "203.0.113.1", "shop/db", HTTP);
    assert_eq!((http.live, http.staged), (Verdict::Allow, Verdict::Deny));
    let mail = ask(&snapshot, "shop/db", "203.0.113.1", Some((TCP, 25)));
    assert_eq!((mail.live, mail.staged), (Verdict::Allow, Verdict::Deny));
}

#[test]
fn what_is_disabled_is_absent_from_both_verdicts() {
    let mut snapshot = zoned(
        vec![Zone {
            enforcement: Enforcement::Disabled,
            ..isolated("db", vec![workloads(&["shop"], &["db"])])
        }],
        vec![deny(&["Any"], &["Any"], tcp(22, 22))],
    );
    expect(&snapshot, &[("shop/web", "shop/db", SSH, false)]);
    let policy = ZonePolicy {
        enforcement: Enforcement::Disabled,
        ..snapshot.zone_policies["zp"].clone()
    };
    snapshot.zone_policies.insert("zp".to_owned(), policy);
    let answer = ask(&snapshot, "shop/web", "shop/db", SSH);
    assert_eq!(
        (answer.live, answer.staged),
        (Verdict::Allow, Verdict::Allow)
    );
}

#[test]
fn traffic_within_a_zone_is_denied_even_if_the_zone_is_open() {
    let apart = Zone {
        intra_zone: IntraZone::Deny,
        ..zone("apart", vec![workloads(&["shop"], &[])])
    };
    let snapshot = zoned(
        vec![apart],
        vec![allow(&["apart"], &["apart"], tcp(80, 80))],
    );
    expect(
        &snapshot,
        &[
            ("shop/web", "shop/db", SSH, false),
            ("shop/web", "shop/db", HTTP, true),
            ("ops/web", "shop/db", SSH, true),
            ("shop/web", "ops/web", SSH, true),
        ],
    );
    let together = Zone {
        ingress: Openness::Isolated,
        egress: Openness::Isolated,
        ..zone("together", vec![workloads(&["shop"], &[])])
    };
    expect(
        &zoned(vec![together], Vec::new()),
        &[
            ("shop/web", "shop/db", SSH, true),
            ("ops/web", "shop/db", SSH, false),
            ("shop/web", "ops/web", SSH, false),
        ],
    );
}

#[test]
fn an_exception_narrows_by_what_it_names_only() {
    let snapshot = zoned(
        vec![
            zone("esb", vec![workloads(&[], &["web"])]),
            zone("sftp", vec![networks(&["192.0.2.0/28"], &[])]),
        ],
        vec![ZoneRule {
            except: vec![
                except(Some(&["esb"]), Some(&["sftp"]), Ports::Any),
                except(None, None, tcp(2222, 2222)),
            ],
            ..deny(
                &["Any"],
                &["Any"],
                Ports::Of(vec![
                    PortSpec::Range(TCP, 22, 22),
                    PortSpec::Range(TCP, 2222, 2222),
                ]),
            )
        }],
    );
    expect(
        &snapshot,
        &[
            ("shop/web", "192.0.2.1", SSH, true),
            ("shop/db", "192.0.2.1", SSH, false),
            ("shop/web", "192.0.2.16", SSH, false),
            ("shop/db", "shop/web", Some((TCP, 2222)), true),
            // A rule with ports is not about protocols without.
            ("shop/db", "shop/web", None, true),
        ],
    );
}

#[test]
fn what_has_expired_is_absent_from_that_second_on() {
    let until = |rule: ZoneRule, moment| ZoneRule {
        expiry: Expiry(Some(moment)),
        ..rule
    };
    let mut snapshot = zoned(
        vec![isolated("db", vec![workloads(&["shop"], &["db"])])],
        vec![
            until(allow(&["Any"], &["db"], tcp(80, 80)), 100),
            until(deny(&["Any"], &["World"], tcp(22, 22)), 100),
        ],
    );
    for (past, http, ssh) in [(99, true, false), (100, false, true)] {
        snapshot.past = past;
        expect(
            &snapshot,
            &[
                ("shop/web", "shop/db", HTTP, http),
                ("shop/web", "203.0.113.1", SSH, ssh),
            ],
        );
    }
}

#[test]
fn a_canary_is_enforced_at_either_end() {
    let mut snapshot = zoned(Vec::new(), vec![deny(&["Any"], &["Any"], tcp(22, 22))]);
    let policy = ZonePolicy {
        enforcement: Enforcement::Audit,
        canary: Some(Canary {
            namespaces: team(&["shop"]),
            pods: app(&["db"]),
        }),
        ..snapshot.zone_policies["zp"].clone()
    };
    snapshot.zone_policies.insert("zp".to_owned(), policy);
    expect(
        &snapshot,
        &[
            ("shop/web", "shop/db", SSH, false),
            ("shop/db", "203.0.113.1", SSH, false),
            ("shop/web", "ops/web", SSH, true),
        ],
    );
    assert_eq!(
        ask(&snapshot, "shop/web", "ops/web", SSH).staged,
        Verdict::Deny
    );
}

#[test]
fn world_is_no_pod_and_no_node_whether_or_not_a_zone_names_it() {
    let mut snapshot = zoned(
        vec![zone("office", vec![networks(&["203.0.113.0/24"], &[])])],
        vec![
            deny(&["World"], &["Cluster"], tcp(22, 22)),
            deny(&["Cluster"], &["World"], tcp(25, 25)),
        ],
    );
    snapshot.nodes.insert(
        "n".to_owned(),
        Node {
            name: "n".to_owned(),
            addresses: vec!["203.0.113.200".parse().unwrap()],
            ..Node::default()
        },
    );
    let mail = Some((TCP, 25));
    expect(
        &snapshot,
        &[
            ("203.0.113.1", "shop/db", SSH, false),
            ("203.0.113.200", "shop/db", SSH, true),
            ("ops/web", "shop/db", SSH, true),
            ("shop/db", "203.0.113.1", mail, false),
            ("shop/db", "203.0.113.200", mail, true),
        ],
    );
}

#[test]
fn only_a_policys_denial_binds_the_pods_own_node() {
    let mut snapshot = zoned(
        vec![isolated("db", vec![workloads(&["shop"], &["db"])])],
        vec![deny(&["Any"], &["Any"], tcp(22, 22))],
    );
    let name = "n".to_owned();
    let node = Node {
        name: name.clone(),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        ..Node::default()
    };
    snapshot.nodes.insert(name.clone(), node);
    let mut db = snapshot.pods[&key("shop/db")].clone();
    db.node = Some(name.into());
    snapshot.pods.insert(db.key.clone(), db);
    expect(
        &snapshot,
        &[
            ("192.0.2.1", "shop/db", HTTP, true),
            ("192.0.2.1", "shop/db", SSH, false),
            ("192.0.2.2", "shop/db", HTTP, false),
        ],
    );
}

#[test]
fn an_audited_denial_shows_what_it_would_do_to_the_pods_own_node() {
    let mut snapshot = zoned(Vec::new(), vec![deny(&["Any"], &["Any"], tcp(22, 22))]);
    let policy = ZonePolicy {
        enforcement: Enforcement::Audit,
        ..snapshot.zone_policies["zp"].clone()
    };
    snapshot.zone_policies.insert("zp".to_owned(), policy);
    let node = Node {
        name: "n".to_owned(),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        ..Node::default()
    };
    snapshot.nodes.insert("n".to_owned(), node);
    let mut db = snapshot.pods[&key("shop/db")].clone();
    db.node = Some("n".into());
    snapshot.pods.insert(db.key.clone(), db);
    let ssh = ask(&snapshot, "192.0.2.1", "shop/db", SSH);
    assert_eq!((ssh.live, ssh.staged), (Verdict::Allow, Verdict::Deny));
    let http = ask(&snapshot, "192.0.2.1", "shop/db", HTTP);
    assert_eq!((http.live, http.staged), (Verdict::Allow, Verdict::Allow));
}
