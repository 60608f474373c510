//! Ports: names, ranges, protocols.

use super::*;

#[test]
fn names_of_ports_are_the_destinations() {
    let pods = || {
        vec![
            with_ports(pod("shop/db", &["10.0.0.1"]), &[("http", 8080)]),
            with_ports(pod("shop/one", &["10.0.0.2"]), &[("http", 8081)]),
            with_ports(
                pod("shop/two", &["10.0.0.3"]),
                &[("http", 8082), ("other", 8081)],
            ),
        ]
    };
    let ingress = vec![rule(None, named("http"))];
    let snapshot = world(pods(), vec![policy("shop/p", &["db"], Some(ingress), None)]);
    check(
        &snapshot,
        Direction::Ingress,
        &[
            ("10.0.0.2", Some((TCP, 8080)), true),
            ("10.0.0.2", Some((TCP, 8081)), false),
            ("10.0.0.2", Some((Protocol::Udp, 8080)), false),
        ],
    );
    // Names that nobody asks for in egress are in no signature.
    assert_eq!(
        compile(&snapshot, &Options::default()).0.signatures,
        Objects::from(vec![vec![], vec!["pod".into()]])
    );
    let egress = vec![rule(None, named("http"))];
    check(
        &world(pods(), vec![policy("shop/p", &["db"], None, Some(egress))]),
        Direction::Egress,
        &[
            ("10.0.0.2", Some((TCP, 8081)), true),
            ("10.0.0.2", Some((TCP, 8082)), false),
            ("10.0.0.3", Some((TCP, 8082)), true),
            ("10.0.0.3", Some((TCP, 8081)), false),
            ("203.0.113.9", Some((TCP, 8081)), false),
        ],
    );
    for direction in [Direction::Ingress, Direction::Egress] {
        let rules = Some(vec![rule(None, named("nowhere"))]);
        let (ingress, egress) = if direction == Direction::Ingress {
            (rules, None)
        } else {
            (None, rules)
        };
        let snapshot = world(pods(), vec![policy("shop/p", &["db"], ingress, egress)]);
        check(
            &snapshot,
            direction,
            &[("10.0.0.2", HTTP, false), ("10.0.0.2", None, false)],
        );
    }
}

#[test]
fn ranges_protocols_and_protocols_without_ports() {
    let ports = Ports::Of(vec![
        PortSpec::Range(TCP, 80, 82),
        PortSpec::All(Protocol::Udp),
        PortSpec::Range(Protocol::Sctp, 65535, 65535),
    ]);
    check(
        &db(rule(None, ports)),
        Direction::Ingress,
        &[
            ("10.0.0.2", Some((TCP, 79)), false),
            ("10.0.0.2", Some((TCP, 80)), true),
            ("10.0.0.2", Some((TCP, 82)), true),
            ("10.0.0.2", Some((TCP, 83)), false),
            ("10.0.0.2", Some((Protocol::Udp, 0)), true),
            ("10.0.0.2", Some((Protocol::Sctp, 65535)), true),
            ("10.0.0.2", Some((Protocol::Sctp, 65534)), false),
            ("10.0.0.2", None, false),
        ],
    );
    check(
        &db(rule(None, Ports::Any)),
        Direction::Ingress,
        &[("10.0.0.2", None, true)],
    );
    check(
        &db(rule(None, Ports::Of(vec![]))),
        Direction::Ingress,
        &[("10.0.0.2", HTTP, false)],
    );
    let snapshot = db(rule(None, tcp(90, 80)));
    check(
        &snapshot,
        Direction::Ingress,
        &[("10.0.0.2", Some((TCP, 85)), false)],
    );
    let (_, diagnostics) = compile(&snapshot, &Options::default());
    assert_eq!(diagnostics.len(), 1);
    assert_eq!(diagnostics[0].object, "NetworkPolicy/shop/p");
    assert_eq!(diagnostics[0].field, "spec.ingress[0].ports[0].endPort");
}
