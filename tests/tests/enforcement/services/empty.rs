//! Services that nobody is behind: the node refuses what goes there, or knows nothing of them and sends it on as it is.

use ringfence_agent::lab::{Lab, Outcome, OutsideHost, OutsidePort, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{eventually, small},
};

use super::{
    TO_B, fares, is_closed, lets_out, manifest, on_the_node, outcomes, proxy::lay_nftables,
    reaches, service,
};
use crate::{PATIENT, SHORT, world};

/// As kube-proxy has it: Services without endpoints get this verdict on their way through the node.
fn nobody_behind(lab: &Lab, number: u8, verdict: &str) {
    let [v4, v6] = service(number);
    lay_nftables(
        lab,
        &format!(
            "table inet proxy\ndelete table inet proxy\ntable inet proxy {{\n\
             chain nobody {{\n{verdict}\n}}\n\
             map v4 {{ type ipv4_addr . inet_proto . inet_service : verdict\n\
             elements = {{ {v4} . tcp . 8080 : goto nobody, {v4} . udp . 8080 : goto nobody }} }}\n\
             map v6 {{ type ipv6_addr . inet_proto . inet_service : verdict\n\
             elements = {{ {v6} . tcp . 8080 : goto nobody, {v6} . udp . 8080 : goto nobody }} }}\n\
             chain forward {{ type filter hook forward priority -110\n\
             ct state new ip daddr . meta l4proto . th dport vmap @v4\n\
             ct state new ip6 daddr . meta l4proto . th dport vmap @v6\n}}\n}}\n"
        ),
    );
}

#[test]
fn what_the_node_refuses_is_refused_to_its_client_too() {
    let lab = Lab::up(&small("nobody", &["a", "b"], &[80])).unwrap();
    // Refused where it is forwarded, so it must be on its way somewhere.
    for (family, via) in [("-4", "203.0.113.9"), ("-6", "2001:db8:9::9")] {
        let route = format!("ip {family} route add default via {via} dev uplink0 onlink");
        on_the_node(&lab, &route.split(' ').collect::<Vec<_>>());
    }
    let manifests = world(&["a", "b"]) + &manifest(1, 8080) + &lets_out(TO_B, 80);
    nobody_behind(&lab, 1, "reject");
    let without = outcomes(&lab, "a", 1, 8080, PATIENT);
    let agent = Agent::start(&lab, &manifests, &[]);
    for from in ["a", "b"] {
        // The node's ICMP error belongs to what the pod sent, isolated or not: it fails at once and does not hang.
        let all = outcomes(&lab, from, 1, 8080, PATIENT);
        assert_eq!(all, without, "{from}");
        for (to, protocol, outcome) in all {
            // TCP over IPv6 was seen to wait on: what it does, it does without an agent too.
            if to.is_ipv4() || protocol == Transport::Udp {
                assert_eq!(outcome, Outcome::Refused, "{from} -> {to} {protocol:?}");
            }
        }
    }
    nobody_behind(&lab, 1, "drop");
    for from in ["a", "b"] {
        for (to, protocol, outcome) in outcomes(&lab, from, 1, 8080, SHORT) {
            assert_eq!(outcome, Outcome::Timeout, "{from} -> {to} {protocol:?}");
        }
    }
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn what_nobody_translates_is_judged_as_what_it_is_where_it_leaves() {
    let mut spec = small("untranslated", &["a", "b"], &[80]);
    // Somebody outside has the Service's address, so that what leaves is answered.
    spec.outside.push(OutsideHost {
        name: "usurper".to_owned(),
        addresses: service(1).to_vec(),
        serves: [80, 8080]
            .into_iter()
            .flat_map(|port| Transport::ALL.map(|protocol| OutsidePort { protocol, port }))
            .collect(),
        only_answers: true,
    });
    let lab = Lab::up(&spec).expect("a lab");
    let manifests = world(&["a", "b"]) + &manifest(1, 8080);
    let policy = |peers: &str, port| manifests.clone() + &lets_out(peers, port);
    let vip = "{ ipBlock: { cidr: 10.96.0.1/32 } }, { ipBlock: { cidr: \"fd00:96::1/128\" } }";
    let agent = Agent::start(&lab, &policy(TO_B, 8080), &[]);
    assert!(is_closed(&lab, "a", 1, 8080), "nothing allows that address");
    assert!(reaches(&lab, "b", 1, 8080), "b is free");
    let said = eventually("the denial is told", || {
        let said = agent.ringfence(&["observe", "--last", "50", "-o", "jsonl"]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        said.contains("\"reason\":\"egress\"").then_some(said)
    });
    assert!(said.contains("NetworkPolicy/t/a egress"), "{said}");
    for (port, allowed) in [(8080, true), (80, false)] {
        let revision = agent.revision();
        agent.edit("manifests.yaml", &policy(vip, port));
        agent.wait_beyond(revision);
        assert!(fares(&lab, "a", 1, 8080, allowed), "{port}");
    }
    drop(agent);
    lab.down().unwrap();
}
