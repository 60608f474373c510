//! Rules have names; tables are shared.

use super::*;

#[test]
fn rules_have_names_and_audit_is_staged() {
    let deny = |name: &str| policy(name, &["db"], Some(vec![]), None);
    let allow = |name: &str| {
        policy(
            name,
            &["db"],
            Some(vec![rule(None, tcp(1, 1)), rule(None, tcp(80, 80))]),
            None,
        )
    };
    let audited = |policy: Policy| Policy {
        enforcement: Enforcement::Audit,
        ..policy
    };
    for (policies, live, staged, name) in [
        (
            vec![deny("shop/a")],
            Verdict::Deny,
            Verdict::Deny,
            "shop/a ingress: no rule matches",
        ),
        (
            vec![deny("shop/b"), deny("shop/a"), deny("shop/c")],
            Verdict::Deny,
            Verdict::Deny,
            "shop/a ingress: no rule matches (+2 more)",
        ),
        (
            vec![deny("shop/a"), allow("shop/b")],
            Verdict::Allow,
            Verdict::Allow,
            "shop/b ingress[1]",
        ),
        (
            vec![audited(deny("shop/a"))],
            Verdict::Allow,
            Verdict::Deny,
            "shop/a ingress: no rule matches",
        ),
        (
            vec![deny("shop/a"), audited(allow("shop/b"))],
            Verdict::Deny,
            Verdict::Allow,
            "shop/b ingress[1]",
        ),
        (
            vec![deny("shop/b"), audited(deny("shop/a"))],
            Verdict::Deny,
            Verdict::Deny,
            "shop/b ingress: no rule matches",
        ),
    ] {
        let (desired, _) = compile(&world(usual(), policies), &Options::default());
        let peer = "10.0.0.2".parse().unwrap();
        let cell = desired
            .cell(&key("shop/db"), Direction::Ingress, peer, HTTP)
            .unwrap();
        assert_eq!(
            (cell.live, cell.staged, cell.tier),
            (live, staged, Tier::NetworkPolicy),
            "{name}"
        );
        assert_eq!(
            desired.rules[&cell.rule.unwrap()],
            format!("NetworkPolicy/{name}")
        );
    }
}

#[test]
fn networks_and_pods_are_listed_and_tables_are_shared() {
    let rules = || {
        Some(vec![rule(
            Some(vec![block("192.0.2.0/24", &["192.0.2.128/25"])]),
            Ports::Any,
        )])
    };
    let (desired, _) = compile(
        &world(usual(), vec![policy("shop/p", &[], rules(), None)]),
        &Options::default(),
    );
    let listed: BTreeSet<String> = desired.addresses.keys().map(ToString::to_string).collect();
    for net in [
        "10.0.0.1/32",
        "fd00::1:2/128",
        "192.0.2.0/24",
        "192.0.2.128/25",
    ] {
        assert!(listed.contains(net), "{net}: {listed:?}");
    }
    assert_eq!(
        desired.signatures,
        Objects::from(vec![
            vec![],
            vec!["block 192.0.2.0/24 except 192.0.2.128/25".into()],
            vec!["pod".into()],
        ])
    );
    assert_eq!(desired.tables.len(), 1);
    assert!(desired.tables[&0].looks_at_networks);
    assert_eq!(
        desired.endpoints[&key("shop/db")].ingress,
        desired.endpoints[&key("shop/web")].ingress
    );
    let exact = || {
        Some(vec![rule(
            Some(vec![block("192.0.2.7/32", &[])]),
            Ports::Any,
        )])
    };
    let (desired, _) = compile(
        &world(usual(), vec![policy("shop/p", &[], exact(), None)]),
        &Options::default(),
    );
    assert!(
        !desired.tables[&0].looks_at_networks,
        "an exact address is found without looking at networks"
    );
}
