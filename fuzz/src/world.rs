//! The world: one pod, a few peers, policies of a few rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The pod's hardware address.
pub const HARDWARE: [u8; 6] = [2, 0, 0, 0, 0, 10];

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// Anybody that nothing else names.
    World,
    /// A pod.
    Friend,
    /// Another pod.
    Stranger,
    /// A network.
    Network,
    /// A part of that network, which rules about it leave out.
    Except,
    /// The node.
    Node,
    /// The pod itself.
    Own,
    /// The metadata service.
    Metadata,
    /// A Service.
    Service,
}

/// What each address is, in both families.
const ADDRESSES: [(Peer, Ipv4Addr, Ipv6Addr); 7] = [
    (
        Peer::Own,
        Ipv4Addr::new(10, 0, 0, 10),
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x10),
    ),
    (
        Peer::Friend,
        Ipv4Addr::new(10, 0, 0, 20),
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x20),
    ),
    (
        Peer::Stranger,
        Ipv4Addr::new(10, 0, 0, 30),
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x30),
    ),
    (
        Peer::Node,
        Ipv4Addr::new(192, 0, 2, 1),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    ),
    (
        Peer::Metadata,
        Ipv4Addr::new(169, 254, 169, 254),
        Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    ),
    (
        Peer::Service,
        Ipv4Addr::new(10, 96, 0, 1),
        Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 1),
    ),
    (
        Peer::World,
        Ipv4Addr::new(203, 0, 113, 1),
        Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
    ),
];

/// The link-local address that the pod's hardware address makes.
pub const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0x0a);

/// The Service's port, TCP and UDP; and a node port.
pub const SERVICE_PORT: u16 = 80;
/// A node port, TCP.
pub const NODE_PORT: u16 = 30080;

/// An address of this peer.
#[must_use]
pub fn address(peer: Peer, six: bool) -> IpAddr {
    for (other, v4, v6) in ADDRESSES {
        if other == peer {
            return if six { v6.into() } else { v4.into() };
        }
    }
    match (peer, six) {
        (Peer::Network, false) => Ipv4Addr::new(198, 51, 100, 7).into(),
        (Peer::Network, true) => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 7).into(),
        (_, false) => Ipv4Addr::new(198, 51, 100, 200).into(),
        (_, true) => Ipv6Addr::new(0x2001, 0xdb8, 2, 0xff00, 0, 0, 0, 7).into(),
    }
}

/// Who has this address.
#[must_use]
pub fn peer(of: IpAddr) -> Peer {
    for (peer, v4, v6) in ADDRESSES {
        if of == IpAddr::V4(v4) || of == IpAddr::V6(v6) {
            return peer;
        }
    }
    match of {
        IpAddr::V4(v4) => match v4.octets() {
            [198, 51, 100, last] if last >= 128 => Peer::Except,
            [198, 51, 100, _] => Peer::Network,
            _ => Peer::World,
        },
        IpAddr::V6(v6) => match v6.segments() {
            [0x2001, 0xdb8, 2, subnet, ..] if subnet >= 0xff00 => Peer::Except,
            [0x2001, 0xdb8, 2, ..] => Peer::Network,
            _ => Peer::World,
        },
    }
}

/// One rule: these peers, on these ports.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Bit 0 [`Peer::World`], 1 friend, 2 stranger, 3 network, 4 what the network leaves out.
    pub peers: u8,
    /// Protocol and ports; `None` is everything.
    pub ports: Option<(u8, u16, u16)>,
}

impl Rule {
    /// True if the rule names this peer.
    #[must_use]
    pub fn names(&self, peer: Peer) -> bool {
        let bit = match peer {
            Peer::Friend => 1,
            Peer::Stranger => 2,
            Peer::Network => 3,
            Peer::Except => 4,
            // Nothing that policy selects: what is no pod and in no network.
            _ => 0,
        };
        self.peers >> bit & 1 == 1
    }

    /// True if the rule holds for this destination port.
    #[must_use]
    pub fn covers(&self, protocol: u8, port: u16) -> bool {
        self.ports
            .is_none_or(|(named, low, high)| named == protocol && (low..=high).contains(&port))
    }
}

/// What holds in one direction; `None` is not isolated.
pub type Side = Option<Vec<Rule>>;

/// A policy.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// What may come in.
    pub ingress: Side,
    /// What may go out.
    pub egress: Side,
}

/// Ports that rules and packets are about.
pub const PORTS: [u16; 8] = [80, 443, 53, 123, 8080, 4789, 30080, 40000];
/// Protocols that rules are about.
pub const PROTOCOLS: [u8; 3] = [6, 17, 132];

/// True if one side allows this.
#[must_use]
pub fn allows(side: &Side, peer: Peer, protocol: u8, port: u16) -> bool {
    side.as_ref().is_none_or(|rules| {
        rules
            .iter()
            .any(|rule| rule.names(peer) && rule.covers(protocol, port))
    })
}
