//! What may pass and what must, said as simply as it can be: who is allowed by a rule, and who answers somebody that is.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use crate::{
    address::{canonical, forms, is_opened_by_nodes, is_own},
    flow::{Arrival, Flow, Past, Way},
    naive::{Packet, Part, Read},
    tables::{IFINDEX, UPLINK},
    world::{HARDWARE, LINK_LOCAL, NODE_PORT, Peer, Policy, SERVICE_PORT, address, allows, peer},
};

/// The oracle.
#[derive(Debug)]
pub struct Oracle {
    /// What holds.
    pub policy: Policy,
    /// The pod was granted metadata.
    pub granted: bool,
    /// Ticks in a second, rounded up.
    pub per_second: u32,
    epoch: u32,
    past: BTreeMap<Flow, Past>,
    fragments: BTreeMap<(bool, IpAddr, IpAddr, u32, u8), (u16, u16, u8)>,
}

impl Oracle {
    /// Nothing has passed yet.
    #[must_use]
    pub fn new(policy: Policy, granted: bool, per_second: u32) -> Self {
        Self {
            policy,
            granted,
            per_second,
            epoch: 0,
            past: BTreeMap::new(),
            fragments: BTreeMap::new(),
        }
    }

    /// Another policy holds.
    pub fn switch(&mut self, policy: Policy) {
        self.policy = policy;
        self.epoch += 1;
    }

    /// Another pod has the address.
    pub fn bear(&mut self) {
        self.past.clear();
        self.epoch += 1;
    }

    /// True if a rule allows the flow to begin this way.
    #[must_use]
    pub fn literally(&self, way: Way, flow: &Flow) -> bool {
        let (side, port) = match way {
            Way::Out => (&self.policy.egress, flow.remote_port),
            Way::In => (&self.policy.ingress, flow.local_port),
        };
        allows(side, peer(flow.remote), flow.protocol, port)
    }

    /// True if the node will send it somewhere else, where it is judged.
    fn deferred(flow: &Flow) -> bool {
        match peer(canonical(flow.remote)) {
            Peer::Service => flow.remote_port == SERVICE_PORT && matches!(flow.protocol, 6 | 17),
            Peer::Node => (flow.protocol, flow.remote_port) == (6, NODE_PORT),
            _ => false,
        }
    }

    fn allowed(&self, way: Way, flow: &Flow) -> bool {
        self.literally(way, flow) || way == Way::Out && Self::deferred(flow)
    }

    /// The flow that a packet belongs to; a later fragment has the ports of the first.
    #[must_use]
    pub fn flow(&self, way: Way, packet: &Packet) -> Option<Flow> {
        let (mut ports, mut protocol) = (
            (packet.source_port, packet.destination_port),
            packet.protocol,
        );
        if packet.part == Part::Later {
            let first = self.fragments.get(&Self::whole(way, packet))?;
            (ports, protocol) = ((first.0, first.1), first.2);
        }
        Some(Flow::of(
            way,
            packet.source,
            packet.destination,
            ports,
            protocol,
        ))
    }

    fn whole(way: Way, packet: &Packet) -> (bool, IpAddr, IpAddr, u32, u8) {
        let protocol = if packet.source.is_ipv4() {
            packet.protocol
        } else {
            0
        };
        (
            way == Way::Out,
            packet.source,
            packet.destination,
            packet.identification,
            protocol,
        )
    }

    /// What has passed of the flow, unless it has been silent for longer than any of its kind is remembered.
    fn past(&self, flow: &Flow, now: u32) -> Option<&Past> {
        let past = self.past.get(flow)?;
        let seconds = match flow.protocol {
            6 => 5 * 24 * 3600,
            17 => 180,
            1 | 58 => 30,
            _ => 600,
        };
        (now - past.last <= (seconds + 2) * self.per_second).then_some(past)
    }

    fn is_closed_metadata(&self, packet: &Packet) -> bool {
        let metadata = forms(packet.destination)
            .iter()
            .any(|form| peer(*form) == Peer::Metadata);
        let open = packet.part != Part::Later
            && match packet.destination_port {
                53 => matches!(packet.protocol, 6 | 17),
                123 => packet.protocol == 17,
                _ => false,
            };
        metadata && !self.granted && !open
    }

    fn may_claim(packet: &Packet) -> bool {
        if is_own(packet.source) {
            return true;
        }
        let IpAddr::V6(source) = packet.source else {
            return false;
        };
        let near = match packet.destination {
            IpAddr::V6(to) => to.is_multicast() || to.is_unicast_link_local(),
            IpAddr::V4(_) => false,
        };
        source.is_unspecified() && packet.is_discovery()
            || source == LINK_LOCAL && (packet.is_discovery() || near)
    }

    /// Neighbour and listener discovery: what may pass at most.
    fn discovery_may_pass(way: Way, packet: &Packet) -> bool {
        if !(133..=137).contains(&packet.kind) {
            let role = match way {
                Way::Out => packet.kind != 130 && packet.part == Part::Whole,
                Way::In => true,
            };
            // Version 1 reports go to the group that they are about.
            let at_home = packet.kind != 131
                || match packet.destination {
                    IpAddr::V6(to) => packet.body.get(8..24) == Some(&to.octets()[..]),
                    IpAddr::V4(_) => false,
                };
            return role && (way == Way::In || at_home) && packet.hops == 1;
        }
        if packet.hops != 255 || packet.part != Part::Whole {
            return false;
        }
        if way == Way::In {
            return true;
        }
        let target = || -> Option<Ipv6Addr> {
            let octets: [u8; 16] = packet.body.get(8..24)?.try_into().ok()?;
            Some(octets.into())
        };
        match packet.kind {
            134 | 137 => false,
            136 => target().is_some_and(|it| is_own(it.into()) || it == LINK_LOCAL),
            _ => true,
        }
    }

    /// True if the pod's packet comes back to the pod.
    fn is_itself(arrival: Arrival, packet: &Packet) -> bool {
        let from = peer(canonical(packet.source));
        arrival.way == Way::In
            && is_own(packet.destination)
            && (arrival.ingress == IFINDEX || arrival.marked)
            && matches!(from, Peer::Own | Peer::Node)
    }

    fn is_own_node(arrival: Arrival, packet: &Packet) -> bool {
        arrival.way == Way::In
            && arrival.ingress == 0
            && peer(canonical(packet.source)) == Peer::Node
    }

    /// False for what must not pass.
    #[must_use]
    pub fn may_pass(&self, arrival: Arrival, read: &Read, hardware: [u8; 6], now: u32) -> bool {
        let way = arrival.way;
        if way == Way::Out && hardware != HARDWARE {
            return false;
        }
        let packet = match read {
            Read::Refused => return false,
            Read::Arp(sender, address) => {
                let own = *address == [0; 4] || is_own((*address).into());
                return way == Way::In || own && *sender == HARDWARE;
            }
            Read::Ip(packet) => packet,
        };
        if way == Way::Out {
            let tunnel = packet.is_tunnel() && is_opened_by_nodes(packet.destination);
            if self.is_closed_metadata(packet) || !Self::may_claim(packet) || tunnel {
                return false;
            }
            if is_own(packet.destination) {
                return true;
            }
        } else if Self::is_itself(arrival, packet) {
            return true;
        }
        // What others listen to is for policy to say.
        let report = way == Way::In && matches!(packet.kind, 131 | 132 | 143);
        if packet.is_discovery() && !report {
            return Self::discovery_may_pass(way, packet);
        }
        let Some(flow) = self.flow(way, packet) else {
            return false;
        };
        if Self::is_own_node(arrival, packet) || self.allowed(way, &flow) {
            return true;
        }
        if packet.is_error() {
            return self.is_about_something(way, packet, now);
        }
        is_own(flow.local) && self.answers(way, &flow, packet, now)
    }

    /// True if something that passed, and that somebody may still send, is what the error is about.
    fn is_about_something(&self, way: Way, packet: &Packet, now: u32) -> bool {
        let Some(flow) = Self::about(way, packet) else {
            return false;
        };
        let Some(past) = self.past(&flow, now) else {
            return false;
        };
        past.itself
            || past.own_node
            || self.allowed(Way::Out, &flow)
            || self.allowed(Way::In, &flow)
    }

    /// The flow that an error is about, if it goes to who sent what it is about.
    fn about(way: Way, packet: &Packet) -> Option<Flow> {
        let (source, destination, protocol, from, to) = packet.about()?;
        // That travelled the other way.
        let flow = Flow::of(way.other(), source, destination, (from, to), protocol);
        (source == packet.destination).then_some(flow)
    }

    /// The flow that a packet of the pod is judged by where it leaves the node: an error, by what it is about.
    #[must_use]
    pub fn leaving(&self, packet: &Packet) -> Option<Flow> {
        let about = if packet.is_error() {
            Self::about(Way::Out, packet).filter(|flow| flow.local == packet.source)
        } else {
            None
        };
        about.or_else(|| self.flow(Way::Out, packet))
    }

    /// True if the packet belongs to a flow that the other side may begin.
    fn answers(&self, way: Way, flow: &Flow, packet: &Packet, now: u32) -> bool {
        let other = way.other();
        if packet.is_midstream() && self.literally(other, flow) {
            return true;
        }
        let Some(past) = self.past(flow, now) else {
            return false;
        };
        if (past.itself || past.own_node) && way == Way::Out {
            return true;
        }
        if !self.allowed(other, flow) {
            return false;
        }
        if matches!(flow.protocol, 1 | 58) {
            return past.opened(other) && (packet.is_answer() || packet.part == Part::Later);
        }
        if packet.is_syn() {
            past.opened(other)
        } else {
            past.went(other) || past.adopted
        }
    }

    /// True for what must pass: a whole packet without any extras, of a flow that a rule allows to begin so.
    #[must_use]
    pub fn must_pass(&self, arrival: Arrival, packet: &Packet, now: u32) -> bool {
        let way = arrival.way;
        let Some(flow) = self.flow(way, packet) else {
            return false;
        };
        let usual = packet.plain
            && is_own(flow.local)
            && (matches!(packet.protocol, 6 | 17 | 132) || packet.is_query())
            && self.literally(way, &flow);
        let from_whom = match way {
            Way::Out => {
                let tunnel = packet.is_tunnel() && is_opened_by_nodes(flow.remote);
                packet.hardware == HARDWARE && !tunnel && !self.is_closed_metadata(packet)
            }
            Way::In => {
                arrival.ingress == UPLINK
                    && !arrival.stamped
                    && !matches!(peer(canonical(flow.remote)), Peer::Own | Peer::Node)
            }
        };
        // A flow from before a change of policy is over if its own first direction is not allowed any more.
        let fresh = if packet.is_syn() || packet.is_query() {
            true
        } else if packet.protocol == 6 {
            self.past
                .get(&flow)
                .is_none_or(|past| past.eldest == self.epoch)
        } else {
            self.past(&flow, now)
                .is_none_or(|past| past.epoch == self.epoch)
        };
        usual && from_whom && fresh
    }

    /// True for a packet that is judged for good where it leaves the pod: to a pod, or in answer to somebody.
    #[must_use]
    pub fn may_be_final(&self, packet: &Packet, now: u32) -> bool {
        if self.policy.egress.is_none() {
            return true;
        }
        let Some(flow) = self.flow(Way::Out, packet) else {
            return false;
        };
        if packet.is_error()
            && let Some(about) = Self::about(Way::Out, packet)
            && self.past(&about, now).is_some()
        {
            return true;
        }
        matches!(peer(flow.remote), Peer::Friend | Peer::Stranger)
            || packet.is_midstream() && self.literally(Way::In, &flow)
            || self
                .past(&flow, now)
                .is_some_and(|past| past.into || past.adopted)
    }

    /// Remembers what has passed.
    pub fn passed(&mut self, arrival: Arrival, packet: &Packet, now: u32) {
        let way = arrival.way;
        let Some(flow) = self.flow(way, packet) else {
            return;
        };
        if packet.part == Part::First {
            let ports = (packet.source_port, packet.destination_port, packet.protocol);
            self.fragments.insert(Self::whole(way, packet), ports);
        }
        if packet.is_discovery() || packet.is_error() {
            return;
        }
        let fresh = self.past(&flow, now).is_none();
        let adopted = packet.is_midstream() && !self.literally(way, &flow);
        let epoch = self.epoch;
        let past = self.past.entry(flow).or_insert(Past {
            eldest: epoch,
            ..Past::default()
        });
        if fresh {
            *past = Past {
                epoch,
                eldest: past.eldest,
                ..Past::default()
            };
        }
        past.last = now;
        past.adopted |= adopted;
        past.itself |= Self::is_itself(arrival, packet);
        past.own_node |= Self::is_own_node(arrival, packet);
        match way {
            Way::Out => {
                past.out = true;
                past.begun_out |= packet.is_syn() || packet.is_query();
            }
            Way::In => {
                past.into = true;
                past.begun_in |= packet.is_syn() || packet.is_query();
            }
        }
    }

    /// An address of the pod's, for those who build packets.
    #[must_use]
    pub fn own(six: bool) -> IpAddr {
        address(Peer::Own, six)
    }
}
