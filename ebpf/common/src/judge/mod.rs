//! The judge: what happens to a packet at a pod's hook.
//!
//! Order is part of the design: parse, endpoint, sender, metadata, neighbours, connection, policy. Everything is
//! generic over [`Tables`], which the kernel implements with maps and the host with plain collections.
//!
//! **Invariant:** each path ends in an [`Outcome`]; what cannot be read is denied.

mod connection;
mod exit;
mod firewall;
mod lifetime;
mod metadata;
mod neighbour;
mod node;
mod policy;
mod related;
mod sender;
mod sent;
mod tables;

pub use exit::{entering, leaving};
pub use firewall::{LOOPBACK, RateWord, Socket, firewall, tell as tell_firewall};
pub use lifetime::timeout;
pub use metadata::{Asked, endpoint_at, endpoint_behind};
pub use node::{Reach, is_judged as node_is_judged, of_node, reach};
pub use policy::{Judged, decide, judged};
pub use sender::{Sender, by_device};
pub use sent::{Sent, judge_sent, may_be_answered};
pub use tables::{Address, ConnectionRef, FamilyTables, Tables, look_again};

use crate::{
    Direction, Hook, V6,
    cell::{Cell, Tier, Verdict},
    connection::{FragmentWord, Whole, verdict},
    endpoint::{EndpointRecord, Generation, flags},
    event::Reason,
    mark::Stamp,
    metadata::{Grants, layers},
    packet::{self, Bytes, Fragment, Packet},
};

/// What a packet gets, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What it gets.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// What the packet's mark is to say of its sender from here on.
    pub stamp: Stamp,
    /// The endpoint that it is about, if it is not the hook's: the sender, judged where its packet ends or leaves.
    pub about: u32,
    /// The cell that decided; zero where no table did.
    pub cell: Cell,
}

impl Outcome {
    /// Lets it pass.
    #[must_use]
    #[inline(always)]
    pub const fn allow(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Allow,
            reason,
            stamp: Stamp::NONE,
            about: 0,
            cell: Cell(0),
        }
    }

    /// Drops it.
    #[must_use]
    #[inline(always)]
    pub const fn deny(reason: Reason) -> Self {
        Self {
            verdict: Verdict::Deny,
            reason,
            stamp: Stamp::NONE,
            about: 0,
            cell: Cell(0),
        }
    }

    /// Lets pass what the metadata firewall would deny, in audit; `told` says that user space is to hear of it.
    #[must_use]
    #[inline(always)]
    pub const fn audited(told: bool) -> Self {
        const WOULD_DENY: Cell = Cell::new(Verdict::Allow, Verdict::Deny, Tier::Metadata, 0);
        Self {
            cell: if told { WOULD_DENY } else { Cell(0) },
            ..Self::allow(Reason::Metadata)
        }
    }

    /// True for what the metadata firewall lets pass in audit only.
    #[must_use]
    #[inline(always)]
    pub const fn is_audited(&self) -> bool {
        matches!(self.reason, Reason::Metadata) && matches!(self.verdict, Verdict::Allow)
    }

    /// True if user space wants to hear of it: a denial, or a verdict that would be another one with everything in
    /// audit enforced.
    #[must_use]
    #[inline(always)]
    pub const fn is_event(&self) -> bool {
        matches!(self.verdict, Verdict::Deny) || !self.cell.settled()
    }
}

/// What the hook knows besides the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The hook.
    pub hook: Hook,
    /// Index of the device that the hook is on; of a socket's packet, that it came by.
    pub ifindex: u32,
    /// Index of the device that the packet came to this node by; 0 if it was generated here.
    pub ingress: u32,
    /// The packet's mark.
    pub mark: u32,
}

impl Context {
    /// True if the packet was generated on this node. Alone it proves nothing (decapsulated packets have no device
    /// either); together with a source address of the node it does.
    #[must_use]
    #[inline(always)]
    pub const fn generated_here(&self) -> bool {
        self.ingress == 0
    }

    /// The direction, seen from the pod; at the hooks of the node, from the node.
    #[must_use]
    #[inline(always)]
    pub const fn direction(&self) -> Direction {
        match self.hook {
            Hook::FromPod | Hook::ToHost | Hook::SocketPackets | Hook::Lo => Direction::Egress,
            _ => Direction::Ingress,
        }
    }
}

/// The addresses and ports that an event tells of; zeros where the packet was not understood that far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Source address, IPv4 mapped.
    pub source: V6,
    /// Destination address, IPv4 mapped.
    pub destination: V6,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl Seen {
    #[inline(always)]
    fn of<A: Address>(packet: &Packet<A>) -> Self {
        Self {
            source: packet.source.mapped(),
            destination: packet.destination.mapped(),
            source_port: packet.source_port,
            destination_port: packet.destination_port,
            protocol: packet.protocol,
        }
    }
}

/// An endpoint as this packet meets it: its record and the generation that was read with it.
#[derive(Clone, Copy)]
struct Subject<'a> {
    record: &'a EndpointRecord,
    generation: Generation,
}

/// Judges one packet and tells [`Tables::report`].
#[inline(always)]
pub fn judge<T: Tables, B: Bytes + ?Sized>(tables: &T, bytes: &B, context: &Context) -> Outcome {
    // The generation is read with the record's slot, before any identity: a change writes addresses first and
    // the generation last, so a verdict reached with an old address never counts as one of the new generation.
    let word = tables.endpoint(context.ifindex);
    let Some(record) = tables.record(word.slot()) else {
        let outcome = Outcome::deny(Reason::UnknownEndpoint);
        tables.report(context, 0, &outcome, &Seen::default());
        return outcome;
    };
    let subject = Subject {
        record,
        generation: word.generation(),
    };
    let frame = match packet::frame(bytes) {
        Ok(frame) => frame,
        Err(reason) => return finish(tables, context, record, Outcome::deny(reason)),
    };
    if matches!(context.hook, Hook::FromPod)
        && record.flags & flags::HARDWARE_ADDRESS != 0
        && frame.source != record.hardware_address
    {
        return finish(
            tables,
            context,
            record,
            Outcome::deny(Reason::SpoofedHardware),
        );
    }
    match frame.ethertype {
        packet::ETH_IPV4 => match packet::v4(bytes, frame.offset) {
            Ok(packet) => judge_ip(tables, bytes, context, subject, packet),
            Err(reason) => finish(tables, context, record, Outcome::deny(reason)),
        },
        packet::ETH_IPV6 => match packet::v6(bytes, frame.offset) {
            Ok(packet) => judge_ip(tables, bytes, context, subject, packet),
            Err(reason) => finish(tables, context, record, Outcome::deny(reason)),
        },
        packet::ETH_ARP => {
            let outcome = neighbour::arp(bytes, frame.offset, context, record);
            finish(tables, context, record, outcome)
        }
        _ => finish(tables, context, record, Outcome::deny(Reason::EtherType)),
    }
}

#[inline(always)]
fn finish<T: Tables>(
    tables: &T,
    context: &Context,
    record: &EndpointRecord,
    outcome: Outcome,
) -> Outcome {
    tables.report(context, record.endpoint, &outcome, &Seen::default());
    outcome
}

#[inline(always)]
fn judge_ip<T: Tables + FamilyTables<A>, B: Bytes + ?Sized, A: Address>(
    tables: &T,
    bytes: &B,
    context: &Context,
    subject: Subject<'_>,
    mut packet: Packet<A>,
) -> Outcome {
    let outcome = weigh(tables, bytes, context, subject, &mut packet);
    if outcome.is_event() && !A::is_noise(&packet) {
        let about = match outcome.about {
            0 => subject.record.endpoint,
            sender => sender,
        };
        tables.report(context, about, &outcome, &Seen::of(&packet));
    } else {
        tables.count(context.hook, &outcome);
    }
    outcome
}

/// The order of an IP packet's checks.
#[inline(always)]
fn weigh<T: Tables + FamilyTables<A>, B: Bytes + ?Sized, A: Address>(
    tables: &T,
    bytes: &B,
    context: &Context,
    subject: Subject<'_>,
    packet: &mut Packet<A>,
) -> Outcome {
    let from_pod = matches!(context.hook, Hook::FromPod);
    let mut arrival = sender::Arrival::default();
    if from_pod {
        // All look the destination up in the same form, which is therefore made once: the stack is small.
        let destination = packet.destination.mapped();
        let needed = metadata::needed(tables, packet, &destination);
        if needed != 0 {
            let lacks = needed & !Grants(subject.record.grants).ask() != 0;
            if tables.config().has_layer(layers::FROM_POD) {
                if lacks && !tables.config().is_metadata_audited() {
                    return Outcome::deny(Reason::Metadata);
                }
                if !firewall::is_within_rate(tables, firewall::rate_key(subject.record.endpoint)) {
                    return Outcome::deny(Reason::MetadataRate);
                }
                arrival.metadata = needed;
            } else if !lacks {
                arrival.metadata = needed;
            }
        }
        if !packet.source.is_own(subject.record)
            && !A::is_link_local_traffic(packet, subject.record)
        {
            return Outcome::deny(Reason::SpoofedAddress);
        }
        if subject.record.flags & flags::ENCAPSULATES == 0
            && goes_into_tunnel(tables, packet, &destination)
        {
            return Outcome::deny(Reason::Encapsulation);
        }
        if packet.destination.is_own(subject.record) {
            let outcome = Outcome {
                stamp: Stamp(subject.record.source),
                ..Outcome::allow(Reason::ToItself)
            };
            return metadata::audited(subject.record, packet, arrival.metadata, outcome);
        }
    } else if packet.destination.is_own(subject.record) {
        let own = packet.source.is_own(subject.record);
        // It left by the device that it comes back by: nobody else can have sent it.
        if context.ingress == context.ifindex && own {
            return Outcome::allow(Reason::ToItself);
        }
        if sender::is_itself(tables, context, subject.record)
            && (own || tables.is_node(&packet.source.mapped()))
        {
            arrival.bits = verdict::ITSELF;
        }
    }
    if let Some(outcome) = A::neighbour(bytes, context, subject.record, packet) {
        return outcome;
    }
    if packet.fragment == Fragment::Later {
        let word = tables.fragment(&whole(context, packet));
        if word == FragmentWord::NONE {
            return Outcome::deny(Reason::Fragment);
        }
        (packet.source_port, packet.destination_port) = word.ports();
        packet.protocol = word.protocol();
    }
    let mut outcome = if packet.is_error() {
        related::related(tables, bytes, context, subject, packet, arrival)
    } else {
        if !from_pod && arrival.bits == 0 {
            match sender::arriving(tables, context, &sender::key(packet)) {
                Ok(found) => arrival = found,
                Err(outcome) => return outcome,
            }
        }
        connection::track(tables, context, subject, packet, arrival)
    };
    if from_pod
        && subject.record.flags & flags::ENCAPSULATES != 0
        && packet::is_tunnel(packet, &tables.config().tunnel_ports)
    {
        // Where it is opened, its sender is asked about again. Whether a node opens it is not asked here: the stack is small.
        outcome.stamp = Stamp(subject.record.source);
    }
    if arrival.metadata != 0 {
        // Where it leaves the node, its sender's grant is asked for again.
        outcome.stamp = Stamp(subject.record.source);
        outcome = metadata::audited(subject.record, packet, arrival.metadata, outcome);
    }
    if packet.fragment == Fragment::First && outcome.verdict == Verdict::Allow {
        let word = FragmentWord::new(packet.source_port, packet.destination_port, packet.protocol);
        tables.remember_fragment(&whole(context, packet), word);
    }
    outcome
}

/// True for what a node's own tunnel device would open; `destination` is the packet's, IPv4 mapped.
#[inline(always)]
fn goes_into_tunnel<T: Tables, A>(tables: &T, packet: &Packet<A>, destination: &V6) -> bool {
    packet::is_tunnel(packet, &tables.config().tunnel_ports)
        && is_opened_by_nodes(tables, destination)
}

/// True if a node's own tunnel device would open what goes to this address (IPv4 mapped): the nodes' own, and what goes to
/// many, multicast and broadcast, for a socket without an address hears that too.
#[inline(always)]
fn is_opened_by_nodes<T: Tables>(tables: &T, destination: &V6) -> bool {
    node::is_many(destination) || tables.node(destination) != 0
}

/// What the fragments of a packet have in common.
#[inline(always)]
fn whole<'a, A: Address>(context: &Context, packet: &'a Packet<A>) -> Whole<'a, A> {
    Whole::new(
        &packet.source,
        &packet.destination,
        packet.identification,
        A::fragment_protocol(packet),
        context.direction(),
        context.ifindex,
    )
}
