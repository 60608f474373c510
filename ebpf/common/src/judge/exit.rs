//! What leaves the node or ends in one of its sockets, and what comes in from outside.
//!
//! Most of it is no pod's, and none of our business: what cannot be read passes, unless a pod sent it.

use super::{
    Address, Context, FamilyTables, Outcome, Seen, Tables, goes_into_tunnel, is_opened_by_nodes,
    sender::{self, Sender},
    sent, whole,
};
use crate::{
    Hook,
    connection::FragmentWord,
    event::Reason,
    identity::{ENCAPSULATES, POD},
    mark::Stamp,
    packet::{self, Bytes, Fragment, Packet},
};

/// Where a packet is on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It leaves the node, or ends in one of its sockets.
    Leaves,
    /// It comes in over an uplink. A pod's mark is one's that crossed a switch in this node (OVS, a pair of devices).
    Enters,
    /// A tunnel of this node has opened it. A mark is that of who has put it in: marks do not come in by a wire.
    Opened,
}

/// Judges one packet that leaves the node (`ToHost`) or ends in a socket of the node (`ToNode`).
///
/// `layer3` is what it is where there is no frame around it: a tunnel without Ethernet, a socket.
#[inline(always)]
pub fn leaving<T: Tables, B: Bytes + ?Sized>(
    tables: &T,
    bytes: &B,
    context: &Context,
    layer3: Option<u16>,
) -> Outcome {
    with_packet(tables, bytes, context, layer3, Way::Leaves)
}

/// Judges one packet that comes in from outside (`FromHost`): over an uplink, or out of a tunnel.
#[inline(always)]
pub fn entering<T: Tables, B: Bytes + ?Sized>(
    tables: &T,
    bytes: &B,
    context: &Context,
    layer3: Option<u16>,
    tunnel: bool,
) -> Outcome {
    let way = if tunnel { Way::Opened } else { Way::Enters };
    with_packet(tables, bytes, context, layer3, way)
}

#[inline(always)]
fn with_packet<T: Tables, B: Bytes + ?Sized>(
    tables: &T,
    bytes: &B,
    context: &Context,
    layer3: Option<u16>,
    way: Way,
) -> Outcome {
    let (ethertype, offset) = match layer3 {
        Some(ethertype) => (ethertype, 0),
        None => match packet::frame(bytes) {
            Ok(frame) => (frame.ethertype, frame.offset),
            Err(reason) => return unreadable(tables, context, reason),
        },
    };
    match ethertype {
        packet::ETH_IPV4 => match packet::v4(bytes, offset) {
            Ok(packet) => judge(tables, bytes, context, packet, way),
            Err(reason) => unreadable(tables, context, reason),
        },
        packet::ETH_IPV6 => match packet::v6(bytes, offset) {
            Ok(packet) => judge(tables, bytes, context, packet, way),
            Err(reason) => unreadable(tables, context, reason),
        },
        _ => {
            if way == Way::Opened && is_forged(tables, context) {
                return unreadable(tables, context, Reason::ForgedMark);
            }
            let outcome = Outcome::allow(Reason::PassedOn);
            tables.count(context.hook, &outcome);
            outcome
        }
    }
}

#[inline(always)]
fn is_forged<T: Tables>(tables: &T, context: &Context) -> bool {
    let stamp = tables.config().mark.stamp(context.mark);
    stamp != Stamp::NONE && !sender::may_encapsulate(tables, stamp)
}

/// What cannot be read is dropped if a pod sent it, else it is none of our business.
#[inline(always)]
fn unreadable<T: Tables>(tables: &T, context: &Context, reason: Reason) -> Outcome {
    let marked = tables.config().mark.stamp(context.mark) != Stamp::NONE;
    let from_pod = context.ingress != 0 && tables.endpoint(context.ingress).slot() != 0;
    let outcome = if marked || from_pod {
        Outcome::deny(reason)
    } else {
        Outcome::allow(Reason::PassedOn)
    };
    tables.report(context, 0, &outcome, &Seen::default());
    outcome
}

#[inline(always)]
fn judge<T: Tables + FamilyTables<A>, B: Bytes + ?Sized, A: Address>(
    tables: &T,
    bytes: &B,
    context: &Context,
    mut packet: Packet<A>,
    way: Way,
) -> Outcome {
    let outcome = match way {
        Way::Leaves => leave(tables, bytes, context, &mut packet),
        Way::Enters | Way::Opened => enter(tables, bytes, context, &packet, way),
    };
    if outcome.is_event() {
        tables.report(context, outcome.about, &outcome, &Seen::of(&packet));
    } else {
        tables.count(context.hook, &outcome);
    }
    outcome
}

#[inline(always)]
fn leave<T: Tables + FamilyTables<A>, B: Bytes + ?Sized, A: Address>(
    tables: &T,
    bytes: &B,
    context: &Context,
    packet: &mut Packet<A>,
) -> Outcome {
    let stamp = tables.config().mark.stamp(context.mark);
    let destination = packet.destination.mapped();
    // Sockets of pods' own namespaces come by here as well: theirs was judged where it entered the pod.
    let ends_here = matches!(context.hook, Hook::ToNode);
    if ends_here && stamp == Stamp::NONE && !tables.is_node(&destination) {
        return Outcome::allow(Reason::PassedOn);
    }
    if packet.fragment == Fragment::Later {
        let word = tables.fragment(&whole(context, packet));
        if word != FragmentWord::NONE {
            (packet.source_port, packet.destination_port) = word.ports();
            packet.protocol = word.protocol();
        } else if stamp.is_source() {
            // Without ports it can be judged by nothing but what it is about.
            return Outcome::deny(Reason::Fragment);
        }
    }
    let key = sender::key_or_about(bytes, packet);
    let sender = if stamp.is_source() {
        Sender::Judge(stamp.0)
    } else if stamp == Stamp::FINAL {
        Sender::Judged
    } else {
        match tables.sender_by_device(context.ingress, &key) {
            Sender::Unknown => sender::by_address(tables, &key),
            known => known,
        }
    };
    // What policy says of a tunnel's port it does not say of what is inside: only who may encapsulate sends there.
    if sender != Sender::Unknown
        && goes_into_tunnel(tables, packet, &destination)
        && !sender::may_encapsulate(tables, stamp)
    {
        return Outcome::deny(Reason::Encapsulation);
    }
    if let Sender::Judge(place) = sender
        && let Err(outcome) = sent::judge(tables, place, &key)
    {
        return outcome;
    }
    if packet.fragment == Fragment::First {
        let word = FragmentWord::new(packet.source_port, packet.destination_port, packet.protocol);
        tables.remember_fragment(&whole(context, packet), word);
    }
    Outcome::allow(Reason::PassedOn)
}

/// What answers a pod's connection passes only while the pod may still send on it.
#[inline(always)]
fn enter<T: Tables + FamilyTables<A>, B: Bytes + ?Sized, A: Address>(
    tables: &T,
    bytes: &B,
    context: &Context,
    packet: &Packet<A>,
    way: Way,
) -> Outcome {
    let stamp = tables.config().mark.stamp(context.mark);
    // What a pod that may encapsulate has sent here comes out as from anywhere else, and without its mark.
    if stamp != Stamp::NONE && !(way == Way::Opened && sender::may_encapsulate(tables, stamp)) {
        return if way == Way::Opened {
            Outcome {
                about: sender::number(tables, stamp),
                ..Outcome::deny(Reason::ForgedMark)
            }
        } else {
            Outcome {
                stamp,
                ..Outcome::allow(Reason::PassedOn)
            }
        };
    }
    // Another node's pod, which that node did not know to have this address in reach.
    if packet::is_tunnel(packet, &tables.config().tunnel_ports)
        && tables
            .identity(&packet.source)
            .is_some_and(|it| it & (POD | ENCAPSULATES) == POD)
        && is_opened_by_nodes(tables, &packet.destination.mapped())
    {
        return Outcome::deny(Reason::Encapsulation);
    }
    let key = sender::turned(&sender::key_or_about(bytes, packet));
    if packet.fragment == Fragment::Later || tables.may_be_answered(&key) {
        Outcome::allow(Reason::PassedOn)
    } else {
        Outcome::deny(Reason::Revoked)
    }
}
