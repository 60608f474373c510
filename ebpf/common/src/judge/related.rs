//! ICMP errors: they belong to the connection that they are about.

use super::{
    Address, Context, FamilyTables, Outcome, Subject, Tables, connection,
    sender::{self, Arrival},
};
use crate::{
    Direction,
    connection::{NOBODY, verdict},
    event::Reason,
    packet::{Bytes, Packet},
};

/// Judges an ICMP error: it passes with the connection that it is about, else policy judges it like any packet
/// without ports. It opens nothing.
#[inline(always)]
pub(super) fn related<T: Tables + FamilyTables<A>, B: Bytes + ?Sized, A: Address>(
    tables: &T,
    bytes: &B,
    context: &Context,
    subject: Subject<'_>,
    packet: &Packet<A>,
    arrival: Arrival,
) -> Outcome {
    let direction = context.direction();
    let mut bits = arrival.bits;
    // One key after the other in one place, and what the error is about read twice: the stack is small.
    let mut key;
    if direction == Direction::Ingress && bits == 0 {
        key = sender::key_or_about(bytes, packet);
        let judged = sender::arriving(tables, context, &key);
        match judged.and_then(|found| sender::by_address_if_unknown(tables, found, &key)) {
            Ok(found) => bits = found,
            Err(outcome) => return outcome,
        }
    }
    // An error goes to whoever sent the packet that it is about.
    if let Ok(inner) = A::embedded_packet(bytes, packet)
        && inner.source == packet.destination
    {
        // That travelled the other way: an error to the pod is about what the pod sent.
        key = sender::about(&inner);
        if direction == Direction::Egress {
            // It speaks of what it received itself, and of nothing between others.
            if !inner.destination.is_own(subject.record) {
                return Outcome::deny(Reason::SpoofedAddress);
            }
            key = sender::turned(&key);
        }
        key.endpoint = connection::endpoint(subject.record);
        if let Some(entry) = tables.connection(&key)
            && let Some(word) = connection::current(tables, subject, entry, &key, A::check(&key))
            && !word.has(verdict::DENIED)
        {
            if word.has(verdict::SOURCED) && bits & verdict::SOURCED == 0 {
                key.endpoint = NOBODY;
                if !tables.may_be_answered(&key) {
                    return Outcome::deny(Reason::Revoked);
                }
            }
            let mut outcome = Outcome::allow(Reason::Related);
            if direction == Direction::Egress {
                outcome.stamp = connection::stamp(subject, word);
            }
            return outcome;
        }
    }
    key = connection::key(direction, subject, packet);
    connection::judge_alone(tables, subject, &key, direction)
}
