//! Services that lead to pods of another node, which is behind a wire of its own.

use ringfence_agent::lab::{Actor, Lab, OutsideHost, OutsidePort, Probe, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, eventually, small},
};

use super::{
    TO_B, Ways, fares, is_closed, lets_out, manifest, on_the_node, outside, proxy, reaches,
    service, translate,
};
use crate::{PATIENT, SHORT, flows_on, pod, stands_still, stream, world};

/// Pods of the other node: the name is the label `app` too.
const FAR: [(&str, [&str; 2]); 2] = [
    ("near", ["10.244.20.5", "fd00:10:244:20::5"]),
    ("stranger", ["10.244.20.6", "fd00:10:244:20::6"]),
];
/// The other node's own addresses.
const OTHER_NODE: [&str; 2] = ["10.0.20.1", "fd00:20::1"];
const TO_NEAR: &str = "{ podSelector: { matchLabels: { app: near } } }";

fn host(name: &str, addresses: [&str; 2], ports: &[u16]) -> OutsideHost {
    let [v4, v6] = addresses;
    OutsideHost {
        name: name.to_owned(),
        addresses: outside(v4, v6).to_vec(),
        serves: ports
            .iter()
            .flat_map(|&port| Transport::ALL.map(|protocol| OutsidePort { protocol, port }))
            .collect(),
        only_answers: true,
    }
}

fn with_other_node(name: &str) -> Lab {
    let mut spec = small(name, &["a", "b", "c"], &[80]);
    let far = FAR.map(|(name, addresses)| host(name, addresses, &[80, 81]));
    spec.outside.extend(far);
    spec.outside.push(host("other", OTHER_NODE, &[30_001]));
    Lab::up(&spec).expect("a lab")
}

/// The other node and its pods, as the cluster knows them.
fn far_world() -> String {
    let [v4, v6] = OTHER_NODE;
    let mut text = world(&["a", "b", "c"])
        + &format!(
            "---\napiVersion: v1\nkind: Node\nmetadata: {{ name: other }}\nstatus:\n  addresses:\n  \
             - {{ type: InternalIP, address: {v4} }}\n  - {{ type: InternalIP, address: \"{v6}\" }}\n"
        );
    for (name, [v4, v6]) in FAR {
        text += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: t, labels: {{ app: {name} }} }}\n\
             spec: {{ nodeName: other }}\n\
             status: {{ phase: Running, podIPs: [ {{ ip: {v4} }}, {{ ip: \"{v6}\" }} ] }}\n"
        );
    }
    text
}

/// A wire to the other node beside the uplink, that appears while the agent runs; the pods there go by it.
fn another_wire(lab: &Lab, agent: &Agent) {
    let theirs = Actor::outside("other");
    let run = |actor: &Actor, words: &str| {
        let words: Vec<&std::ffi::OsStr> = words.split(' ').map(AsRef::as_ref).collect();
        let output = lab.exec(actor, &words).expect("the lab obeys");
        assert!(output.status.success(), "{words:?}: {output:?}");
    };
    let netns = ringfence_agent::lab::names::outside_netns(lab.name());
    let ours = &Actor::Node;
    run(
        ours,
        &format!("ip link add wire0 type veth peer name wire1 netns {netns}"),
    );
    for (actor, device, own) in [(ours, "wire0", 1), (&theirs, "wire1", 2)] {
        run(
            actor,
            &format!("ip addr add 192.168.77.{own}/24 dev {device}"),
        );
        run(
            actor,
            &format!("ip addr add fd00:77::{own}/64 dev {device} nodad"),
        );
        run(actor, &format!("ip link set {device} up"));
    }
    for (_, [v4, v6]) in FAR {
        run(
            ours,
            &format!("ip route replace {v4} via 192.168.77.2 dev wire0"),
        );
        run(
            ours,
            &format!("ip route replace {v6} via fd00:77::2 dev wire0"),
        );
    }
    run(
        &theirs,
        "ip route replace 10.244.9.0/24 via 192.168.77.1 dev wire1",
    );
    run(
        &theirs,
        "ip route replace fd00:10:244:9::/64 via fd00:77::1 dev wire1",
    );
    eventually("the wire is guarded", || {
        let shown = agent.ringfence(&["bpf", "show"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        (shown.matches("-to_host").count() == 2 && shown.matches("-from_host").count() == 2)
            .then_some(())
    });
}

#[test]
fn a_pod_of_another_node_is_judged_as_the_pod_that_it_is() {
    let lab = with_other_node("remote");
    let [near, stranger] = FAR.map(|(_, [v4, v6])| outside(v4, v6));
    let services: String = [1, 2, 3].map(|number| manifest(number, 8080)).concat();
    let manifests = far_world() + &services;
    let rules = [
        (1, 8080, near, 80),
        (2, 8080, stranger, 80),
        (3, 8080, near, 81),
    ];
    let agent = Agent::start(&lab, &(manifests.clone() + &lets_out(TO_NEAR, 80)), &[]);
    for wired in [false, true] {
        if wired {
            another_wire(&lab, &agent);
        }
        for (masquerade, clobber) in [(false, false), (true, false), (false, true), (true, true)] {
            let ways = Ways {
                masquerade,
                clobber,
            };
            translate(&lab, ways, &rules);
            for (number, allowed) in [(1, true), (2, false), (3, false)] {
                let said = format!("Service {number}, own wire {wired}, {ways:?}");
                assert!(fares(&lab, "a", number, 8080, allowed), "{said}");
                assert!(reaches(&lab, "b", number, 8080), "b is free, {said}");
            }
        }
    }
    let devices = on_the_node(&lab, &["cat", "/proc/net/dev"]);
    let sent = devices.lines().find_map(|line| {
        line.trim()
            .strip_prefix("wire0:")?
            .split_whitespace()
            .nth(9)?
            .parse()
            .ok()
    });
    assert!(sent > Some(0_u64), "it went by that wire: {devices}");
    let a = pod("a");
    let ids: Vec<String> = service(1)
        .into_iter()
        .flat_map(|to| Transport::ALL.map(|protocol| (to, protocol)))
        .map(|(to, protocol)| {
            let id = format!("{to} {protocol:?}");
            stream(&lab, &id, &a, to, 8080, protocol);
            flows_on(&lab, &id, &a, 10);
            id
        })
        .collect();
    let revision = agent.revision();
    agent.edit("manifests.yaml", &(manifests + &lets_out(TO_B, 80)));
    agent.wait_beyond(revision);
    for id in &ids {
        stands_still(&lab, id, &a);
    }
    assert!(is_closed(&lab, "a", 1, 8080), "taken back");
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_pod_here_and_one_there_take_turns() {
    let lab = with_other_node("farturns");
    let [_, stranger] = FAR.map(|(_, [v4, v6])| outside(v4, v6));
    let manifests = far_world() + &manifest(1, 8080);
    let spread = proxy::Spread {
        service: 1,
        port: 8080,
        backends: &[(addresses(2), 80), (stranger, 81)],
        affinity: false,
    };
    proxy::lay(&lab, proxy::Mode::Nftables, &[spread]);
    let agent = Agent::start(&lab, &(manifests.clone() + &lets_out(TO_B, 80)), &[]);
    let turns = |from: &str, expected: [bool; 4]| {
        for (turn, allowed) in expected.into_iter().enumerate() {
            assert!(fares(&lab, from, 1, 8080, allowed), "{from}, turn {turn}");
        }
    };
    turns("a", [true, false, true, false]);
    // c is free.
    turns("c", [true; 4]);
    let revision = agent.revision();
    let to_stranger = "{ podSelector: { matchLabels: { app: stranger } } }";
    agent.edit("manifests.yaml", &(manifests + &lets_out(to_stranger, 81)));
    agent.wait_beyond(revision);
    turns("a", [false, true, false, true]);
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_node_port_of_another_node_is_judged_by_that_nodes_address() {
    let lab = with_other_node("farport");
    let manifests = far_world()
        + "---\napiVersion: v1\nkind: Service\nmetadata: { name: n, namespace: t }\nspec:\n  type: NodePort\n  \
           clusterIP: 10.96.1.1\n  ports:\n  - { name: tcp, port: 80, nodePort: 30001 }\n  \
           - { name: udp, port: 80, nodePort: 30001, protocol: UDP }\n";
    let [v4, v6] = OTHER_NODE;
    let to_node =
        format!("{{ ipBlock: {{ cidr: {v4}/32 }} }}, {{ ipBlock: {{ cidr: \"{v6}/128\" }} }}");
    let agent = Agent::start(&lab, &manifests, &[]);
    for (peers, port, allowed) in [
        // Only that node knows the backend, so the backend's labels say nothing here.
        (TO_NEAR, 80, false),
        (&to_node, 80, false),
        (&to_node, 30_001, true),
    ] {
        let revision = agent.revision();
        agent.edit(
            "manifests.yaml",
            &(manifests.clone() + &lets_out(peers, port)),
        );
        agent.wait_beyond(revision);
        for from in ["a", "b"] {
            let expect = allowed || from == "b";
            let probes: Vec<Probe> = outside(v4, v6)
                .into_iter()
                .flat_map(|to| {
                    Transport::ALL.map(|protocol| Probe {
                        from: pod(from),
                        to,
                        port: 30_001,
                        protocol,
                        timeout: if expect { PATIENT } else { SHORT },
                    })
                })
                .collect();
            for (probe, outcome) in probes.iter().zip(lab.probe_all(&probes).unwrap()) {
                assert_eq!(
                    outcome.is_answered(),
                    expect,
                    "{probe:?}: {outcome}, {peers} {port}"
                );
            }
        }
    }
    drop(agent);
    lab.down().unwrap();
}
