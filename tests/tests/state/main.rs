//! State and time: what connections remember, for how long, and what becomes of them when policies, labels and pods
//! change. Single packets through the real programs, the judge on the host with a clock of its own, and the real agent
//! in a lab.

mod audit;
mod before;
mod clock;
mod crowd;
mod ends;
mod field;
mod flips;
mod handshake;
mod heirs;
mod itself;
mod mixture;
mod origin;
mod pressure;

use std::net::SocketAddr;

use ringfence_tests::{
    desk::{Desk, options},
    packet::{self, Way, frame},
    sandbox::sandbox,
};

/// The pod on the desk, in both families.
const POD: [&str; 2] = ["10.0.0.10", "fd00::10"];
/// The one pod that policies name.
const FRIEND: [&str; 2] = ["10.0.0.20", "fd00::20"];
/// A pod that no rule names.
const STRANGER: [&str; 2] = ["10.0.0.30", "fd00::30"];
/// The node.
const NODE: &str = "192.0.2.1";

/// The namespace and its pods; `friend` and `stranger` carry these labels.
fn world(friend: &str, stranger: &str) -> String {
    let mut text = "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n".to_owned();
    for (name, label, number) in [
        ("cart", "cart", 10),
        ("friend", friend, 20),
        ("stranger", stranger, 30),
    ] {
        text += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{ name: {name}, namespace: shop, labels: {{ app: {label} }} }}\n\
             status: {{ phase: Running, podIPs: [ {{ ip: 10.0.0.{number} }}, {{ ip: \"fd00::{number}\" }} ] }}\n"
        );
    }
    text
}

/// A policy of the pod's: in this direction (`ingress` or `egress`) only `peer` on this port of TCP and UDP, and pings.
fn only(direction: &str, peer: &str, port: u16) -> String {
    let (kind, side) = match direction {
        "ingress" => ("Ingress", "from"),
        _ => ("Egress", "to"),
    };
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{ name: cart-{direction}, namespace: shop }}\n\
         spec:\n  podSelector: {{ matchLabels: {{ app: cart }} }}\n  policyTypes: [{kind}]\n  {direction}:\n  \
         - {side}: [ {{ podSelector: {{ matchLabels: {{ app: {peer} }} }} }} ]\n    \
         ports: [ {{ port: {port} }}, {{ port: {port}, protocol: UDP }} ]\n"
    )
}

/// The world as it is, with these policies.
fn with(policies: &[String]) -> String {
    world("friend", "stranger") + &policies.concat()
}

/// Runs `body` with the pod on the desk, under these manifests, with room for this many connections.
fn on_the_desk(connections: u32, manifests: &str, body: impl FnOnce(&mut Desk) + Send + 'static) {
    let manifests = manifests.to_owned();
    sandbox(move |bpffs| {
        let mut options = options(bpffs);
        options.limits.connections = connections;
        body(&mut Desk::with(&options, &manifests));
    });
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

/// A TCP frame of the pod's, or to it, by the way.
fn tcp(way: Way, local: (&str, u16), remote: (&str, u16), flags: u8) -> Vec<u8> {
    let (source, destination) = ends(way, local, remote);
    frame(way, &packet::tcp(source, destination, flags))
}

/// The same for UDP.
fn udp(way: Way, local: (&str, u16), remote: (&str, u16)) -> Vec<u8> {
    let (source, destination) = ends(way, local, remote);
    frame(way, &packet::udp(source, destination, b"hello"))
}

/// An ICMP message with an identifier.
fn ping(way: Way, local: &str, remote: &str, kind: u8, identifier: u16) -> Vec<u8> {
    let (source, destination) = ends(way, (local, 0), (remote, 0));
    let [high, low] = identifier.to_be_bytes();
    frame(
        way,
        &packet::icmp(source.ip(), destination.ip(), kind, 0, &[high, low, 0, 1]),
    )
}

fn ends(way: Way, local: (&str, u16), remote: (&str, u16)) -> (SocketAddr, SocketAddr) {
    let (local, remote) = (at(local.0, local.1), at(remote.0, remote.1));
    match way {
        Way::Out => (local, remote),
        Way::In => (remote, local),
    }
}
