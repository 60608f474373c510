//! A fuzzer's bytes as a small story: two policies, then packets, time, and changes of policy.
//!
//! ```text
//! byte 0      bit 0 ingress isolated, 1 egress isolated, 2 metadata granted; bits 4 and 5 the same of the second policy
//! 8 rules     3 bytes each, the first four of the first policy: peers (bit 7: egress), protocol and first port, ports
//! then        an operation after the other, until the bytes end
//! ```

use std::net::IpAddr;

use crate::{
    flow::{Arrival, Way},
    oracle::Oracle,
    tables::{IFINDEX, PLACE, UPLINK},
    world::{HARDWARE, PORTS, PROTOCOLS, Peer, Policy, Rule, address},
};
use ringfence_common::mark::{MarkLayout, Stamp};

/// What happens next.
#[derive(Debug)]
pub enum Step {
    /// A packet comes to a hook.
    Packet {
        /// How.
        arrival: Arrival,
        /// Its mark.
        mark: u32,
        /// The frame.
        frame: Vec<u8>,
    },
    /// So many seconds pass.
    Wait(u32),
    /// The other policy comes into force.
    Switch,
    /// Another pod has the address.
    Bear,
}

/// Operation of a raw frame; what the corpus is made with.
pub const RAW: u8 = 200;

/// The story.
#[derive(Debug)]
pub struct Story<'a> {
    /// The pod was granted metadata.
    pub granted: bool,
    /// The policies.
    pub policies: [Policy; 2],
    rest: &'a [u8],
}

impl<'a> Story<'a> {
    /// Reads the beginning; `None` if there is none.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let (&first, rest) = bytes.split_first()?;
        let (rules, rest) = rest.split_at_checked(24)?;
        let policy = |bits: u8, rules: &[u8]| {
            let mut policy = Policy {
                ingress: (bits & 1 != 0).then(Vec::new),
                egress: (bits & 2 != 0).then(Vec::new),
            };
            for bytes in rules.chunks_exact(3) {
                let side = if bytes[0] & 0x80 == 0 {
                    &mut policy.ingress
                } else {
                    &mut policy.egress
                };
                if let Some(side) = side {
                    side.push(rule(bytes));
                }
            }
            policy
        };
        Some(Self {
            granted: first & 4 != 0,
            policies: [
                policy(first, &rules[..12]),
                policy(first >> 4, &rules[12..]),
            ],
            rest,
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// A way, a device and a mark.
    fn arrival(&mut self) -> Option<(Arrival, u32)> {
        let byte = self.byte()?;
        let layout = MarkLayout::DEFAULT;
        let mark = match byte >> 3 & 3 {
            0 | 1 => 0,
            2 => layout.stamped(0, Stamp(PLACE)),
            _ => layout.stamped(0, Stamp::FINAL),
        };
        let ingress = match byte >> 1 & 3 {
            0 | 1 => UPLINK,
            2 => 0,
            _ => IFINDEX,
        };
        let way = if byte & 1 == 0 { Way::In } else { Way::Out };
        let arrival = Arrival {
            way,
            ingress: if way == Way::Out { IFINDEX } else { ingress },
            marked: layout.stamp(mark) == Stamp(PLACE),
            stamped: mark != 0,
        };
        Some((arrival, mark))
    }
}

fn rule(bytes: &[u8]) -> Rule {
    let protocol = PROTOCOLS[usize::from(bytes[1] & 3) % 3];
    let low = PORTS[usize::from(bytes[1] >> 2 & 7)];
    let ports = match bytes[2] & 3 {
        0 => None,
        1 | 2 => Some((protocol, low, low)),
        _ => Some((protocol, low, low.saturating_add(u16::from(bytes[2]) << 6))),
    };
    Rule {
        peers: bytes[0] & 0x1f,
        ports,
    }
}

impl Iterator for Story<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        Some(match self.byte()? {
            0..RAW => {
                let (arrival, mark) = self.arrival()?;
                let choice = [self.byte()?, self.byte()?, self.byte()?];
                Step::Packet {
                    arrival,
                    mark,
                    frame: frame(arrival.way, choice),
                }
            }
            RAW..240 => {
                let (arrival, mark) = self.arrival()?;
                let length = usize::from(self.byte()?).min(self.rest.len());
                let (frame, rest) = self.rest.split_at(length);
                self.rest = rest;
                Step::Packet {
                    arrival,
                    mark,
                    frame: frame.to_vec(),
                }
            }
            240..250 => Step::Wait(u32::from(self.byte()?).pow(2)),
            250..254 => Step::Switch,
            254.. => Step::Bear,
        })
    }
}

/// An ordinary frame: who, what and on which ports is chosen by three bytes.
fn frame(way: Way, [who, what, ports]: [u8; 3]) -> Vec<u8> {
    let six = who & 0x80 != 0;
    let peers = [
        Peer::World,
        Peer::Friend,
        Peer::Stranger,
        Peer::Network,
        Peer::Except,
        Peer::Node,
        Peer::Own,
        Peer::Metadata,
        Peer::Service,
    ];
    let remote = address(peers[usize::from(who & 0x7f) % peers.len()], six);
    let (local_port, remote_port) = (
        PORTS[usize::from(ports & 7)],
        PORTS[usize::from(ports >> 3 & 7)],
    );
    let local = Oracle::own(six);
    let (source, destination, from, to) = match way {
        Way::Out => (local, remote, local_port, remote_port),
        Way::In => (remote, local, remote_port, local_port),
    };
    let flags = [2, 18, 16, 17, 4, 20, 0, 24][usize::from(what >> 3 & 7)];
    let ports = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let icmp = if six { 58 } else { 1 };
    let (protocol, body) = match what & 7 {
        0..=2 => (
            6,
            [
                &ports[..],
                &[0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0],
            ]
            .concat(),
        ),
        3 | 4 => (17, [&ports[..], &[0, 8, 0, 0]].concat()),
        5 => (132, [&ports[..], &[0; 8]].concat()),
        6 => {
            let kind = match (six, what >> 3 & 1) {
                (false, 0) => 8,
                (false, _) => 0,
                (true, 0) => 128,
                (true, _) => 129,
            };
            (icmp, vec![kind, 0, 0, 0, 0, what >> 4, 0, 1])
        }
        // An error about a datagram that went the other way.
        _ => {
            let inner = [&to.to_be_bytes()[..], &from.to_be_bytes(), &[0, 8, 0, 0]].concat();
            let inner = ip(destination, source, 17, &inner);
            let kind = if six { 2 } else { 3 };
            (icmp, [&[kind, 4, 0, 0, 0, 0, 5, 0][..], &inner].concat())
        }
    };
    let packet = ip(source, destination, protocol, &body);
    let kind: [u8; 2] = if six { [0x86, 0xdd] } else { [8, 0] };
    let router = [2, 0, 0, 0, 0, 1];
    let (sender, receiver) = match way {
        Way::Out => (HARDWARE, router),
        Way::In => (router, HARDWARE),
    };
    [&receiver[..], &sender, &kind, &packet].concat()
}

fn ip(source: IpAddr, destination: IpAddr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = |extra: usize| u16::try_from(body.len() + extra).unwrap_or(0).to_be_bytes();
    match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [
            &[0x45, 0][..],
            &length(20),
            &[0x12, 0x34, 0, 0, 64, protocol, 0, 0],
            &from.octets(),
            &to.octets(),
            body,
        ]
        .concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [
            &[0x60, 0, 0, 0][..],
            &length(0),
            &[protocol, 64],
            &from.octets(),
            &to.octets(),
            body,
        ]
        .concat(),
        _ => Vec::new(),
    }
}
