//! Connection tracking: what passes because of what passed before.
//!
//! One entry serves both directions. It was judged in its *original* direction, in some generation; in another
//! generation that direction is judged again, so a revoked connection ends at once and one that stays allowed does
//! not notice. An entry from before the endpoint's incarnation belongs to somebody else and is no entry.

use super::{
    Address, ConnectionRef, Context, FamilyTables, Outcome, Subject, Tables,
    lifetime::{
        begins, first_state, is_answer, is_midstream, is_query, next_state, opens, timeout,
    },
    policy::{Judged, OWN_NODE},
    sender::{self, Arrival},
};
use crate::{
    Direction,
    cell::{Tier, Verdict},
    connection::{Connection, ConnectionKey, ConnectionWord, NOBODY, state, verdict},
    endpoint::{EndpointRecord, flags},
    event::Reason,
    mark::Stamp,
    packet::{Fragment, Packet},
    protocol,
};

/// The endpoint as keys have it.
#[inline(always)]
pub(super) const fn endpoint(record: &EndpointRecord) -> [u8; 3] {
    let [a, b, c, _] = record.endpoint.to_le_bytes();
    [a, b, c]
}

#[inline(always)]
pub(super) fn key<A: Address>(
    direction: Direction,
    subject: Subject<'_>,
    packet: &Packet<A>,
) -> ConnectionKey<A> {
    let (local, remote, local_port, remote_port) = match direction {
        Direction::Egress => (
            packet.source,
            packet.destination,
            packet.source_port,
            packet.destination_port,
        ),
        Direction::Ingress => (
            packet.destination,
            packet.source,
            packet.destination_port,
            packet.source_port,
        ),
    };
    ConnectionKey {
        local,
        remote,
        local_port,
        remote_port,
        protocol: packet.protocol,
        endpoint: endpoint(subject.record),
    }
}

/// Judges a packet that is not about another one.
#[inline(always)]
pub(super) fn track<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    context: &Context,
    subject: Subject<'_>,
    packet: &Packet<A>,
    arrival: Arrival,
) -> Outcome {
    let direction = context.direction();
    let mut key = key(direction, subject, packet);
    if !key.local.is_own(subject.record) {
        // Multicast, broadcast, or a frame that was flooded here: no connection of this endpoint.
        return judge_alone(tables, subject, &key, direction);
    }
    pursue_or_open(tables, context, subject, packet, &mut key, arrival)
}

/// Judges a packet of this connection, or one that opens it.
#[inline(always)]
pub(super) fn pursue_or_open<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    context: &Context,
    subject: Subject<'_>,
    packet: &Packet<A>,
    key: &mut ConnectionKey<A>,
    arrival: Arrival,
) -> Outcome {
    let direction = context.direction();
    let check = A::check(key);
    // What the pod sends to itself does not become part of what it once sent to the node by the same ports.
    let itself = arrival.bits & verdict::ITSELF;
    if let Some(entry) = tables.connection(key)
        && let Some(mut word) = current(tables, subject, entry, key, check)
        && word.bits() & itself == itself
        && !(arrival.at_socket && word.has(verdict::DEFERRED))
    {
        // A forwarded packet that was given the node's address does not inherit what the node itself may, nor what was
        // sent by somebody else what the pod may send to itself.
        let borrowed = word.has(verdict::OWN_NODE) && !context.generated_here()
            || word.has(verdict::ITSELF) && itself == 0;
        if direction == Direction::Ingress && borrowed {
            return judge_alone(tables, subject, key, direction);
        }
        if word.bits() & arrival.bits != arrival.bits {
            word = ConnectionWord::new(word.generation(), check, word.bits() | arrival.bits);
            entry.set_word(word);
        }
        if let Some(mut outcome) = pursue(tables.now(), entry, word, direction, packet) {
            if word.has(verdict::SOURCED) && arrival.bits & verdict::SOURCED == 0 {
                key.endpoint = NOBODY;
                if !tables.may_be_answered(key) {
                    return Outcome::deny(Reason::Revoked);
                }
            }
            if direction == Direction::Egress {
                outcome.stamp = stamp(subject, word);
            }
            return outcome;
        }
    }
    open(tables, context, subject, packet, key, check, arrival)
}

/// What the mark of a packet that the pod sends on this connection is to say.
#[inline(always)]
pub(super) fn stamp(subject: Subject<'_>, word: ConnectionWord) -> Stamp {
    if word.has(verdict::AGAIN) {
        Stamp(subject.record.source)
    } else {
        Stamp::FINAL
    }
}

/// What a packet gets from the connection that it belongs to; `None` for one that opens a connection of its own, or
/// none: a bare SYN in either direction (ports are used again), an ICMP message that is neither the question nor its answer.
#[inline(always)]
fn pursue<C: ConnectionRef, A>(
    now: u32,
    entry: C,
    word: ConnectionWord,
    direction: Direction,
    packet: &Packet<A>,
) -> Option<Outcome> {
    let forward = word.original() == direction;
    let old = entry.state();
    let denied = word.has(verdict::DENIED);
    match packet.protocol {
        protocol::TCP if opens(packet) => {
            let simultaneous = !forward && old == state::OPENING && !denied;
            if !simultaneous {
                return None;
            }
        }
        // Messages of other kinds have no identifier, and may not go by a question that has none either.
        protocol::ICMP | protocol::ICMPV6
            if packet.fragment != Fragment::Later
                && !(if forward {
                    is_query(packet)
                } else {
                    is_answer(packet)
                }) =>
        {
            return None;
        }
        _ => {}
    }
    // What is dropped keeps a connection alive only where a new one can be told from it, by its SYN: a revoked flow
    // without one must not close the other direction for longer than its own silence.
    let lives = !denied || packet.protocol == protocol::TCP;
    // Stored only when it changed: a flow that two CPUs see costs less.
    if lives && entry.seen() != now {
        entry.set_seen(now);
    }
    if denied {
        return Some(Outcome {
            cell: entry.cell(),
            ..Outcome::deny(Reason::Revoked)
        });
    }
    let new = next_state(old, forward, packet);
    if new != old {
        entry.set_state(new);
    }
    Some(Outcome::allow(if forward {
        Reason::Established
    } else {
        Reason::Reply
    }))
}

/// The entry's word if it is this key's, of this incarnation and not expired; judged again if it was judged in an
/// earlier generation.
#[inline(always)]
pub(super) fn current<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    subject: Subject<'_>,
    entry: <T as FamilyTables<A>>::Connection,
    key: &ConnectionKey<A>,
    check: u16,
) -> Option<ConnectionWord> {
    let word = entry.word();
    if word.check() != check || word.generation() < subject.record.born {
        return None;
    }
    // Another CPU may have stored a later tick than this one read.
    let idle = tables.now().wrapping_sub(entry.seen()).cast_signed();
    let limit = timeout(tables.config(), key.protocol, entry.state());
    if idle > limit.cast_signed() {
        return None;
    }
    // A packet that read an old word while a new generation came into force leaves a later verdict alone.
    if word.generation() >= subject.generation {
        return Some(word);
    }
    let own_node = word.has(verdict::OWN_NODE) && tables.is_node(&key.remote.mapped());
    let forwarded = word.has(verdict::DEFERRED) && subject.record.flags & flags::NODE != 0;
    let (cell, again) = if word.has(verdict::ITSELF) {
        (OWN_NODE, 0)
    } else if forwarded {
        // It is no connection of the node's own, whatever policy says of those.
        (OWN_NODE, verdict::DEFERRED)
    } else {
        let mut judged = tables.judged(subject.record, key, word.original());
        if own_node {
            judged = judged.of_own_node();
        }
        (judged.cell(), judged.bits())
    };
    let mut bits = word.bits() & !(verdict::DENIED | verdict::AGAIN | verdict::DEFERRED) | again;
    if cell.live() != Some(Verdict::Allow) {
        bits |= verdict::DENIED;
    }
    let word = ConnectionWord::new(subject.generation, check, bits);
    entry.set_cell(cell);
    entry.set_word(word);
    if key.protocol == protocol::TCP && word.has(verdict::DENIED) {
        tables.remember_revoked(key, word);
    }
    Some(word)
}

/// Judges a packet that no connection speaks for.
#[inline(always)]
fn open<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    context: &Context,
    subject: Subject<'_>,
    packet: &Packet<A>,
    key: &mut ConnectionKey<A>,
    check: u16,
    arrival: Arrival,
) -> Outcome {
    let direction = context.direction();
    let mut bits = arrival.bits;
    if arrival.unknown {
        // In place: a second key would not fit on the stack.
        key.endpoint = NOBODY;
        match sender::by_address_if_unknown(tables, arrival, key) {
            Ok(found) => bits = found,
            Err(outcome) => return outcome,
        }
        key.endpoint = endpoint(subject.record);
    }
    let itself = arrival.bits & verdict::ITSELF != 0;
    let own_node = direction == Direction::Ingress
        && context.generated_here()
        && tables.is_node(&packet.source.mapped());
    let midstream = is_midstream(packet);
    let mut original = direction;
    let mut other_way = midstream;
    if midstream && !own_node && !itself {
        let revoked = tables.revoked(key);
        if revoked.check() == check && revoked.generation() >= subject.record.born {
            // Which side opened it is known: it comes back if policy allows that again, and no other way.
            original = revoked.original();
            other_way = false;
        }
    }
    let mut judged = Judged::new(Some(OWN_NODE), 0);
    if !itself {
        judged = tables.judged(subject.record, key, original);
        if own_node {
            judged = judged.of_own_node();
        }
    }
    let cell = judged.cell();
    if cell.live().is_none() {
        return Outcome::deny(Reason::BadCell);
    }
    let mut outcome = Outcome {
        cell,
        ..Outcome::allow(Reason::Policy)
    };
    if itself {
        outcome.reason = Reason::ToItself;
    } else if own_node {
        if cell.live() != Some(Verdict::Allow) {
            return Outcome {
                verdict: Verdict::Deny,
                ..outcome
            };
        }
        outcome.reason = Reason::OwnNode;
        bits |= verdict::OWN_NODE;
    } else if cell.live() == Some(Verdict::Allow) {
        bits |= judged.bits();
        if judged.bits() & verdict::DEFERRED != 0 {
            outcome.reason = Reason::Deferred;
        } else if cell.tier_number() == Tier::Default as u8 {
            outcome.reason = Reason::NotIsolated;
        }
    } else if other_way {
        // Older than the agent, or evicted: it may be the other direction that policy allows.
        original = direction.opposite();
        // That it might go to a Service is no permission: its own next packet will tell.
        let other = tables.judged(subject.record, key, original);
        if !other.allows() || other.bits() & verdict::DEFERRED != 0 {
            return Outcome {
                verdict: Verdict::Deny,
                ..outcome
            };
        }
        outcome.cell = other.cell();
        bits |= other.bits();
    } else {
        return Outcome {
            verdict: Verdict::Deny,
            ..outcome
        };
    }
    if midstream {
        outcome.reason = Reason::Adopted;
        bits |= verdict::ADOPTED;
    }
    if original == Direction::Egress {
        bits |= verdict::EGRESS;
    }
    let word = ConnectionWord::new(subject.generation, check, bits);
    if direction == Direction::Egress {
        outcome.stamp = stamp(subject, word);
    }
    if !midstream && !begins(packet) {
        return outcome;
    }
    let connection = Connection {
        word,
        cell: outcome.cell,
        seen: tables.now(),
        state: first_state(packet),
    };
    tables.track(key, &connection);
    outcome
}

/// Judges a packet without regard to what was before, and remembers nothing of it.
#[inline(always)]
pub(super) fn judge_alone<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    subject: Subject<'_>,
    key: &ConnectionKey<A>,
    direction: Direction,
) -> Outcome {
    let judged = tables.judged(subject.record, key, direction);
    let cell = judged.cell();
    if cell.live().is_none() {
        return Outcome::deny(Reason::BadCell);
    }
    let mut outcome = Outcome {
        verdict: cell.live().unwrap_or(Verdict::Deny),
        cell,
        ..Outcome::allow(Reason::Policy)
    };
    if direction == Direction::Egress {
        let word = ConnectionWord::new(subject.generation, 0, judged.bits());
        outcome.stamp = stamp(subject, word);
    }
    outcome
}
