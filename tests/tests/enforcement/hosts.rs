//! The node itself, judged: real sockets of the node, of pods behind it and of hosts outside.

use std::net::IpAddr;

use ringfence_agent::lab::{Actor, Lab, Outcome, OutsideHost, OutsidePort, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{eventually, small},
    reach,
};

use crate::{PATIENT, pod, world};

const NODE: [&str; 2] = ["10.0.9.1", "fd00:9::1"];
const ADMIN: [&str; 2] = ["203.0.113.20", "2001:db8:9::20"];
const OTHER: [&str; 2] = ["203.0.113.30", "2001:db8:9::30"];

const ZONES: &str = r#"
---
apiVersion: v1
kind: Node
metadata: { name: w1, labels: { role: worker } }
status: { addresses: [ { type: InternalIP, address: 10.0.9.1 }, { type: InternalIP, address: "fd00:9::1" } ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: nodes }
spec: { members: [ { nodes: { matchLabels: { role: worker } } } ], ingress: Isolated, egress: Isolated }
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: admin }
spec: { members: [ { networks: { cidrs: [ 203.0.113.20/32, "2001:db8:9::20/128" ] } } ] }
---
apiVersion: ringfence.dev/v1alpha1
kind: ZonePolicy
metadata: { name: nodes }
spec:
  rules:
  - { name: in, action: Allow, from: [ { zoneNames: [ admin ] } ], to: [ { zoneNames: [ nodes ] } ], ports: [ { protocol: TCP, port: 8080 }, { protocol: UDP, port: 8080 } ] }
  - { name: out, action: Allow, from: [ { zoneNames: [ nodes ] } ], to: [ { zoneNames: [ admin ] } ], ports: [ { protocol: TCP, port: 80 }, { protocol: UDP, port: 80 } ] }
"#;

fn both(of: [&str; 2]) -> [IpAddr; 2] {
    of.map(|address| address.parse().expect("an address"))
}

/// A node that serves two ports, a pod behind it, and two hosts outside that serve one.
fn lab(name: &str) -> Lab {
    let mut spec = small(name, &["a"], &[80]);
    spec.node_ports = vec![22, 8080];
    for (name, addresses) in [("admin", ADMIN), ("other", OTHER)] {
        spec.outside.push(OutsideHost {
            name: name.to_owned(),
            addresses: both(addresses).to_vec(),
            serves: Transport::ALL
                .map(|protocol| OutsidePort { protocol, port: 80 })
                .to_vec(),
            only_answers: false,
        });
    }
    Lab::up(&spec).expect("a lab")
}

/// Gives the node these rules.
fn on_the_node(lab: &Lab, rules: &str) {
    let output = lab.exec(&Actor::Node, ["nft", rules].map(std::ffi::OsStr::new));
    assert!(output.expect("the lab obeys").status.success(), "{rules}");
}

fn outside(name: &str) -> Actor {
    Actor::outside(name)
}

#[test]
fn a_node_is_closed_to_all_but_whom_its_zone_allows_and_pods_go_through_it() {
    let lab = lab("hosts");
    let agent = Agent::start(
        &lab,
        &(world(&["a"]) + ZONES),
        &["--host-enforcement", "enforce"],
    );
    let node = both(NODE);
    assert!(reach::reaches(&lab, &outside("admin"), &node, 8080));
    assert!(reach::is_closed(&lab, &outside("other"), &node, 8080));
    for to in node {
        let ssh = lab.probe(&outside("other"), to, 22, Transport::Tcp, PATIENT);
        let ssh = ssh.expect("the lab obeys");
        assert!(matches!(ssh, Outcome::Answered { .. }), "{to}: {ssh:?}");
    }
    assert!(reach::reaches(&lab, &Actor::Node, &both(ADMIN), 80));
    assert!(reach::is_closed(&lab, &Actor::Node, &both(OTHER), 80));
    // What pods send is theirs, with their own address and with the node's.
    assert!(reach::reaches(&lab, &pod("a"), &both(OTHER), 80));
    let masquerade = "table inet hosts { chain after { type nat hook postrouting priority srcnat; \
                      oifname != \"lo\" masquerade; }; }";
    on_the_node(&lab, masquerade);
    assert!(
        reach::reaches(&lab, &pod("a"), &both(OTHER), 80),
        "masqueraded"
    );
    assert!(reach::is_closed(&lab, &Actor::Node, &both(OTHER), 80));
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_port_that_is_translated_is_no_way_to_another_of_the_node() {
    let lab = lab("nodeport");
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: { name: s, namespace: t }\nspec:\n  type: NodePort\n  \
                   clusterIP: 10.96.0.1\n  ports:\n  - { name: tcp, port: 80, nodePort: 30080 }\n  \
                   - { name: udp, port: 80, nodePort: 30080, protocol: UDP }\n";
    let agent = Agent::start(
        &lab,
        &(world(&["a"]) + ZONES + service),
        &["--host-enforcement", "enforce"],
    );
    let [v4, v6] = NODE;
    let dnat = ["tcp", "udp"].map(|transport| {
        format!(
            "ip daddr {v4} {transport} dport 30080 dnat ip to {v4}:8080; \
             ip6 daddr {v6} {transport} dport 30080 dnat ip6 to [{v6}]:8080;"
        )
    });
    let redirect = format!(
        "table inet hosts {{ chain before {{ type nat hook prerouting priority dstnat; {} }}; }}",
        dnat.concat()
    );
    on_the_node(&lab, &redirect);
    let node = both(NODE);
    assert!(reach::reaches(&lab, &outside("admin"), &node, 30_080));
    assert!(reach::is_closed(&lab, &outside("other"), &node, 30_080));
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn the_way_back_in_is_open_until_it_is_closed_again() {
    let lab = lab("backin");
    let agent = Agent::start(
        &lab,
        &(world(&["a"]) + ZONES),
        &["--host-enforcement", "enforce"],
    );
    let node = both(NODE);
    let other = outside("other");
    assert!(reach::is_closed(&lab, &other, &node, 8080));
    assert!(agent.detach_with(&["--host"]).status.success());
    eventually("the node is open", || {
        reach::reaches(&lab, &other, &node, 8080).then_some(())
    });
    assert!(agent.detach_with(&["--host", "--undo"]).status.success());
    eventually("the node is judged again", || {
        reach::is_closed(&lab, &other, &node, 8080).then_some(())
    });
    assert!(reach::reaches(&lab, &outside("admin"), &node, 8080));
    drop(agent);
    lab.down().unwrap();
}
