//! Who sent a packet, where it arrives: what a Service's address or any other rule of the node will make of a destination is
//! not known where a packet leaves its pod, so its sender is judged where it ends or leaves.
//!
//! Who it is stands in its mark. Where somebody has written over that, it is the pod whose device it came in by, or the pod
//! whose address it has.
//!
//! **Invariant:** what a pod sends whose egress is isolated is judged before it arrives, marked or not.

use super::{
    Address, ConnectionRef, Context, FamilyTables, Outcome, Subject, Tables, connection, sent,
};
use crate::{
    bits,
    connection::{ConnectionKey, NOBODY, verdict},
    endpoint::{EndpointRecord, SourceWord, flags},
    mark::Stamp,
    metadata::Grants,
    packet::{Bytes, Embedded, Packet},
};

/// What is known of a packet's sender when it arrives at a pod; and of a packet that leaves one, which metadata endpoints
/// it goes to, and may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    /// [`verdict::SOURCED`] if it was judged here, [`verdict::ITSELF`] if it is the pod itself.
    pub(super) bits: u8,
    /// Neither the mark nor the device tells: if nothing is known of the connection, its address may.
    pub(super) unknown: bool,
    /// The metadata endpoints that it goes to, and may: by a grant, or because the firewall is in audit. Which of these it is is asked
    /// once more at the end: kept from here on it would be one more way through everything for the verifier.
    pub(super) metadata: u32,
    /// It has arrived at a socket of the node: what is remembered as forwarded does not count.
    pub(super) at_socket: bool,
}

/// True if the pod's own mark or its own device say that it comes back to where it came from.
#[inline(always)]
pub(super) fn is_itself<T: Tables>(tables: &T, context: &Context, record: &EndpointRecord) -> bool {
    let stamp = tables.config().mark.stamp(context.mark);
    context.ingress == context.ifindex || stamp.is_source() && stamp.0 == record.source
}

/// Judges the sender of a packet that arrives at a pod.
///
/// # Errors
///
/// What the packet gets, if that is the end of it.
#[inline(always)]
pub(super) fn arriving<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    context: &Context,
    key: &ConnectionKey<A>,
) -> Result<Arrival, Outcome> {
    let stamp = tables.config().mark.stamp(context.mark);
    if stamp == Stamp::FINAL {
        return Ok(Arrival::default());
    }
    let sender = if stamp.is_source() {
        Sender::Judge(stamp.0)
    } else {
        tables.sender_by_device(context.ingress, key)
    };
    match sender {
        Sender::Judge(place) => Ok(Arrival {
            bits: sent::judge(tables, place, key)?,
            ..Arrival::default()
        }),
        Sender::Judged => Ok(Arrival::default()),
        Sender::Unknown => Ok(Arrival {
            unknown: context.ingress != 0,
            ..Arrival::default()
        }),
    }
}

/// What is known of a packet's sender besides its mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// No pod, as far as can be seen.
    Unknown,
    /// A pod, and nothing is left to judge.
    Judged,
    /// The pod with this place, whose egress is to be judged.
    Judge(u16),
}

impl Sender {
    /// As a word, which a function of the kernel can answer; places begin at 1.
    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Judged => u64::MAX,
            Self::Judge(place) => place as u64,
        }
    }

    /// The word's meaning.
    #[must_use]
    #[inline(always)]
    pub const fn of(word: u64) -> Self {
        match word {
            0 => Self::Unknown,
            u64::MAX => Self::Judged,
            place => Self::Judge(bits::u16_at(place, 0)),
        }
    }
}

/// Finds the sender of an unmarked packet by the device that it came in by; `key` is as in [`sent::judge_sent`].
#[inline(always)]
pub fn by_device<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    ingress: u32,
    key: &ConnectionKey<A>,
) -> Sender {
    if ingress == 0 {
        return Sender::Unknown;
    }
    match tables.record(tables.endpoint(ingress).slot()) {
        None => Sender::Unknown,
        Some(record) if is_judged(tables, record, key) => Sender::Judged,
        Some(record) => Sender::Judge(record.source),
    }
}

/// Finds the sender of an unmarked packet by its address.
#[inline(always)]
pub(super) fn by_address<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    key: &ConnectionKey<A>,
) -> Sender {
    let Some(place) = tables.local(&key.remote.mapped()) else {
        return Sender::Unknown;
    };
    match subject(tables, place) {
        Some(subject) if is_judged(tables, subject.record, key) => Sender::Judged,
        _ => Sender::Judge(place),
    }
}

/// The [`verdict`] bits of what arrived: where neither its mark nor its device told whose it is, its address may.
///
/// # Errors
///
/// What the packet gets, if it may not pass.
#[inline(always)]
pub(super) fn by_address_if_unknown<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    arrival: Arrival,
    key: &ConnectionKey<A>,
) -> Result<u8, Outcome> {
    if arrival.unknown
        && let Sender::Judge(place) = by_address(tables, key)
    {
        return sent::judge(tables, place, key);
    }
    Ok(arrival.bits)
}

/// True if this sender's egress is free or not enforced yet, or if the sender's own hook has judged this very tuple for
/// good.
#[inline(always)]
fn is_judged<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    record: &EndpointRecord,
    key: &ConnectionKey<A>,
) -> bool {
    if record.egress.id == 0 || !tables.source(record.source).is_guarded() {
        return true;
    }
    if !key.remote.is_own(record) {
        return false;
    }
    let key = ConnectionKey {
        endpoint: connection::endpoint(record),
        ..turned(key)
    };
    match tables.connection(&key) {
        Some(entry) => {
            let word = entry.word();
            word.check() == A::check(&key) && word.bits() & (verdict::DENIED | verdict::AGAIN) == 0
        }
        None => false,
    }
}

/// The endpoint at a place, if it is still the one that the place was given to.
#[inline(always)]
pub(super) fn subject<T: Tables>(tables: &T, place: u16) -> Option<Subject<'_>> {
    let source = tables.source(place);
    if source == SourceWord::NONE {
        return None;
    }
    let word = tables.endpoint(source.ifindex());
    let record = tables.record(word.slot())?;
    (record.endpoint == source.endpoint() && record.source == place).then_some(Subject {
        record,
        generation: word.generation(),
    })
}

/// The number of the endpoint that a mark names; 0 if it names none.
#[inline(always)]
pub(super) fn number<T: Tables>(tables: &T, stamp: Stamp) -> u32 {
    subject(tables, stamp.0).map_or(0, |subject| subject.record.endpoint)
}

/// The metadata grants of the pod at a place.
#[inline(always)]
pub(super) fn grants<T: Tables>(tables: &T, place: u16) -> Grants {
    subject(tables, place).map_or(Grants::NONE, |subject| Grants(subject.record.grants))
}

/// True if a mark names a pod that may send encapsulated packets to nodes. What has lost its mark on the way may not be.
#[inline(always)]
pub(super) fn may_encapsulate<T: Tables>(tables: &T, stamp: Stamp) -> bool {
    stamp.is_source()
        && subject(tables, stamp.0)
            .is_some_and(|subject| subject.record.flags & flags::ENCAPSULATES != 0)
}

/// The tuple by which a packet's sender is judged: its own, or that of the connection that an ICMP error is about, for it
/// may go where its sender may send on that.
#[inline(always)]
pub(super) fn key_or_about<B: Bytes + ?Sized, A: Address>(
    bytes: &B,
    packet: &Packet<A>,
) -> ConnectionKey<A> {
    if packet.is_error()
        && let Ok(inner) = A::embedded_packet(bytes, packet)
        && inner.is_answered_by(packet)
    {
        return about(&inner);
    }
    key(packet)
}

/// The tuple of the connection that the sender of an ICMP error answers with it.
#[inline(always)]
pub(super) fn about<A: Address>(inner: &Embedded<A>) -> ConnectionKey<A> {
    ConnectionKey {
        local: inner.source,
        remote: inner.destination,
        local_port: inner.source_port,
        remote_port: inner.destination_port,
        protocol: inner.protocol,
        endpoint: NOBODY,
    }
}

/// The tuple of a packet as entries of [`NOBODY`] have it: from the receiver's side.
#[inline(always)]
pub(super) fn key<A: Address>(packet: &Packet<A>) -> ConnectionKey<A> {
    ConnectionKey {
        local: packet.destination,
        remote: packet.source,
        local_port: packet.destination_port,
        remote_port: packet.source_port,
        protocol: packet.protocol,
        endpoint: NOBODY,
    }
}

/// The tuple as the other side has it.
#[inline(always)]
pub(super) fn turned<A: Address>(key: &ConnectionKey<A>) -> ConnectionKey<A> {
    ConnectionKey {
        local: key.remote,
        remote: key.local,
        local_port: key.remote_port,
        remote_port: key.local_port,
        protocol: key.protocol,
        endpoint: key.endpoint,
    }
}
