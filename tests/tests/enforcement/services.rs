//! Services: egress is judged as what a packet has become. The node translates as kube-proxy makes it, with nftables; with
//! and without masquerade, and with somebody else's rule that writes over the mark.

use std::{fmt::Write as _, fs, net::IpAddr};

use ringfence_agent::lab::{Actor, Lab, LabSpec, OutsideHost, OutsidePort, Probe, wire::Transport};
use ringfence_tests::{
    agent::Agent,
    lab::{addresses, eventually, small},
};

use super::{PATIENT, SHORT, flows_on, pod, pod_manifest, stands_still, stream, world};

/// The address of Service number N, in both families.
fn service(number: u8) -> [IpAddr; 2] {
    [
        [10, 96, 0, number].into(),
        [0xfd00, 0x96, 0, 0, 0, 0, 0, u16::from(number)].into(),
    ]
}

/// Its manifest, on this port.
fn manifest(number: u8, port: u16) -> String {
    let [v4, v6] = service(number);
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: s{number}, namespace: t }}\nspec:\n  clusterIP: {v4}\n  \
         clusterIPs: [ {v4}, \"{v6}\" ]\n  ports:\n  - {{ name: tcp, port: {port} }}\n  \
         - {{ name: udp, port: {port}, protocol: UDP }}\n"
    )
}

/// A policy for `a`: out to these peers (a flow sequence) on this port, and nothing else, in or out.
fn lets_out(peers: &str, port: u16) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: a, namespace: t }}\nspec:\n  \
         podSelector: {{ matchLabels: {{ app: a }} }}\n  policyTypes: [Ingress, Egress]\n  egress:\n  - to: [ {peers} ]\n    \
         ports: [ {{ port: {port} }}, {{ port: {port}, protocol: UDP }} ]\n"
    )
}

const TO_B: &str = "{ podSelector: { matchLabels: { app: b } } }";

/// What the node does besides translating.
#[derive(Clone, Copy, Debug, Default)]
struct Ways {
    /// Gives what it translates its own source address.
    masquerade: bool,
    /// Has somebody's rule that writes over whole marks.
    clobber: bool,
}

/// Lays the node's rules: Service N on a port becomes an address and port.
fn translate(lab: &Lab, ways: Ways, services: &[(u8, u16, [IpAddr; 2], u16)]) {
    let (mut before, mut after, mut mangle) = (String::new(), String::new(), String::new());
    for &(number, port, to, to_port) in services {
        for (given, behind) in service(number).into_iter().zip(to) {
            let (family, shown) = match behind {
                IpAddr::V4(_) => ("ip", behind.to_string()),
                IpAddr::V6(_) => ("ip6", format!("[{behind}]")),
            };
            for transport in ["tcp", "udp"] {
                writeln!(
                    before,
                    "{family} daddr {given} {transport} dport {port} dnat {family} to {shown}:{to_port}"
                )
                .expect("a string takes everything");
            }
            writeln!(
                after,
                "{family} saddr {behind} {family} daddr {behind} masquerade"
            )
            .expect("a string takes everything");
        }
    }
    if ways.masquerade {
        after += "ct status dnat masquerade\n";
    }
    if ways.clobber {
        mangle += "meta mark set 0x1\n";
    }
    let rules = format!(
        "table inet proxy\ndelete table inet proxy\ntable inet proxy {{\n\
         chain mangle {{ type filter hook prerouting priority mangle\n{mangle}}}\n\
         chain before {{ type nat hook prerouting priority dstnat\n{before}}}\n\
         chain after {{ type nat hook postrouting priority srcnat\n{after}}}\n}}\n"
    );
    let folder = tempfile::tempdir().expect("the temporary directory can be written");
    let path = folder.path().join("rules");
    fs::write(&path, &rules).expect("just made");
    let output = lab
        .exec(
            &Actor::Node,
            ["nft".as_ref(), "-f".as_ref(), path.as_os_str()],
        )
        .expect("the lab obeys");
    assert!(
        output.status.success(),
        "{}\n{rules}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Which transports and families of a Service answer.
fn answers(lab: &Lab, from: &str, number: u8, port: u16) -> Vec<(IpAddr, Transport, bool)> {
    let ends: Vec<(IpAddr, Transport)> = service(number)
        .into_iter()
        .flat_map(|to| Transport::ALL.map(|protocol| (to, protocol)))
        .collect();
    let probes: Vec<Probe> = ends
        .iter()
        .map(|&(to, protocol)| Probe {
            from: pod(from),
            to,
            port,
            protocol,
            timeout: SHORT,
        })
        .collect();
    let outcomes = lab.probe_all(&probes).expect("the lab obeys");
    let told = ends.into_iter().zip(outcomes);
    told.map(|((to, protocol), outcome)| (to, protocol, outcome.is_answered()))
        .collect()
}

/// True if all of them answer, false if none does.
fn reaches(lab: &Lab, from: &str, number: u8, port: u16) -> bool {
    let answers = answers(lab, from, number, port);
    let some = answers.iter().filter(|(.., answered)| *answered).count();
    assert!(some == 0 || some == answers.len(), "{from} -> {answers:?}");
    some > 0
}

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
                assert_eq!(
                    reaches(&lab, "a", number, port),
                    allowed,
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
fn a_service_that_is_not_known_yet_is_closed_and_opens_when_it_is() {
    let lab = Lab::up(&small("unknown", &["a", "b", "c"], &[80])).unwrap();
    let manifests = world(&["a", "b", "c"]) + &lets_out(TO_B, 80);
    translate(&lab, Ways::default(), &[(1, 8080, addresses(2), 80)]);
    let agent = Agent::start(&lab, &manifests, &[]);
    assert!(!reaches(&lab, "a", 1, 8080) && reaches(&lab, "c", 1, 8080));
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
    assert!(!reaches(&lab, "b", 1, 8080), "a is closed to others");
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

/// A lab with two hosts on premises and a metadata service outside.
fn with_outside(name: &str) -> Lab {
    let mut spec: LabSpec = small(name, &["a", "b"], &[80]);
    let host = |name: &str, v4: &str, v6: &str| OutsideHost {
        name: name.to_owned(),
        addresses: [v4, v6].map(|it| it.parse().expect("an address")).to_vec(),
        serves: Transport::ALL
            .map(|protocol| OutsidePort { protocol, port: 80 })
            .to_vec(),
        only_answers: true,
    };
    spec.outside
        .push(host("db", "203.0.113.20", "2001:db8:9::20"));
    spec.outside
        .push(host("mail", "203.0.113.30", "2001:db8:9::30"));
    spec.outside
        .push(host("metadata", "169.254.169.254", "fd00:ec2::254"));
    Lab::up(&spec).expect("a lab")
}

fn outside(v4: &str, v6: &str) -> [IpAddr; 2] {
    [v4, v6].map(|address| address.parse().expect("an address"))
}

#[test]
fn a_service_that_leads_off_the_node_is_judged_where_it_leaves() {
    let lab = with_outside("onprem");
    let db =
        "{ ipBlock: { cidr: 203.0.113.20/32 } }, { ipBlock: { cidr: \"2001:db8:9::20/128\" } }";
    // That the Service's own address is in a block says nothing.
    let vip = ", { ipBlock: { cidr: 10.96.0.0/16 } }, { ipBlock: { cidr: \"fd00:96::/64\" } }";
    let manifests = world(&["a", "b"])
        + &manifest(1, 8080)
        + &manifest(2, 8080)
        + &lets_out(&format!("{db}{vip}"), 80);
    let rules = [
        (1, 8080, outside("203.0.113.20", "2001:db8:9::20"), 80),
        (2, 8080, outside("203.0.113.30", "2001:db8:9::30"), 80),
    ];
    let agent = Agent::start(&lab, &manifests, &[]);
    for (masquerade, clobber) in [(false, false), (true, false), (false, true), (true, true)] {
        let ways = Ways {
            masquerade,
            clobber,
        };
        translate(&lab, ways, &rules);
        assert!(reaches(&lab, "a", 1, 8080), "{ways:?}");
        assert!(!reaches(&lab, "a", 2, 8080), "{ways:?}");
        assert!(reaches(&lab, "b", 2, 8080), "b is free, {ways:?}");
    }
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_service_is_no_alias_of_metadata() {
    let lab = with_outside("alias");
    let granted = "apiVersion: v1\nkind: Namespace\nmetadata: { name: t }\n".to_owned()
        + &pod_manifest("a", "a", 1, ", metadata.ringfence.dev/access: imds")
        + &pod_manifest("b", "b", 2, "");
    let agent = Agent::start(&lab, &(granted + &manifest(1, 8080)), &[]);
    let rules = [(1, 8080, outside("169.254.169.254", "fd00:ec2::254"), 80)];
    for masquerade in [false, true] {
        let ways = Ways {
            masquerade,
            clobber: false,
        };
        translate(&lab, ways, &rules);
        assert!(reaches(&lab, "a", 1, 8080), "granted, {ways:?}");
        assert!(!reaches(&lab, "b", 1, 8080), "not granted, {ways:?}");
    }
    let told = lab
        .served(&Actor::outside("metadata"))
        .expect("the lab obeys");
    assert!(!told.visits.is_empty());
    let direct = lab
        .probe(&pod("a"), service(1)[0], 8080, Transport::Tcp, PATIENT)
        .expect("the lab obeys");
    assert!(direct.is_answered());
    drop(agent);
    lab.down().unwrap();
}

/// The node's addresses in a lab.
fn node() -> [IpAddr; 2] {
    outside("10.0.9.1", "fd00:9::1")
}

#[test]
fn a_backend_with_the_nodes_network_is_judged_where_it_listens() {
    let mut spec = small("hostnet", &["a", "b"], &[80]);
    spec.node_ports = vec![80, 81];
    let lab = Lab::up(&spec).expect("a lab");
    // The node is no pod: only its address lets it be reached, as a backend as well as directly.
    let to_node = "{ ipBlock: { cidr: 10.0.9.1/32 } }, { ipBlock: { cidr: \"fd00:9::1/128\" } }";
    let services = manifest(1, 8080) + &manifest(2, 8080);
    let manifests = world(&["a", "b"]) + &services;
    let rules = [(1, 8080, node(), 80), (2, 8080, node(), 81)];
    let agent = Agent::start(&lab, &(manifests.clone() + &lets_out(to_node, 80)), &[]);
    for masquerade in [false, true] {
        let ways = Ways {
            masquerade,
            clobber: false,
        };
        translate(&lab, ways, &rules);
        assert!(reaches(&lab, "a", 1, 8080), "{ways:?}");
        assert!(
            !reaches(&lab, "a", 2, 8080),
            "the port is not allowed, {ways:?}"
        );
        assert!(reaches(&lab, "b", 2, 8080), "b is free, {ways:?}");
    }
    let a = pod("a");
    let ids = Transport::ALL.map(|protocol| {
        let id = format!("{protocol:?}");
        stream(&lab, &id, &a, service(1)[0], 8080, protocol);
        flows_on(&lab, &id, &a, 10);
        id
    });
    let revision = agent.revision();
    agent.edit("manifests.yaml", &(manifests + &lets_out(TO_B, 80)));
    agent.wait_beyond(revision);
    for id in &ids {
        stands_still(&lab, id, &a);
    }
    assert!(!reaches(&lab, "a", 1, 8080), "taken back");
    drop(agent);
    lab.down().unwrap();
}

#[test]
fn a_tunnel_of_the_node_is_not_reached_through_a_service() {
    const PORT: u16 = 4789;
    let lab = Lab::up(&small("tunnel", &["a", "b", "c"], &[80])).unwrap();
    let run = |words: &[&str]| {
        let words: Vec<&std::ffi::OsStr> = words.iter().map(|&word| word.as_ref()).collect();
        let output = lab.exec(&Actor::Node, words).expect("the lab obeys");
        assert!(output.status.success(), "{output:?}");
    };
    run(&[
        "ip",
        "link",
        "add",
        "vx",
        "type",
        "vxlan",
        "id",
        "7",
        "dstport",
        "4789",
        "nolearning",
    ]);
    run(&[
        "ip",
        "link",
        "set",
        "vx",
        "up",
        "address",
        "02:00:00:00:00:77",
    ]);
    run(&["sysctl", "-qw", "net.ipv4.conf.vx.rp_filter=0"]);
    // Everything else is open: a may send whatever it likes, and b is open to all.
    let manifests = world(&["a", "b", "c"]) + &manifest(1, 8080);
    let isolated = manifests.clone() + &lets_out("{ ipBlock: { cidr: 10.0.0.0/8 } }", 8080);
    let agent = Agent::start(&lab, &isolated, &[]);
    translate(&lab, Ways::default(), &[(1, 8080, node(), PORT)]);
    // What is inside comes from c, says a.
    let [b, _] = addresses(2);
    let [c, _] = addresses(3);
    let inner = ringfence_tests::packet::udp((c, 4000).into(), (b, 80).into(), b"smuggled");
    let inner = super::packets::checked(inner);
    let mut payload = vec![8, 0, 0, 0, 0, 0, 7, 0];
    payload.extend([2, 0, 0, 0, 0, 0x77, 2, 0, 0, 0, 0, 1, 8, 0]);
    payload.extend(inner);
    let heard = || {
        let visits = lab.served(&pod("b")).unwrap().visits;
        visits.iter().filter(|visit| visit.peer == c).count()
    };
    let netns = format!("{}a", ringfence_agent::lab::names::netns_prefix(lab.name()));
    let send = || {
        ringfence_agent::lab::inside_netns(&netns, || {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            for _ in 0..10 {
                socket.send_to(&payload, (service(1)[0], 8080))?;
            }
            Ok(())
        })
        .unwrap();
    };
    send();
    let told = eventually("the denial is told", || {
        let said = agent.ringfence(&["observe", "--last", "50", "-o", "jsonl"]);
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        (said.contains("forged_mark") || said.contains("encapsulation")).then_some(said)
    });
    assert!(told.contains("\"endpoint\":\"t/a\""), "{told}");
    assert_eq!(heard(), 0, "nothing came out of the tunnel");
    drop(agent);
    let output = agent_detach(&lab);
    assert!(output.status.success(), "{output:?}");
    // Without an agent it does come out: the test would see it.
    eventually("without enforcement it arrives", || {
        send();
        (heard() > 0).then_some(())
    });
    lab.down().unwrap();
}

/// Takes all enforcement off a lab.
fn agent_detach(lab: &Lab) -> std::process::Output {
    use ringfence_agent::lab::{names, state};
    std::process::Command::new(ringfence_tests::lab::binary())
        .args([
            "detach",
            "--netns",
            &names::node_netns(lab.name()),
            "--bpffs",
        ])
        .arg(state::bpffs(lab.name()))
        .arg("--run-dir")
        .arg(state::folder(lab.name()))
        .output()
        .expect("the binary runs")
}
