//! Rule 2 of the hybrid-cloud example where it ends, at a node of the control plane: that node judged, with the example's own
//! zones and rules.

use std::{
    net::IpAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use ringfence_agent::{
    lab::{Actor, Lab, LabFile, OutsidePort, wire::Transport},
    observe::flow::timestamp,
};
use ringfence_tests::{
    agent::Agent,
    lab::{eventually, patiently, small},
    reach::{self, PATIENT, SHORT},
};

/// When the door for maintenance closes in the example.
const DOOR: &str = "2027-01-31T18:00:00Z";
/// How long it is open here: the agent starts and three ways are tried in that time.
const OPEN_FOR: Duration = Duration::from_secs(25);
const NODE: [&str; 2] = ["10.0.9.1", "fd00:9::1"];
const MASTER: &str = "apiVersion: v1
kind: Node
metadata: { name: w1, labels: { node-role.kubernetes.io/control-plane: \"\" } }
status: { addresses: [ { type: InternalIP, address: 10.0.9.1 }, { type: InternalIP, address: \"fd00:9::1\" } ] }
---
";

fn example() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/hybrid-cloud/zones")
}

/// The example's hosts outside, around a node that serves what a master does. Every host answers on a port that no rule opens.
fn lab() -> Lab {
    let mut spec = small("masters", &["a"], &[80]);
    spec.node_ports = vec![22, 443, 6443];
    let file = LabFile::read(&example()).expect("the example has one");
    spec.outside = file.outside;
    spec.outside.retain(|host| host.name != "master-1");
    for host in &mut spec.outside {
        host.serves.push(OutsidePort {
            protocol: Transport::Tcp,
            port: 5000,
        });
    }
    Lab::up(&spec).expect("a lab")
}

/// True if TCP gets through as it should, in both families.
fn fares(lab: &Lab, from: &Actor, to: &[IpAddr], port: u16, allowed: bool) -> bool {
    let timeout = if allowed { PATIENT } else { SHORT };
    to.iter().all(|&to| {
        let outcome = lab.probe(from, to, port, Transport::Tcp, timeout);
        outcome.expect("the lab obeys").is_answered() == allowed
    })
}

#[test]
fn a_master_takes_443_only_and_ssh_until_the_rule_ends() {
    let lab = lab();
    let manifest = |file: &str| {
        let path = example().join("manifests").join(file);
        std::fs::read_to_string(path).expect("the example has it")
    };
    let rules = manifest("30-rules.yaml");
    assert_eq!(
        rules.matches(DOOR).count(),
        2,
        "the rule, and the exception of the one about port 22"
    );
    let zones = crate::world(&["a"]) + "---\n" + MASTER + &manifest("20-zones.yaml") + "---\n";
    let closed = rules.replace(DOOR, "2020-01-31T18:00:00Z");
    let agent = Agent::start(
        &lab,
        &(zones.clone() + &closed),
        &["--host-enforcement", "enforce"],
    );
    let outside = Actor::outside;
    let node = NODE.map(|it| it.parse().expect("an address"));
    for (from, port, allowed) in [
        ("client", 443, true),
        ("vpn", 443, true),
        ("on-prem", 443, true),
        ("client", 6443, false),
        ("vpn", 6443, false),
        ("jump-box", 6443, false),
        ("client", 22, false),
        ("jump-box", 22, false),
    ] {
        let went = fares(&lab, &outside(from), &node, port, allowed);
        assert!(went, "{from} -> the master:{port}, allowed {allowed}");
    }
    // What it reaches: all zones, but not their service ports, nor SSH.
    let addresses = |name: &str| lab.addresses(&outside(name)).expect("a host").to_vec();
    for (to, port, allowed) in [
        ("esb-vm", 5000, true),
        ("db-vm", 5000, true),
        ("on-prem-db", 5000, true),
        ("nfs", 2049, true),
        ("on-prem-sftp", 443, true),
        ("esb-vm", 8280, false),
        ("db-vm", 3306, false),
        ("db-vm", 22, false),
        ("on-prem-db", 1521, false),
        ("on-prem-web", 443, false),
        ("on-prem-sftp", 22, false),
        ("client", 5000, false),
    ] {
        let went = fares(&lab, &Actor::Node, &addresses(to), port, allowed);
        assert!(went, "the master -> {to}:{port}, allowed {allowed}");
    }
    // Rule 7: by UDP as well.
    for port in [111, 1110, 2049] {
        assert!(reach::reaches(&lab, &Actor::Node, &addresses("nfs"), port));
    }

    let ends = SystemTime::now() + OPEN_FOR;
    let open = rules.replace(DOOR, &timestamp(ends));
    agent.edit("manifests.yaml", &(zones + &open));
    let ssh = |from: &str, allowed| fares(&lab, &outside(from), &node, 22, allowed);
    eventually("SSH is open", || (!ssh("jump-box", false)).then_some(()));
    assert!(ssh("jump-box", true), "in both families");
    assert!(ssh("vpn", false) && ssh("client", false), "for nobody else");
    patiently("it ends by itself", || ssh("jump-box", false).then_some(()));
    // Moments count in whole seconds.
    let second = Duration::from_secs(1);
    assert!(SystemTime::now() + second >= ends, "it ended too early");
    assert!(fares(&lab, &outside("jump-box"), &node, 443, true));
    drop(agent);
    lab.down().unwrap();
}
