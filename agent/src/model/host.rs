//! The node itself, as somebody whom zones isolate and policies bind.

use std::net::IpAddr;

use ipnet::IpNet;
use ringfence_common::Direction;

use super::{PortSpec, Ports, Protocol};

/// How the node itself is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub node: String,
    /// Nothing is denied; what would be is told.
    pub audit: bool,
    /// What no policy closes.
    pub failsafe: Vec<Failsafe>,
}

/// Something that no policy closes to the node, or of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failsafe {
    /// What it is, in one word.
    pub name: String,
    /// Which way the flow is begun, seen from the node.
    pub direction: Direction,
    /// The other side.
    pub peers: FailsafePeers,
    /// Ports of the destination.
    pub ports: Ports,
    /// A rule that denies with `acknowledgeLockout` closes it where they meet.
    pub yields: bool,
}

/// The other side of a [`Failsafe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailsafePeers {
    /// Anybody.
    Any,
    /// Nodes of the cluster.
    Nodes,
    /// Nodes and pods of the cluster.
    Cluster,
    /// A network.
    Network(IpNet),
}

impl Failsafe {
    /// Without these a node is lost to its cluster, and to whom would mend it.
    #[must_use]
    pub fn usual() -> Vec<Self> {
        use Direction::{Egress, Ingress};
        use FailsafePeers::{Any, Cluster, Network, Nodes};
        use Protocol::{Tcp, Udp};
        let one = |name: &str, direction, peers, ports: &[(Protocol, u16)]| Self {
            name: name.to_owned(),
            direction,
            peers,
            ports: Ports::Of(
                ports
                    .iter()
                    .map(|&(protocol, port)| PortSpec::Range(protocol, port, port))
                    .collect(),
            ),
            yields: false,
        };
        let yielding = |failsafe| Self {
            yields: true,
            ..failsafe
        };
        let metadata = Network(IpNet::from(IpAddr::from([169, 254, 169, 254])));
        vec![
            yielding(one("ssh", Ingress, Any, &[(Tcp, 22)])),
            one("kubelet", Ingress, Cluster, &[(Tcp, 10250)]),
            one("api-server", Ingress, Cluster, &[(Tcp, 443), (Tcp, 6443)]),
            one("dhcp", Ingress, Any, &[(Udp, 68), (Udp, 546)]),
            // Where the API server is, and the name servers are, is not known: a rule may say, and close the rest.
            yielding(one("api-server", Egress, Any, &[(Tcp, 443), (Tcp, 6443)])),
            yielding(one("dns", Egress, Any, &[(Udp, 53), (Tcp, 53)])),
            yielding(one("ntp", Egress, Any, &[(Udp, 123)])),
            one("kubelet", Egress, Nodes, &[(Tcp, 10250)]),
            one("dhcp", Egress, Any, &[(Udp, 67), (Udp, 547)]),
            one("metadata", Egress, metadata, &[(Tcp, 80)]),
        ]
    }
}
