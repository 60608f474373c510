//! The sender's egress, judged where its packets end or leave.
//!
//! What was decided is kept in an entry of [`NOBODY`](crate::connection::NOBODY), by the tuple that the packet has here, so that replies can be held
//! against it too.

use super::{
    Address, ConnectionRef, FamilyTables, Outcome, Subject, Tables, policy::decide, sender::subject,
};
use crate::{
    bits,
    cell::{Cell, Verdict},
    connection::{Connection, ConnectionKey, ConnectionWord, verdict},
    event::Reason,
};

/// Where the sender's place stands in [`Connection::state`].
const PLACE: u32 = 16;

/// What became of a packet at the judgement of its sender. One word, as [`super::Judged`]: bits 0-7 a [`Reason`], 8-15 1
/// if it may pass, 16-23 [`verdict`] bits, 32-63 the sender's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent(pub u64);

impl Sent {
    #[inline(always)]
    const fn passes(bits: u8) -> Self {
        Self(1 << 8 | (bits as u64) << 16)
    }

    #[inline(always)]
    const fn refused(reason: Reason, sender: u32) -> Self {
        Self(reason as u64 | (sender as u64) << 32)
    }
}

/// Judges what the pod at this place sends, as it is here ([`super::sender::key`]): [`verdict::SOURCED`] if there is an entry of it then.
///
/// # Errors
///
/// What the packet gets, if it may not pass.
#[inline(always)]
pub(super) fn judge<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    place: u16,
    key: &ConnectionKey<A>,
) -> Result<u8, Outcome> {
    let Sent(word) = tables.judge_sent(place, key);
    if word >> 8 & 1 == 1 {
        return Ok(bits::u8_at(word, 16));
    }
    let reason = if bits::u8_at(word, 0) == Reason::Egress as u8 {
        Reason::Egress
    } else {
        Reason::ForgedMark
    };
    // The rule that decided is in the entry, if there was room for one.
    let cell = match tables.connection(key) {
        Some(entry) if reason as u8 == Reason::Egress as u8 => entry.cell(),
        _ => Cell(0),
    };
    Err(Outcome {
        about: bits::u32_at(word, 32),
        cell,
        ..Outcome::deny(reason)
    })
}

/// Judges what the pod at this place sends: the entry for `key`, which has the sender as its remote side and [`NOBODY`](crate::connection::NOBODY) as
/// its endpoint, says what was decided.
#[inline(always)]
pub fn judge_sent<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    place: u16,
    key: &ConnectionKey<A>,
) -> Sent {
    let Some(subject) = subject(tables, place) else {
        return Sent::refused(Reason::ForgedMark, 0);
    };
    let sender = subject.record.endpoint;
    // Its own address, or one that the node has put in its place. Anything else came out of a tunnel that it reached
    // through a translation.
    if !key.remote.is_own(subject.record) && !tables.is_node(&key.remote.mapped()) {
        return Sent::refused(Reason::ForgedMark, sender);
    }
    if subject.record.egress.id == 0 {
        return Sent::passes(0);
    }
    let check = A::check(key);
    if let Some(entry) = tables.connection(key) {
        let word = entry.word();
        if word.check() == check
            && entry.state() >> PLACE == u32::from(place)
            && word.generation() >= subject.generation
        {
            if word.has(verdict::DENIED) {
                return Sent::refused(Reason::Egress, sender);
            }
            let now = tables.now();
            if entry.seen() != now {
                entry.set_seen(now);
            }
            return Sent::passes(verdict::SOURCED);
        }
    }
    let cell = judged(tables, subject, key);
    let word = word(subject, check, cell);
    let connection = Connection {
        word,
        cell,
        seen: tables.now(),
        state: u32::from(place) << PLACE,
    };
    tables.track(key, &connection);
    if word.has(verdict::DENIED) {
        Sent::refused(Reason::Egress, sender)
    } else {
        Sent::passes(verdict::SOURCED)
    }
}

/// True if the sender of a connection may still send on it: what answers it passes only then. `key` is as in
/// [`judge_sent`]. An entry that pressure has driven out says nothing; the sender's next packet is judged anew.
#[inline(always)]
pub fn may_be_answered<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    key: &ConnectionKey<A>,
) -> bool {
    let Some(entry) = tables.connection(key) else {
        return true;
    };
    let word = entry.word();
    let check = A::check(key);
    if word.check() != check {
        return true;
    }
    let Some(subject) = subject(tables, bits::u16_at(u64::from(entry.state()), PLACE)) else {
        return false;
    };
    if word.generation() >= subject.generation {
        return !word.has(verdict::DENIED);
    }
    let cell = judged(tables, subject, key);
    let fresh = self::word(subject, check, cell);
    entry.set_cell(cell);
    entry.set_word(fresh);
    !fresh.has(verdict::DENIED)
}

#[inline(always)]
fn judged<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    subject: Subject<'_>,
    key: &ConnectionKey<A>,
) -> Cell {
    let table = &subject.record.egress;
    decide(tables, table, &key.local, key.protocol, key.local_port).unwrap_or(Cell(0))
}

#[inline(always)]
fn word(subject: Subject<'_>, check: u16, cell: Cell) -> ConnectionWord {
    let denied = match cell.live() {
        Some(Verdict::Allow) => 0,
        _ => verdict::DENIED,
    };
    ConnectionWord::new(subject.generation, check, verdict::EGRESS | denied)
}
