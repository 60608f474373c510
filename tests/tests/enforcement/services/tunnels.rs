//! Tunnels of the node: what a pod sends to one would come out as if somebody else had sent it.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use ringfence_agent::lab::{Actor, Lab, OutsidePort, inside_netns, names, wire::Transport};
use ringfence_tests::{
    agent::{Agent, get},
    lab::{addresses, eventually, small},
    packet::udp,
};

use super::{Ways, agent_detach, lets_out, manifest, node, on_the_node, service, translate};
use crate::{
    metadata::{endpoints, lab_spec},
    packets, pod, world,
};

/// Ports of the two tunnels: the usual one, and one that only the device tells of.
const USUAL: u16 = 4789;
const UNUSUAL: u16 = 14_789;
/// Hardware address of both.
const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 0x77];

/// Gives the node two tunnels, and a network of its own whose broadcasts they hear.
fn dig(lab: &Lab) {
    for (name, id, port) in [("vx", "7", USUAL), ("vy", "8", UNUSUAL)] {
        let port = port.to_string();
        let add = [
            "ip", "link", "add", name, "type", "vxlan", "id", id, "dstport", &port,
        ];
        on_the_node(lab, &[&add[..], &["nolearning"]].concat());
        let up = [
            "ip",
            "link",
            "set",
            name,
            "up",
            "address",
            "02:00:00:00:00:77",
        ];
        on_the_node(lab, &up);
        let filter = format!("net.ipv4.conf.{name}.rp_filter=0");
        on_the_node(lab, &["sysctl", "-qw", &filter]);
    }
    on_the_node(lab, &["ip", "link", "add", "home", "type", "bridge"]);
    on_the_node(lab, &["ip", "addr", "add", "10.77.0.1/24", "dev", "home"]);
    on_the_node(lab, &["ip", "link", "set", "home", "up"]);
}

/// A datagram from `source` to port 80 of `destination`, as the tunnel with this number carries it.
fn wrapped(id: u8, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let inner = udp((source, 4000).into(), (destination, 80).into(), b"smuggled");
    let mut payload = vec![8, 0, 0, 0, 0, 0, id, 0];
    payload.extend(HARDWARE);
    payload.extend([2, 0, 0, 0, 0, 1, 8, 0]);
    payload.extend(packets::checked(inner));
    payload
}

#[test]
fn no_pod_reaches_a_tunnel_of_the_node_by_any_way() {
    let lab = Lab::up(&small("tunnel", &["a", "b", "c"], &[80])).unwrap();
    dig(&lab);
    // Everything else is open: a may send whatever it likes, and b is open to all.
    let free = world(&["a", "b", "c"]) + &manifest(1, 8080);
    let isolated = free.clone() + &lets_out("{ ipBlock: { cidr: 10.0.0.0/8 } }", 8080);
    translate(&lab, Ways::default(), &[(1, 8080, node(), USUAL)]);
    // What is inside comes from c, says a.
    let ([b, _], [c, _]) = (addresses(2), addresses(3));
    let heard = || {
        let visits = lab.served(&pod("b")).unwrap().visits;
        visits.iter().filter(|visit| visit.peer == c).count()
    };
    let netns = format!("{}a", names::netns_prefix(lab.name()));
    let send = |id: u8, to: SocketAddr| {
        let payload = wrapped(id, c, b);
        inside_netns(&netns, || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for _ in 0..10 {
                socket.send_to(&payload, to)?;
            }
            Ok(())
        })
        .unwrap();
    };
    let through_a_service: SocketAddr = (service(1)[0], 8080).into();
    let broadcast: SocketAddr = ([10, 77, 0, 255], USUAL).into();
    let unusual: SocketAddr = (node()[0], UNUSUAL).into();
    let ways = [(7, through_a_service), (7, broadcast), (8, unusual)];
    let agent = Agent::start(&lab, &isolated, &[]);
    eventually("the tunnels are guarded", || {
        let shown = agent.ringfence(&["bpf", "show"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        (shown.matches("-from_tunnel").count() == 2).then_some(())
    });
    for manifests in [&isolated, &free] {
        let revision = agent.revision();
        agent.edit("manifests.yaml", manifests);
        if manifests == &free {
            agent.wait_beyond(revision);
        }
        for (id, to) in ways {
            let before = refused(&agent);
            send(id, to);
            eventually("all of it is refused", || {
                (refused(&agent) >= before + 10).then_some(())
            });
        }
    }
    assert_eq!(heard(), 0, "nothing came out of a tunnel");
    drop(agent);
    let output = agent_detach(&lab);
    assert!(output.status.success(), "{output:?}");
    // Without an agent it does come out: the test would see it.
    for (id, to) in ways {
        let before = heard();
        eventually("without enforcement it arrives", || {
            send(id, to);
            (heard() > before).then_some(())
        });
    }
    lab.down().unwrap();
}

#[test]
fn a_pod_that_may_reaches_the_nodes_tunnel_and_what_is_behind_it_but_no_metadata() {
    let mut spec = lab_spec("mayencap");
    spec.outside[1].serves.push(OutsidePort {
        protocol: Transport::Udp,
        port: 80,
    });
    let lab = Lab::up(&spec).unwrap();
    dig(&lab);
    let pods = world(&["a", "b"]);
    let may = |app: &str| {
        pods.clone()
            + &format!(
                "---\napiVersion: ringfence.dev/v1alpha1\nkind: MetadataFirewall\nmetadata: {{ name: default }}\n\
                 spec: {{ encapsulatingPods: [ {{ name: it, podSelector: {{ matchLabels: {{ app: {app} }} }} }} ] }}\n"
            )
    };
    let ([a, _], [b, _]) = (addresses(1), addresses(2));
    let usual: SocketAddr = (node()[0], USUAL).into();
    // What is inside comes from an address that is nobody's.
    let nobody: IpAddr = [10, 77, 0, 9].into();
    let send = |who: &str, to: IpAddr| {
        let payload = wrapped(7, nobody, to);
        let netns = format!("{}{who}", names::netns_prefix(lab.name()));
        inside_netns(&netns, || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for _ in 0..10 {
                socket.send_to(&payload, usual)?;
            }
            Ok(())
        })
        .unwrap();
    };
    let heard = |who: &Actor| {
        let visits = lab.served(who).unwrap().visits;
        visits.iter().filter(|visit| visit.peer == nobody).count()
    };
    let agent = Agent::start(&lab, &may("a"), &[]);
    eventually("the tunnels are guarded", || {
        let shown = agent.ringfence(&["bpf", "show"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        (shown.matches("-from_tunnel").count() == 2).then_some(())
    });
    eventually("what a sends comes out at b", || {
        send("a", b);
        (heard(&pod("b")) > 0).then_some(())
    });
    let before = refused(&agent);
    send("b", a);
    eventually("another pod is refused", || {
        (refused(&agent) >= before + 10).then_some(())
    });
    assert_eq!(heard(&pod("a")), 0);
    // What has come out has no grant, whoever put it in.
    let imds = endpoints()[0];
    let before = dropped_at_uplinks(&agent);
    send("a", imds);
    eventually("the uplink refuses it", || {
        (dropped_at_uplinks(&agent) >= before + 10).then_some(())
    });
    let service = Actor::outside("metadata");
    assert_eq!(heard(&service), 0);
    agent.edit("manifests.yaml", &may("nobody"));
    eventually("a may no longer", || {
        let before = refused(&agent);
        send("a", b);
        (refused(&agent) >= before + 10).then_some(())
    });
    drop(agent);
    assert!(agent_detach(&lab).status.success());
    eventually(
        "without enforcement it gets there: the test would see it",
        || {
            send("a", imds);
            (heard(&service) > 0).then_some(())
        },
    );
    lab.down().unwrap();
}

/// Packets to metadata services that were refused where they would have left the node.
fn dropped_at_uplinks(agent: &Agent) -> u64 {
    let metrics = get(&agent.run_dir(), "/metrics").expect("the agent answers");
    metrics
        .lines()
        .filter(|line| line.contains("\"metadata\"") && line.contains("to_host"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// Packets that were refused for a tunnel's sake.
fn refused(agent: &Agent) -> u64 {
    let metrics = get(&agent.run_dir(), "/metrics").expect("the agent answers");
    metrics
        .lines()
        .filter(|line| line.contains("encapsulation") || line.contains("forged_mark"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}
