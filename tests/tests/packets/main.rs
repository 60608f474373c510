//! Single packets through the real programs (`BPF_PROG_TEST_RUN`): bytes in, verdict and map state out.

mod connections;
mod counted;
mod deferral;
mod encapsulation;
mod errors;
mod extensions;
mod fragments;
mod hosts;
mod layers;
mod malformed;
mod metadata;
mod neighbours;
mod policy;
mod protocols;
mod staged;
mod truncated;

use std::net::SocketAddr;

use ringfence_tests::{
    desk::Desk,
    packet::{self, Way, frame},
    sandbox::sandbox,
};

/// The pod on the desk, in both families.
const POD: [&str; 2] = ["10.0.0.10", "fd00::10"];
/// A pod that policy lets in on TCP 80 and that the pod may reach on TCP 443 and UDP 53.
const FRIEND: [&str; 2] = ["10.0.0.20", "fd00::20"];
/// A pod that no rule names.
const STRANGER: [&str; 2] = ["10.0.0.30", "fd00::30"];
/// The node.
const NODE: &str = "192.0.2.1";

const WORLD: &str = r#"
kind: List
apiVersion: v1
items:
- { apiVersion: v1, kind: Namespace, metadata: { name: shop } }
- apiVersion: v1
  kind: Pod
  metadata: { name: cart, namespace: shop, labels: { app: cart } }
  status: { phase: Running, podIPs: [ { ip: 10.0.0.10 }, { ip: "fd00::10" } ] }
- apiVersion: v1
  kind: Pod
  metadata: { name: friend, namespace: shop, labels: { app: friend } }
  status: { phase: Running, podIPs: [ { ip: 10.0.0.20 }, { ip: "fd00::20" } ] }
- apiVersion: v1
  kind: Pod
  metadata: { name: stranger, namespace: shop, labels: { app: stranger } }
  status: { phase: Running, podIPs: [ { ip: 10.0.0.30 }, { ip: "fd00::30" } ] }
"#;

const POLICY: &str = r#"
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: cart, namespace: shop }
spec:
  podSelector: { matchLabels: { app: cart } }
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [ { podSelector: { matchLabels: { app: friend } } } ]
    ports: [ { port: 80 } ]
  egress:
  - to: [ { podSelector: { matchLabels: { app: friend } } } ]
    ports: [ { port: 443 }, { port: 53, protocol: UDP } ]
"#;

/// The world with the policy.
fn guarded() -> String {
    format!("{WORLD}{POLICY}")
}

/// Runs `body` with the pod on the desk, under these manifests.
fn on_the_desk(manifests: &str, body: impl FnOnce(&mut Desk) + Send + 'static) {
    let manifests = manifests.to_owned();
    sandbox(move |bpffs| body(&mut Desk::new(bpffs, &manifests)));
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

/// A TCP frame of the pod's, or to it, by the way.
fn tcp(way: Way, local: (&str, u16), remote: (&str, u16), flags: u8) -> Vec<u8> {
    let (local, remote) = (at(local.0, local.1), at(remote.0, remote.1));
    frame(
        way,
        &match way {
            Way::Out => packet::tcp(local, remote, flags),
            Way::In => packet::tcp(remote, local, flags),
        },
    )
}

/// A packet of any protocol between the pod and somebody else, by the way.
fn ip(way: Way, local: &str, remote: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (local, remote) = (at(local, 0).ip(), at(remote, 0).ip());
    match way {
        Way::Out => packet::ip(local, remote, protocol, payload),
        Way::In => packet::ip(remote, local, protocol, payload),
    }
}

/// The same for UDP.
fn udp(way: Way, local: (&str, u16), remote: (&str, u16)) -> Vec<u8> {
    let (local, remote) = (at(local.0, local.1), at(remote.0, remote.1));
    frame(
        way,
        &match way {
            Way::Out => packet::udp(local, remote, b"hello"),
            Way::In => packet::udp(remote, local, b"hello"),
        },
    )
}
