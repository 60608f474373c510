//! Which pods count, and with which addresses.

use super::*;

#[test]
fn ended_pods_are_gone_even_if_their_address_is_used_again_and_terminating_ones_are_not() {
    let rules = || Some(vec![rule(Some(vec![pods(&["web"])]), Ports::Any)]);
    for (phase, terminating, successor, expect) in [
        (Phase::Running, false, false, true),
        (Phase::Running, true, false, true),
        (Phase::Pending, false, false, true),
        (Phase::Succeeded, false, false, false),
        (Phase::Failed, true, false, false),
        (Phase::Succeeded, false, true, false),
    ] {
        let web = Pod {
            phase,
            terminating,
            ..pod("shop/web", &["10.0.0.2"])
        };
        let mut all = vec![pod("shop/db", &["10.0.0.1"]), web];
        if successor {
            all.push(pod("ops/job", &["10.0.0.2"]));
        }
        let snapshot = world(all, vec![policy("shop/p", &["db"], rules(), None)]);
        check(&snapshot, Direction::Ingress, &[("10.0.0.2", HTTP, expect)]);
        let (desired, diagnostics) = compile(&snapshot, &Options::default());
        assert_eq!(diagnostics, []);
        assert_eq!(desired.endpoints.contains_key(&key("shop/web")), expect);
    }
}

#[test]
fn pods_with_the_nodes_network_are_neither_subject_nor_peer() {
    let web = Pod {
        host_network: true,
        node: Some("n1".into()),
        ..pod("shop/web", &["192.0.2.1"])
    };
    let mut all = usual();
    all.retain(|it| it.key != web.key);
    all[0].node = Some("n1".into());
    all.push(web);
    let rules = vec![
        rule(Some(vec![pods(&["web"])]), Ports::Any),
        rule(Some(vec![block("192.0.2.0/24", &[])]), tcp(80, 80)),
    ];
    let snapshot = world(all, vec![policy("shop/p", &[], Some(rules), None)]);
    check(
        &snapshot,
        Direction::Ingress,
        &[("192.0.2.1", HTTP, true), ("192.0.2.1", None, false)],
    );
    let (desired, _) = compile(&snapshot, &Options::default());
    assert!(!desired.endpoints.contains_key(&key("shop/web")));
    assert!(
        !desired
            .addresses
            .contains_key(&"192.0.2.1/32".parse::<ipnet::IpNet>().unwrap())
    );
    // From its own node it is let in nevertheless.
    let answer = ask(&snapshot, "shop/web", "shop/db", None);
    assert_eq!(
        answer.ingress.map(|it| (it.live, it.tier)),
        Some((Verdict::Allow, Tier::Origin))
    );
}

#[test]
fn an_address_of_two_pods_is_the_local_ones_or_nobodys() {
    let all = vec![
        pod("shop/db", &["10.0.0.1"]),
        pod("shop/web", &["10.0.0.2"]),
        pod("shop/copy", &["10.0.0.2"]),
    ];
    let rules = vec![
        rule(Some(vec![pods(&["web"])]), tcp(80, 80)),
        rule(Some(vec![block("10.0.0.0/8", &[])]), tcp(81, 81)),
    ];
    let everywhere = world(all, vec![policy("shop/p", &["db"], Some(rules), None)]);
    let located = everywhere.local[&key("shop/db")].clone();
    for (locals, expect) in [
        (vec!["shop/db"], false),
        (vec!["shop/db", "shop/web"], true),
        (vec!["shop/db", "shop/copy"], false),
        (vec!["shop/db", "shop/web", "shop/copy"], false),
    ] {
        let local = locals.iter().map(|it| (key(it), located.clone())).collect();
        let snapshot = Snapshot {
            local,
            ..everywhere.clone()
        };
        check(
            &snapshot,
            Direction::Ingress,
            &[
                ("10.0.0.2", HTTP, expect),
                ("10.0.0.2", Some((TCP, 81)), true),
            ],
        );
        let (_, diagnostics) = compile(&snapshot, &Options::default());
        let objects: Vec<&str> = diagnostics.iter().map(|it| it.object.as_str()).collect();
        assert_eq!(objects, ["Pod/shop/copy", "Pod/shop/web"]);
    }
}

#[test]
fn a_pod_without_addresses_has_those_of_its_interface() {
    let mut snapshot = world(
        vec![pod("shop/db", &["10.0.0.1"]), pod("shop/web", &[])],
        vec![policy(
            "shop/p",
            &["db"],
            Some(vec![rule(Some(vec![pods(&["web"])]), Ports::Any)]),
            None,
        )],
    );
    let addresses: Vec<IpAddr> = ["fe80::5", "10.0.0.2"].map(|it| it.parse().unwrap()).into();
    let located = Located {
        addresses: addresses.clone(),
        ..snapshot.local[&key("shop/web")].clone()
    };
    snapshot.local.insert(key("shop/web"), located);
    check(
        &snapshot,
        Direction::Ingress,
        &[("10.0.0.2", HTTP, true), ("fe80::5", HTTP, false)],
    );
    let (desired, _) = compile(&snapshot, &Options::default());
    assert_eq!(desired.endpoints[&key("shop/web")].addresses, addresses);
}

#[test]
fn addresses_that_no_record_holds_are_told() {
    let fits = world(
        vec![pod("shop/db", &["10.0.0.1", "10.0.0.2", "fd00::1"])],
        vec![],
    );
    assert_eq!(compile(&fits, &Options::default()).1, []);
    let surplus = world(
        vec![pod("shop/db", &["10.0.0.1", "10.0.0.2", "10.0.0.3"])],
        vec![],
    );
    let (_, diagnostics) = compile(&surplus, &Options::default());
    assert!(
        diagnostics[0]
            .message
            .ends_with("what it sends from 10.0.0.3 is dropped")
    );
}
