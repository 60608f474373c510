//! Services that lead to pods of the node.

use ringfence_agent::lab::{Lab, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, eventually, small},
};

use super::{
    TO_B, Ways, fares, is_closed, lets_out, manifest, node, on_the_node, proxy::lay_nftables,
    reaches, service, translate, translate_with_iptables,
};
use crate::{attempt, flows_on, patient_attempt, pod, pod_manifest, stands_still, stream, world};

#[test]
fn each_backend_and_each_target_port_is_judged_for_itself() {
    let lab = Lab::up(&small("services", &["a", "b", "c"], &[80, 81])).unwrap();
    let services: String = [(1, 8080), (2, 8080), (3, 80), (4, 81)]
        .map(|(number, port)| manifest(number, port))
        .concat();
    let manifests = world(&["a", "b", "c"]) + &services + &lets_out(TO_B, 80);
    let rules = [
        (1, 8080, addresses(2), 80),
        (2, 8080, addresses(3), 80),
        // The Service's port is allowed and the pod's is not; and the other way round.
        (3, 80, addresses(2), 81),
        (4, 81, addresses(2), 80),
    ];
    translate(&lab, Ways::default(), &rules);
    assert!(reaches(&lab, "a", 2, 8080), "without an agent all is open");
    let agent = Agent::start(&lab, &manifests, &[]);
    for masquerade in [false, true] {
        for clobber in [false, true] {
            let ways = Ways {
                masquerade,
                clobber,
            };
            translate(&lab, ways, &rules);
            for (number, port, allowed) in [
                (1, 8080, true),
                (2, 8080, false),
                (3, 80, false),
                (4, 81, true),
            ] {
                assert!(
                    fares(&lab, "a", number, port, allowed),
                    "Service {number} {ways:?}"
                );
                assert!(reaches(&lab, "b", number, port), "b is free, {ways:?}");
            }
        }
    }
    let said = eventually("the denial is told", || {
        let said = agent.ringfence(&["observe", "--last", "50", "-o", "jsonl"]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        said.contains("\"reason\":\"egress\"").then_some(said)
    });
    assert!(said.contains("NetworkPolicy/t/a egress"), "{said}");
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn the_same_holds_with_iptables() {
    let lab = Lab::up(&small("iptables", &["a", "b", "c"], &[80, 81])).unwrap();
    let services: String = [(1, 8080), (2, 8080), (3, 80)]
        .map(|(number, port)| manifest(number, port))
        .concat();
    let manifests = world(&["a", "b", "c"]) + &services + &lets_out(TO_B, 80);
    translate_with_iptables(
        &lab,
        &[
            (1, 8080, addresses(2), 80),
            (2, 8080, addresses(3), 80),
            (3, 80, addresses(2), 81),
        ],
    );
    let agent = Agent::start(&lab, &manifests, &[]);
    for (number, port, allowed) in [(1, 8080, true), (2, 8080, false), (3, 80, false)] {
        assert!(fares(&lab, "a", number, port, allowed), "Service {number}");
        assert!(reaches(&lab, "b", number, port), "b is free");
    }
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_node_port_is_judged_by_its_backend() {
    let lab = Lab::up(&small("nodeport", &["a", "b", "c"], &[80])).unwrap();
    let port = |number: u8, port: u16| {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: n{number}, namespace: t }}\nspec:\n  type: NodePort\n  \
             clusterIP: 10.96.1.{number}\n  ports: [ {{ port: 80, nodePort: {port} }} ]\n"
        )
    };
    let manifests =
        world(&["a", "b", "c"]) + &port(1, 30_001) + &port(2, 30_002) + &lets_out(TO_B, 80);
    let rules = [(30_001, addresses(2)[0]), (30_002, addresses(3)[0])].map(|(port, to)| {
        format!("ip daddr 10.0.9.1 tcp dport {port} meta mark set meta mark or 0x4000 dnat ip to {to}:80\n")
    });
    let table = format!(
        "table inet proxy {{\nchain before {{ type nat hook prerouting priority dstnat\n{}}}\n\
         chain after {{ type nat hook postrouting priority srcnat\nmeta mark & 0x4000 == 0x4000 masquerade\n}}\n}}\n",
        rules.concat()
    );
    on_the_node(&lab, &["nft", &table]);
    let agent = Agent::start(&lab, &manifests, &[]);
    let [to, _] = node();
    for (from, port) in [("a", 30_001), ("b", 30_002)] {
        assert!(patient_attempt(&lab, &pod(from), to, port, Transport::Tcp).is_answered());
    }
    assert!(!attempt(&lab, &pod("a"), to, 30_002, Transport::Tcp).is_answered());
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn external_addresses_and_host_ports_are_judged_by_their_backends() {
    let lab = Lab::up(&small("external", &["a", "b", "c"], &[80])).unwrap();
    let [external, balancer] = ["198.51.100.7", "198.51.100.8"];
    // The policy's literal words about these addresses say nothing, for or against.
    let peers = format!("{TO_B}, {{ ipBlock: {{ cidr: 198.51.100.0/24 }} }}");
    let host_port = |number: u8| {
        format!(
            "spec: {{ containers: [ {{ name: it, ports: [ {{ containerPort: 80, hostPort: 3000{number} }} ] }} ] }}\n"
        )
    };
    let with_host_port = |name: &str, number| {
        let pod = pod_manifest(name, name, number, "");
        pod.replace(
            "spec: { nodeName: w1, containers: [] }\n",
            &host_port(number),
        )
    };
    let manifests = world(&["a"])
        + &with_host_port("b", 2)
        + &with_host_port("c", 3)
        + &format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: outward, namespace: t }}\nspec:\n  \
             type: LoadBalancer\n  clusterIP: 10.96.0.1\n  externalIPs: [ {external} ]\n  \
             ports: [ {{ port: 8080 }}, {{ name: more, port: 8081 }} ]\n\
             status: {{ loadBalancer: {{ ingress: [ {{ ip: {balancer} }} ] }} }}\n"
        )
        + &lets_out(&peers, 80);
    let (b, c) = (addresses(2)[0], addresses(3)[0]);
    let [node, _] = node();
    let ends = [
        (external, 8080, b),
        (external, 8081, c),
        (balancer, 8080, b),
        (balancer, 8081, c),
        (&node.to_string(), 30_002, b),
        (&node.to_string(), 30_003, c),
    ];
    let rules = ends
        .map(|(given, port, to)| format!("ip daddr {given} tcp dport {port} dnat ip to {to}:80\n"));
    for masquerade in ["", "ct status dnat masquerade\n"] {
        let table = format!(
            "table inet proxy\ndelete table inet proxy\ntable inet proxy {{\n\
             chain before {{ type nat hook prerouting priority dstnat\n{}}}\n\
             chain after {{ type nat hook postrouting priority srcnat\n{masquerade}}}\n}}\n",
            rules.concat()
        );
        lay_nftables(&lab, &table);
        let agent = Agent::start(&lab, &manifests, &[]);
        for (given, port, to) in ends {
            let given = given.parse().unwrap();
            let ask = if to == b { patient_attempt } else { attempt };
            let outcome = ask(&lab, &pod("a"), given, port, Transport::Tcp);
            assert_eq!(
                outcome.is_answered(),
                to == b,
                "{given}:{port}, {masquerade:?}: {outcome}"
            );
            let free = if to == b { "c" } else { "b" };
            let outcome = patient_attempt(&lab, &pod(free), given, port, Transport::Tcp);
            assert!(outcome.is_answered(), "{free} is free, {given}:{port}");
        }
        drop(agent);
    }
    lab.down().unwrap();
}

#[test]
fn a_service_that_is_not_known_yet_is_closed_and_opens_when_it_is() {
    let lab = Lab::up(&small("unknown", &["a", "b", "c"], &[80])).unwrap();
    let manifests = world(&["a", "b", "c"]) + &lets_out(TO_B, 80);
    translate(&lab, Ways::default(), &[(1, 8080, addresses(2), 80)]);
    let agent = Agent::start(&lab, &manifests, &[]);
    assert!(is_closed(&lab, "a", 1, 8080) && reaches(&lab, "c", 1, 8080));
    let revision = agent.revision();
    agent.edit("manifests.yaml", &(manifests + &manifest(1, 8080)));
    agent.wait_beyond(revision);
    assert!(reaches(&lab, "a", 1, 8080));
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_pod_reaches_itself_through_its_service_and_nobody_else_does() {
    let lab = Lab::up(&small("hairpin", &["a", "b"], &[80])).unwrap();
    let isolated = world(&["a", "b"]) + &manifest(1, 8080) + &lets_out(TO_B, 80);
    translate(&lab, Ways::default(), &[(1, 8080, addresses(1), 80)]);
    let agent = Agent::start(&lab, &isolated, &[]);
    assert!(reaches(&lab, "a", 1, 8080), "to itself");
    assert!(is_closed(&lab, "b", 1, 8080), "a is closed to others");
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_connection_through_a_service_ends_when_its_backend_is_taken_back() {
    let lab = Lab::up(&small("takenback", &["a", "b", "c"], &[80])).unwrap();
    let manifests = world(&["a", "b", "c"]) + &manifest(1, 8080) + &manifest(2, 8080);
    let both =
        "{ podSelector: { matchExpressions: [ { key: app, operator: In, values: [ b, c ] } ] } }";
    translate(
        &lab,
        Ways::default(),
        &[(1, 8080, addresses(2), 80), (2, 8080, addresses(3), 80)],
    );
    let agent = Agent::start(&lab, &(manifests.clone() + &lets_out(both, 80)), &[]);
    let a = pod("a");
    let mut flows = Vec::new();
    for number in [1, 2] {
        for to in service(number) {
            for protocol in Transport::ALL {
                let id = format!("{number} {to} {protocol:?}");
                stream(&lab, &id, &a, to, 8080, protocol);
                flows_on(&lab, &id, &a, 10);
                flows.push((number, id));
            }
        }
    }
    let revision = agent.revision();
    agent.edit("manifests.yaml", &(manifests + &lets_out(TO_B, 80)));
    agent.wait_beyond(revision);
    for (number, id) in &flows {
        if *number == 1 {
            flows_on(&lab, id, &a, 10);
        } else {
            stands_still(&lab, id, &a);
        }
    }
    drop(agent);
    lab.down().unwrap();
}
