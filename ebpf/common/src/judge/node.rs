//! The node as an endpoint: what it sends and receives itself, where that is to be judged.
//!
//! Its record is that of the interface [`NODE_IFINDEX`], which no device has. It is asked at the devices that lead off the
//! node, after [`super::leaving`] and [`super::entering`], and where a packet ends in a socket: by then it is known what the
//! node's rules have made of it. What is only forwarded is not judged here, but remembered where it has taken the node's
//! address, for its answers come to that.
//!
//! **Invariant:** what is remembered as forwarded opens no socket of the node.

use super::{
    Address, ConnectionRef, Context, FamilyTables, Outcome, Seen, Subject, Tables, connection,
    lifetime::{first_state, next_state, opens},
    policy::OWN_NODE,
    sender::Arrival,
    whole,
};
use crate::{
    Hook, V6,
    cell::Verdict,
    connection::{Connection, ConnectionKey, ConnectionWord, FragmentWord, verdict},
    endpoint::{EndpointRecord, NODE_IFINDEX},
    event::Reason,
    mark::Stamp,
    packet::{self, Bytes, Fragment, Packet},
    protocol,
    service::{ANY_NODE_ADDRESS, node},
};

/// Where a packet is that may be the node's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// It comes in from outside.
    Enters,
    /// It was generated here, and leaves.
    Leaves,
    /// It is forwarded, and leaves.
    Forwarded,
    /// It has come in from elsewhere, and has arrived at a socket.
    Socket,
}

/// The node's record; `None` if it is not judged.
#[inline(always)]
fn record<T: Tables>(tables: &T) -> Option<&EndpointRecord> {
    tables.record(tables.endpoint(NODE_IFINDEX).slot())
}

/// True if the node itself is judged.
#[inline(always)]
pub fn is_judged<T: Tables>(tables: &T) -> bool {
    record(tables).is_some()
}

/// Judges a packet at the hooks of the node's devices and sockets, as far as it is the node's own. What is to become of its
/// mark is not asked here: the outcome's stamp says nothing.
///
/// `layer3` is as for [`super::leaving`].
#[inline(always)]
pub fn of_node<T: Tables, B: Bytes + ?Sized>(
    tables: &T,
    bytes: &B,
    context: &Context,
    layer3: Option<u16>,
) -> Outcome {
    let passed = Outcome::allow(Reason::PassedOn);
    let Some(record) = record(tables) else {
        return passed;
    };
    let at = match context.hook {
        Hook::FromHost => At::Enters,
        // Whatever its mark says: a process of the node may write there what it likes.
        Hook::ToHost if context.generated_here() => At::Leaves,
        Hook::ToHost => At::Forwarded,
        // By other devices come pods, containers, and the answers of both.
        _ if tables.config().mark.stamp(context.mark) == Stamp::NONE
            && tables.is_uplink(context.ifindex) =>
        {
            At::Socket
        }
        _ => return passed,
    };
    let (ethertype, offset) = match layer3 {
        Some(ethertype) => (ethertype, 0),
        None => match packet::frame(bytes) {
            Ok(frame) => (frame.ethertype, frame.offset),
            Err(reason) => return unreadable(tables, context, record, at, reason),
        },
    };
    match ethertype {
        packet::ETH_IPV4 => match packet::v4(bytes, offset) {
            Ok(packet) => judge(tables, bytes, context, packet, at),
            Err(reason) => unreadable(tables, context, record, at, reason),
        },
        packet::ETH_IPV6 => match packet::v6(bytes, offset) {
            Ok(packet) => judge(tables, bytes, context, packet, at),
            Err(reason) => unreadable(tables, context, record, at, reason),
        },
        _ => passed,
    }
}

/// Whether it is the node's cannot be told: it is dropped, but for what is forwarded, which others judge.
#[inline(always)]
fn unreadable<T: Tables>(
    tables: &T,
    context: &Context,
    record: &EndpointRecord,
    at: At,
    reason: Reason,
) -> Outcome {
    if at == At::Forwarded {
        return Outcome::allow(Reason::PassedOn);
    }
    let outcome = Outcome::deny(reason);
    tables.report(context, record.endpoint, &outcome, &Seen::default());
    outcome
}

#[inline(always)]
fn judge<T: Tables + FamilyTables<A>, B: Bytes + ?Sized, A: Address>(
    tables: &T,
    bytes: &B,
    context: &Context,
    mut packet: Packet<A>,
    at: At,
) -> Outcome {
    let Some(packet) = tables.room_for(&mut packet) else {
        return Outcome::deny(Reason::BadCell);
    };
    let word = tables.endpoint(NODE_IFINDEX);
    let Some(record) = tables.record(word.slot()) else {
        return Outcome::allow(Reason::PassedOn);
    };
    let subject = Subject {
        record,
        generation: word.generation(),
    };
    let outcome = weigh(tables, bytes, context, subject, packet, at);
    if outcome.is_event() {
        tables.report(context, record.endpoint, &outcome, &Seen::of(packet));
    } else if outcome.reason != Reason::PassedOn {
        tables.count(context.hook, &outcome);
    }
    outcome
}

#[inline(always)]
fn weigh<T: Tables + FamilyTables<A>, B: Bytes + ?Sized, A: Address>(
    tables: &T,
    bytes: &B,
    context: &Context,
    subject: Subject<'_>,
    packet: &mut Packet<A>,
    at: At,
) -> Outcome {
    let passed = Outcome::allow(Reason::PassedOn);
    if !is_own(tables, packet, at) || is_upkeep(packet) {
        return passed;
    }
    if at == At::Enters
        && (tables.is_node(&packet.source.mapped())
            || tables.reach(&packet.source.mapped()) == Reach::Loop
            || tables.reach(&packet.destination.mapped()) == Reach::Loop)
    {
        // No other machine has these.
        return Outcome::deny(Reason::SpoofedAddress);
    }
    if packet.fragment == Fragment::Later {
        let word = tables.fragment(&whole(context, packet));
        if word != FragmentWord::NONE {
            (packet.source_port, packet.destination_port) = word.ports();
            packet.protocol = word.protocol();
        } else if at == At::Forwarded {
            return passed;
        } else {
            return Outcome::deny(Reason::Fragment);
        }
    }
    if is_of_overlay(tables, packet) {
        remember_ports(tables, context, packet);
        return passed;
    }
    let direction = context.direction();
    let mut key = connection::key(direction, subject, packet);
    let Some(key) = tables.elsewhere(&mut key) else {
        return Outcome::deny(Reason::BadCell);
    };
    let outcome = if packet.is_error() {
        if at != At::Enters {
            // It answers what was let in, or what is only forwarded.
            return passed;
        }
        if let Ok(inner) = A::embedded_packet(bytes, packet)
            && inner.source == packet.destination
        {
            let ports = &tables.config().tunnel_ports;
            if packet::is_tunnel_port(inner.protocol, inner.destination_port, ports)
                && tables.node(&inner.destination.mapped()) & node::OTHER != 0
            {
                return passed;
            }
            key.remote = inner.destination;
            key.local_port = inner.source_port;
            key.remote_port = inner.destination_port;
            key.protocol = inner.protocol;
        }
        if is_known(tables, subject, key) {
            return Outcome::allow(Reason::Related);
        }
        key.remote = packet.source;
        key.protocol = packet.protocol;
        (key.local_port, key.remote_port) = (0, 0);
        connection::judge_alone(tables, subject, key, direction)
    } else if at == At::Forwarded {
        remember(tables, subject, key, packet);
        passed
    } else if at == At::Enters
        && is_translated(
            tables,
            &packet.destination,
            packet.destination_port,
            packet.protocol,
        )
        || at == At::Leaves
            && is_translated(tables, &packet.source, packet.source_port, packet.protocol)
    {
        // Who is behind it is judged where that is known; this is what comes back from there.
        passed
    } else if tables.reach(&packet.destination.mapped()) == Reach::Many {
        connection::judge_alone(tables, subject, key, direction)
    } else {
        let arrival = Arrival {
            at_socket: at == At::Socket,
            ..Arrival::default()
        };
        let context = Context {
            // From elsewhere, as far as connections are concerned: the node does not exempt itself.
            ingress: !NODE_IFINDEX,
            ..*context
        };
        connection::pursue_or_open(tables, &context, subject, packet, key, arrival)
    };
    if outcome.verdict == Verdict::Allow {
        remember_ports(tables, context, packet);
    }
    outcome
}

#[inline(always)]
fn remember_ports<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    context: &Context,
    packet: &Packet<A>,
) {
    if packet.fragment == Fragment::First {
        let word = FragmentWord::new(packet.source_port, packet.destination_port, packet.protocol);
        tables.remember_fragment(&whole(context, packet), word);
    }
}

/// True for what is the node's, where it is.
#[inline(always)]
fn is_own<T: Tables, A: Address>(tables: &T, packet: &Packet<A>, at: At) -> bool {
    match at {
        At::Enters => {
            let destination = packet.destination.mapped();
            tables.node(&destination) & (node::OWN | node::BROADCAST) != 0
                || tables.reach(&destination) != Reach::One
        }
        // Devices on top of an uplink (macvlan, ipvlan) have senders that are not the node.
        At::Leaves => {
            let source = packet.source.mapped();
            tables.is_node(&source) || tables.reach(&source) != Reach::One
        }
        At::Forwarded => tables.is_node(&packet.source.mapped()),
        At::Socket => tables.is_node(&packet.destination.mapped()),
    }
}

/// True for a tracked connection that may be spoken of.
#[inline(always)]
fn is_known<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    subject: Subject<'_>,
    key: &ConnectionKey<A>,
) -> bool {
    let Some(entry) = tables.connection(key) else {
        return false;
    };
    connection::current(tables, subject, entry, key, A::check(key))
        .is_some_and(|word| !word.has(verdict::DENIED))
}

/// Notes that this tuple is not the node's own, unless it is known to be.
#[inline(always)]
fn remember<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    subject: Subject<'_>,
    key: &ConnectionKey<A>,
    packet: &Packet<A>,
) {
    let check = A::check(key);
    let now = tables.now();
    // Ports are used again: what a connection before had come to is not this one's.
    if !opens(packet)
        && let Some(entry) = tables.connection(key)
        && connection::current(tables, subject, entry, key, check)
            .is_some_and(|word| !word.has(verdict::DENIED))
    {
        if entry.seen() != now {
            entry.set_seen(now);
        }
        let old = entry.state();
        let new = next_state(old, true, packet);
        if new != old {
            entry.set_state(new);
        }
        return;
    }
    let bits = verdict::DEFERRED | verdict::EGRESS;
    let connection = Connection {
        word: ConnectionWord::new(subject.generation, check, bits),
        cell: OWN_NODE,
        seen: now,
        state: first_state(packet),
    };
    tables.track(key, &connection);
}

/// True for what keeps a link working: neighbour discovery (RFC 4861), listener reports and queries (RFC 2710, RFC 3810) and
/// those of IPv4 (RFC 3376), which do not come from further away.
#[inline(always)]
const fn is_upkeep<A>(packet: &Packet<A>) -> bool {
    const IGMP: u8 = 2;
    match packet.protocol {
        protocol::ICMPV6 => match packet.icmp_type {
            133..=137 => packet.hop_limit == 255,
            130..=132 | 143 => packet.hop_limit == 1,
            _ => false,
        },
        IGMP => packet.hop_limit == 1,
        _ => false,
    }
}

/// True for what the nodes of the cluster carry to each other: what is inside is judged where it comes out.
#[inline(always)]
fn is_of_overlay<T: Tables, A: Address>(tables: &T, packet: &Packet<A>) -> bool {
    if !packet::is_tunnel(packet, &tables.config().tunnel_ports) {
        return false;
    }
    let ends = tables.node(&packet.source.mapped()) | tables.node(&packet.destination.mapped());
    ends & node::OWN != 0 && ends & node::OTHER != 0
}

/// True for an address of the node and a port that its rules will translate.
#[inline(always)]
fn is_translated<T: Tables, A: Address>(tables: &T, address: &A, port: u16, protocol: u8) -> bool {
    let address = address.mapped();
    tables.is_node(&address)
        && (tables.is_service(&address, port, protocol)
            || tables.is_service(&ANY_NODE_ADDRESS, port, protocol))
}

/// True for multicast and the IPv4 broadcast address.
#[inline(always)]
pub(super) const fn is_many(address: &V6) -> bool {
    match address {
        [0xff, ..] => true,
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, first, ..] => *first >= 224,
        _ => false,
    }
}

/// Whom an address names without a look into any table (IPv4 mapped).
#[must_use]
#[inline(always)]
pub const fn reach(address: &V6) -> Reach {
    match address {
        [0xfe, second, ..] if *second & 0xc0 == 0x80 => Reach::Link,
        // The unspecified address is received as a broadcast.
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]
        | [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => Reach::Many,
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, ..]
        | [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loop,
        _ if is_many(address) => Reach::Many,
        _ => Reach::One,
    }
}

/// Whom an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reach {
    /// One, or nobody.
    One = 0,
    /// One on the link (RFC 4291, 2.5.6).
    Link = 1,
    /// Many: multicast, the IPv4 broadcast address, and the unspecified one.
    Many = 2,
    /// The machine itself (RFC 1122, 3.2.1.3; RFC 4291, 2.5.3).
    Loop = 3,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::mapped;

    #[test]
    fn many_and_links_are_told_by_their_first_bits() {
        let v6 = |first: [u8; 2]| {
            let mut address = [1; 16];
            address[..2].copy_from_slice(&first);
            address
        };
        for (address, expect) in [
            (v6([0xff, 0x02]), Reach::Many),
            (v6([0xfe, 0x80]), Reach::Link),
            (v6([0xfe, 0xbf]), Reach::Link),
            (v6([0xfe, 0xc0]), Reach::One),
            (v6([0xfd, 0x80]), Reach::One),
            (mapped(&[224, 0, 0, 1]), Reach::Many),
            (mapped(&[255; 4]), Reach::Many),
            (mapped(&[223, 255, 255, 255]), Reach::One),
            (mapped(&[169, 254, 0, 1]), Reach::One),
            (mapped(&[0; 4]), Reach::Many),
            ([0; 16], Reach::Many),
            (mapped(&[127, 0, 0, 53]), Reach::Loop),
            (mapped(&[0, 0, 0, 1]), Reach::One),
        ] {
            assert_eq!(reach(&address), expect, "{address:?}");
        }
    }
}
