//! Peers: selectors and networks.

use super::*;

#[test]
fn both_directions_are_separate_and_who_is_not_selected_is_free() {
    let to_web = vec![rule(Some(vec![pods(&["web"])]), Ports::Any)];
    let snapshot = world(usual(), vec![policy("shop/p", &["db"], None, Some(to_web))]);
    check(
        &snapshot,
        Direction::Egress,
        &[("10.0.0.2", HTTP, true), ("10.0.1.2", HTTP, false)],
    );
    check(
        &snapshot,
        Direction::Ingress,
        &[("10.0.1.2", HTTP, true), ("203.0.113.9", None, true)],
    );
    let (desired, _) = compile(&snapshot, &Options::default());
    let endpoint = |name: &str| desired.endpoints[&key(name)].clone();
    assert_eq!(
        (endpoint("shop/db").ingress, endpoint("shop/db").egress),
        (None, Some(0))
    );
    assert_eq!(
        (endpoint("shop/web").ingress, endpoint("shop/web").egress),
        (None, None)
    );
    assert_eq!(endpoint("shop/db").cgroup, "shop_db");
}

#[test]
fn no_rules_deny_all_and_a_rule_without_peers_allows_everybody() {
    let nothing = world(usual(), vec![policy("shop/p", &[], Some(vec![]), None)]);
    check(
        &nothing,
        Direction::Ingress,
        &[("10.0.0.2", HTTP, false), ("203.0.113.9", None, false)],
    );
    for peers in [None, Some(vec![])] {
        let anybody = db(rule(peers, tcp(80, 80)));
        check(
            &anybody,
            Direction::Ingress,
            &[
                ("10.0.1.3", HTTP, true),
                ("2001:db8::1", HTTP, true),
                ("10.0.1.3", Some((TCP, 81)), false),
            ],
        );
    }
}

#[test]
fn a_pod_selector_alone_means_the_policys_namespace() {
    check(
        &db(rule(Some(vec![pods(&["web"])]), Ports::Any)),
        Direction::Ingress,
        &[
            ("10.0.0.2", HTTP, true),
            ("fd00::2", None, true),
            ("10.0.1.2", HTTP, false),
        ],
    );
    let both = Peer::Pods {
        namespaces: Some(only("team", Operator::In(["ops".to_owned()].into()))),
        pods: app(&["web"]),
    };
    check(
        &db(rule(Some(vec![both]), Ports::Any)),
        Direction::Ingress,
        &[
            ("10.0.1.2", HTTP, true),
            ("10.0.1.3", HTTP, false),
            ("10.0.0.2", HTTP, false),
        ],
    );
    let all_pods = Peer::Pods {
        namespaces: Some(Selector::default()),
        pods: Selector::default(),
    };
    check(
        &db(rule(Some(vec![all_pods]), Ports::Any)),
        Direction::Ingress,
        &[("10.0.1.3", HTTP, true), ("203.0.113.9", HTTP, false)],
    );
}

#[test]
fn a_namespace_without_an_object_has_its_name_only() {
    let by_name = |name: &str| Peer::Pods {
        namespaces: Some(only(
            "kubernetes.io/metadata.name",
            Operator::In([name.to_owned()].into()),
        )),
        pods: Selector::default(),
    };
    let mut snapshot = db(rule(Some(vec![by_name("ops")]), Ports::Any));
    snapshot.namespaces.clear();
    check(
        &snapshot,
        Direction::Ingress,
        &[("10.0.1.3", HTTP, true), ("10.0.0.2", HTTP, false)],
    );
}

#[test]
fn networks_hold_pods_too_and_excepts_are_each_rules_own() {
    let rules = vec![
        rule(
            Some(vec![block("10.0.0.0/8", &["10.0.1.0/24"])]),
            tcp(80, 80),
        ),
        rule(Some(vec![block("10.0.0.0/16", &[])]), tcp(81, 81)),
        rule(Some(vec![block("fd00::/64", &["fd00::2/128"])]), Ports::Any),
    ];
    check(
        &world(usual(), vec![policy("shop/p", &["db"], Some(rules), None)]),
        Direction::Ingress,
        &[
            ("10.0.0.2", HTTP, true),
            ("10.0.1.2", HTTP, false),
            ("10.0.1.200", HTTP, false),
            ("10.0.1.2", Some((TCP, 81)), true),
            // The longer prefix does not narrow what the shorter one allows.
            ("10.0.0.77", HTTP, true),
            ("10.7.0.1", HTTP, true),
            ("10.7.0.1", Some((TCP, 81)), false),
            ("11.0.0.1", HTTP, false),
            ("fd00::1:2", None, true),
            ("fd00::2", None, false),
            ("::ffff:10.0.0.2", HTTP, true),
        ],
    );
    let everybody = |cidr: &str| db(rule(Some(vec![block(cidr, &[])]), Ports::Any));
    let v4 = everybody("0.0.0.0/0");
    check(
        &v4,
        Direction::Ingress,
        &[("203.0.113.9", HTTP, true), ("2001:db8::1", HTTP, false)],
    );
    let v6 = everybody("::/0");
    check(
        &v6,
        Direction::Ingress,
        &[("2001:db8::1", HTTP, true), ("10.0.0.2", HTTP, false)],
    );
}

#[test]
fn the_two_addresses_of_a_pod_may_differ_by_network_only() {
    let peers = Some(vec![block("10.0.0.0/24", &[])]);
    let snapshot = db(rule(peers, Ports::Any));
    check(
        &snapshot,
        Direction::Ingress,
        &[("10.0.0.2", HTTP, true), ("fd00::2", HTTP, false)],
    );
    let asker = Asker::new(&snapshot);
    for (family, expect) in [(Family::V4, Verdict::Allow), (Family::V6, Verdict::Deny)] {
        let question = Question {
            family: Some(family),
            ..question("shop/web", "shop/db", HTTP)
        };
        assert_eq!(asker.ask(&question).unwrap().live, expect, "{family}");
    }
}
