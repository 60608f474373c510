//! What `NetworkPolicy` means, case by case, each with something that is allowed and something that is not.
#![expect(
    clippy::unwrap_used,
    reason = "what the tests write themselves is right"
)]

use std::{collections::BTreeSet, net::IpAddr};

use ringfence_agent::{
    compile::{
        Answer, Asker, Family, Options, Party, Question, as_if_local, compile, resolve_service,
    },
    model::{
        ContainerPort, Enforcement, IpBlock, Labels, Located, Namespace, Node, Operator, Origin,
        Peer, Phase, Pod, PodKey, Policy, PolicyKey, PortSpec, Ports, Protocol, Requirement, Rule,
        Selector, Service, ServicePort, Snapshot, TargetPort,
    },
};
use ringfence_common::{
    Direction,
    cell::{Tier, Verdict},
};

type Port = Option<(Protocol, u16)>;

const TCP: Protocol = Protocol::Tcp;
const HTTP: Port = Some((TCP, 80));

fn key(name: &str) -> PodKey {
    let (namespace, name) = name.split_once('/').unwrap();
    PodKey {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// A pod `namespace/name` with label `app=name`.
fn pod(name: &str, addresses: &[&str]) -> Pod {
    let key = key(name);
    Pod {
        labels: Labels::from([("app".to_owned(), key.name.clone())]),
        addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
        phase: Phase::Running,
        key,
        ..Pod::default()
    }
}

fn with_ports(mut pod: Pod, ports: &[(&str, u16)]) -> Pod {
    pod.ports = ports
        .iter()
        .map(|&(name, port)| ContainerPort {
            name: Some(name.to_owned()),
            port,
            protocol: TCP,
            host_port: None,
        })
        .collect();
    pod
}

fn app(names: &[&str]) -> Selector {
    let values = names.iter().map(|&it| it.to_owned()).collect();
    only("app", Operator::In(values))
}

fn only(key: &str, operator: Operator) -> Selector {
    Selector {
        requirements: BTreeSet::from([Requirement {
            key: key.to_owned(),
            operator,
        }]),
    }
}

fn pods(names: &[&str]) -> Peer {
    Peer::Pods {
        namespaces: None,
        pods: app(names),
    }
}

fn block(cidr: &str, except: &[&str]) -> Peer {
    let except = except.iter().map(|it| it.parse().unwrap()).collect();
    Peer::Block(IpBlock {
        cidr: cidr.parse().unwrap(),
        except,
    })
}

fn rule(peers: Option<Vec<Peer>>, ports: Ports) -> Rule {
    Rule { peers, ports }
}

fn tcp(first: u16, last: u16) -> Ports {
    Ports::Of(vec![PortSpec::Range(TCP, first, last)])
}

fn named(name: &str) -> Ports {
    Ports::Of(vec![PortSpec::Named(TCP, name.to_owned())])
}

/// A policy `namespace/name` about these pods (none named: all).
fn policy(
    name: &str,
    subject: &[&str],
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
) -> Policy {
    let PodKey { namespace, name } = key(name);
    let subject = if subject.is_empty() {
        Selector::default()
    } else {
        app(subject)
    };
    let key = PolicyKey { namespace, name };
    Policy {
        key,
        subject,
        ingress,
        egress,
        enforcement: Enforcement::Enforce,
        origin: Origin::default(),
    }
}

fn world(pods: Vec<Pod>, policies: Vec<Policy>) -> Snapshot {
    let namespaces = ["shop", "ops"].map(|name| {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let labels = Labels::from([
            label("kubernetes.io/metadata.name", name),
            label("team", name),
        ]);
        (
            name.to_owned(),
            Namespace {
                name: name.to_owned(),
                labels,
                origin: Origin::default(),
            },
        )
    });
    as_if_local(&Snapshot {
        namespaces: namespaces.into(),
        pods: pods.into_iter().map(|it| (it.key.clone(), it)).collect(),
        policies: policies
            .into_iter()
            .map(|it| (it.key.clone(), it))
            .collect(),
        ..Snapshot::default()
    })
}

/// Expects of `shop/db` (10.0.0.1, `fd00::1`) that it lets in, or is let out to, exactly so.
fn check(snapshot: &Snapshot, direction: Direction, expect: &[(&str, Port, bool)]) {
    let (desired, _) = compile(snapshot, &Options::default());
    for &(peer, port, allowed) in expect {
        let cell = desired.cell(&key("shop/db"), direction, peer.parse().unwrap(), port);
        let live = cell.map_or(Verdict::Allow, |it| it.live);
        assert_eq!(
            live == Verdict::Allow,
            allowed,
            "{direction:?} {peer} {port:?}: {cell:?}"
        );
    }
}

fn usual() -> Vec<Pod> {
    vec![
        pod("shop/db", &["10.0.0.1", "fd00::1"]),
        pod("shop/web", &["10.0.0.2", "fd00::2"]),
        pod("ops/web", &["10.0.1.2", "fd00::1:2"]),
        pod("ops/job", &["10.0.1.3"]),
    ]
}

fn db(rule: Rule) -> Snapshot {
    world(
        usual(),
        vec![policy("shop/p", &["db"], Some(vec![rule]), None)],
    )
}

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
        namespaces: Some(only(
            "team",
            Operator::In(BTreeSet::from(["ops".to_owned()])),
        )),
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
        [Vec::<String>::new()]
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
            .contains_key(&"192.0.2.1/32".parse().unwrap())
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
            desired.rules[cell.rule.unwrap()],
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
        [
            vec![],
            vec!["block 192.0.2.0/24 except 192.0.2.128/25".to_owned()]
        ]
    );
    assert_eq!(desired.tables.len(), 1);
    assert!(desired.tables[0].looks_at_networks);
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
        !desired.tables[0].looks_at_networks,
        "an exact address is found without looking at networks"
    );
}

fn question(from: &str, to: &str, port: Port) -> Question {
    let party = |text: &str| {
        text.parse()
            .map_or_else(|_| Party::Pod(key(text)), Party::Address)
    };
    Question {
        from: party(from),
        to: party(to),
        port,
        family: None,
    }
}

fn ask(snapshot: &Snapshot, from: &str, to: &str, port: Port) -> Answer {
    ringfence_agent::compile::ask(snapshot, &question(from, to, port)).unwrap()
}

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
    let error = ringfence_agent::compile::ask(&snapshot, &question("shop/nobody", "shop/db", None));
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
    snapshot.pods.get_mut(&key("shop/db")).unwrap().node = Some("n1".to_owned());
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
