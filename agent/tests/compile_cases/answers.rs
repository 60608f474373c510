//! Questions: the two sides of a flow.

use super::*;

#[test]
fn answers_name_the_side_and_the_rule() {
    let ingress = vec![rule(Some(vec![pods(&["web"])]), tcp(5432, 5432))];
    let snapshot = world(
        usual(),
        vec![policy("shop/p", &["db"], Some(ingress), None)],
    );
    for (from, to, port, expect) in [
        (
            "shop/web",
            "shop/db",
            Some((TCP, 5432)),
            "allowed: ingress of the destination: NetworkPolicy/shop/p ingress[0]",
        ),
        (
            "shop/web",
            "10.0.0.1",
            HTTP,
            "denied: ingress of the destination: NetworkPolicy/shop/p ingress: no rule matches \
             (other ports are open by NetworkPolicy/shop/p ingress[0])",
        ),
        (
            "203.0.113.9",
            "shop/db",
            HTTP,
            "denied: ingress of the destination: NetworkPolicy/shop/p ingress: no rule matches",
        ),
        (
            "shop/web",
            "203.0.113.9",
            HTTP,
            "allowed: no policy selects either end",
        ),
    ] {
        assert_eq!(ask(&snapshot, from, to, port).to_string(), expect);
    }
    let own = ask(&snapshot, "shop/db", "shop/db", HTTP);
    assert_eq!(
        (own.live, own.ingress.map(|it| it.tier)),
        (Verdict::Allow, Some(Tier::Origin))
    );
    let error = compile::ask(&snapshot, &question("shop/nobody", "shop/db", None));
    assert_eq!(
        error.unwrap_err(),
        "pod/shop/nobody does not exist: check its namespace and name"
    );
}

#[test]
fn a_node_reaches_its_own_pods_only() {
    let mut snapshot = world(usual(), vec![policy("shop/p", &["db"], Some(vec![]), None)]);
    for (name, address) in [("n1", "192.0.2.1"), ("n2", "192.0.2.2")] {
        let addresses = vec![address.parse().unwrap()];
        snapshot.nodes.insert(
            name.into(),
            Node {
                name: name.into(),
                addresses,
                ..Node::default()
            },
        );
    }
    snapshot.pods.get_mut(&key("shop/db")).unwrap().node = Some("n1".into());
    assert_eq!(
        ask(&snapshot, "192.0.2.1", "shop/db", HTTP).live,
        Verdict::Allow
    );
    assert_eq!(
        ask(&snapshot, "192.0.2.2", "shop/db", HTTP).live,
        Verdict::Deny
    );
}

#[test]
fn services_lead_to_the_ports_of_each_pod() {
    let mut snapshot = world(
        vec![
            with_ports(pod("shop/one", &["10.0.0.1"]), &[("http", 8081)]),
            with_ports(pod("shop/two", &["10.0.0.2"]), &[("http", 8082)]),
            Pod {
                phase: Phase::Failed,
                ..with_ports(pod("shop/old", &["10.0.0.3"]), &[("http", 8083)])
            },
            with_ports(pod("ops/one", &["10.0.0.4"]), &[("http", 8084)]),
        ],
        vec![],
    );
    let port = |port, target| ServicePort {
        name: None,
        protocol: TCP,
        port,
        target,
        node_port: None,
    };
    let service = Service {
        namespace: "shop".into(),
        name: "web".into(),
        selector: Some(app(&["one", "two", "old"])),
        ports: vec![
            port(80, TargetPort::Name("http".into())),
            port(81, TargetPort::Number(9)),
        ],
        ..Service::default()
    };
    snapshot
        .services
        .insert(("shop".into(), "web".into()), service);
    let targets = |number| resolve_service(&snapshot, "shop", "web", (TCP, number));
    assert_eq!(
        targets(80),
        Ok(vec![(key("shop/one"), 8081), (key("shop/two"), 8082)])
    );
    assert_eq!(
        targets(81),
        Ok(vec![(key("shop/one"), 9), (key("shop/two"), 9)])
    );
    assert_eq!(
        targets(82),
        Err("Service/shop/web has no port 82/TCP, it has 80/TCP, 81/TCP".to_owned())
    );
    let other = resolve_service(&snapshot, "shop", "wep", (TCP, 80));
    assert_eq!(
        other,
        Err("Service/shop/wep does not exist: there are web".to_owned())
    );
}
