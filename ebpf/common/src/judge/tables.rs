//! What the judge asks for: the maps in the kernel, collections on the host.

use super::{
    Context, Outcome, Seen,
    firewall::Socket,
    metadata::{Asked, endpoint_at, endpoint_behind},
    node::{Reach, reach},
    policy::{Judged, judged},
    sender::{Sender, by_device},
    sent::{Sent, judge_sent, may_be_answered},
};
use crate::{
    Direction, Hook, V4, V6,
    cell::Cell,
    config::Config,
    connection::{Connection, ConnectionKey, ConnectionWord, FragmentWord, Whole},
    endpoint::{EndpointRecord, EndpointWord, SourceWord},
    identity::Identity,
    metadata::{Grants, MetadataWord, PortKey, mapped},
    packet::{Bytes, Packet},
    service::node,
    table::ClassKey,
};

/// The tables that do not depend on the address family.
pub trait Tables: FamilyTables<V4> + FamilyTables<V6> {
    /// What the programs were told at load time.
    fn config(&self) -> &Config;

    /// The current tick ([`Config::tick_shift`]).
    fn now(&self) -> u32;

    /// The word of the endpoint behind this interface.
    fn endpoint(&self, ifindex: u32) -> EndpointWord;

    /// The record in this slot; `None` for slot 0.
    fn record(&self, slot: u32) -> Option<&EndpointRecord>;

    /// The class of an identity in a table; `None` is "other".
    fn class(&self, key: ClassKey) -> Option<u16>;

    /// One entry of a page of `PAGES`.
    fn page_entry(&self, page: u32, entry: u8) -> Option<u16>;

    /// One cell; `None` outside the array.
    fn cell(&self, index: u32) -> Option<Cell>;

    /// False if the address is certainly no metadata endpoint.
    fn may_be_metadata(&self, address: &V6) -> bool;

    /// The metadata endpoint at this address.
    fn metadata(&self, address: &V6) -> Option<MetadataWord>;

    /// True if the endpoints with this list have this port.
    fn is_metadata_port(&self, key: &PortKey) -> bool;

    /// Who on this machine sends the packet.
    fn socket(&self) -> Socket;

    /// What the processes of a cgroup were granted.
    fn grants_of(&self, cgroup: u64) -> Grants;

    /// Takes one packet to a metadata endpoint from what this sender may send in a tick; `false` if that is used up.
    fn take_metadata_packet(&self, sender: u64, limit: u32) -> bool;

    /// The endpoint at the address with these halves of which this is asked: [`endpoint_at`], wherever that is best done. This and
    /// the next are not on every packet's way.
    fn endpoint_at(&self, first: u64, second: u64, asked: Asked) -> u32 {
        endpoint_at(self, first, second, asked)
    }

    /// The endpoints behind configured prefixes: [`endpoint_behind`], likewise.
    fn endpoint_behind(&self, first: u64, second: u64, asked: Asked) -> u32 {
        endpoint_behind(self, first, second, asked)
    }

    /// What the address (IPv4 mapped) is to nodes: [`node`] bits.
    fn node(&self, address: &V6) -> u8;

    /// True if the address (IPv4 mapped) is the node's own.
    #[inline(always)]
    fn is_node(&self, address: &V6) -> bool {
        self.node(address) & node::OWN != 0
    }

    /// True for a device that leads off the node.
    fn is_uplink(&self, ifindex: u32) -> bool;

    /// Whom an address names by itself: [`reach`]. (Where the compiler sees an address being looked at byte by byte it keeps
    /// parts of it at places that the kernel's verifier refuses.)
    #[inline(always)]
    fn reach(&self, address: &V6) -> Reach {
        reach(address)
    }

    /// True if the node translates this destination (an address, IPv4 mapped, or [`crate::service::ANY_NODE_ADDRESS`]).
    fn is_service(&self, address: &V6, port: u16, protocol: u8) -> bool;

    /// The endpoint at this place in `SOURCES`.
    fn source(&self, place: u16) -> SourceWord;

    /// The place in `SOURCES` of the pod of this node that has the address (IPv4 mapped).
    fn local(&self, address: &V6) -> Option<u16>;

    /// Counts a packet that nobody needs to hear of.
    fn count(&self, hook: Hook, outcome: &Outcome);

    /// Counts a packet and, if it is an event, sends it.
    fn report(&self, context: &Context, endpoint: u32, outcome: &Outcome, seen: &Seen);
}

/// The tables of one address family.
pub trait FamilyTables<A>: Sized {
    /// A handle on an entry of the connection table.
    type Connection: ConnectionRef;

    /// The identity of an exact address.
    fn identity(&self, address: &A) -> Option<Identity>;

    /// The identity of the longest network that holds the address.
    fn network(&self, address: &A) -> Option<Identity>;

    /// The tracked connection.
    fn connection(&self, key: &ConnectionKey<A>) -> Option<Self::Connection>;

    /// Tracks a connection, over an entry that may be there.
    fn track(&self, key: &ConnectionKey<A>, connection: &Connection);

    /// The same key, where there is room for it: the kernel's stack is small, and has its own ideas of alignment. There is
    /// always room for one.
    #[inline(always)]
    fn elsewhere<'a>(&'a self, key: &'a mut ConnectionKey<A>) -> Option<&'a mut ConnectionKey<A>> {
        Some(key)
    }

    /// The same packet, where there is room for it; likewise.
    #[inline(always)]
    fn room_for<'a>(&'a self, packet: &'a mut Packet<A>) -> Option<&'a mut Packet<A>> {
        Some(packet)
    }

    /// How a TCP connection was revoked, else a word of no generation; it is known for longer than the connection itself.
    fn revoked(&self, key: &ConnectionKey<A>) -> ConnectionWord;

    /// Remembers that a TCP connection was revoked.
    fn remember_revoked(&self, key: &ConnectionKey<A>, word: ConnectionWord);

    /// The ports of the first fragment; [`FragmentWord::NONE`] if it was not seen.
    fn fragment(&self, whole: &Whole<'_, A>) -> FragmentWord;

    /// What policy says of a connection: [`judged`], wherever that is best done.
    ///
    /// This and the next three are not on every packet's way. The kernel calls them as functions that its verifier checks
    /// by themselves: checked where they are called, they would multiply with everything around them.
    fn judged(
        &self,
        record: &EndpointRecord,
        key: &ConnectionKey<A>,
        direction: Direction,
    ) -> Judged
    where
        Self: Tables,
        A: Address,
    {
        judged(self, record, key, direction)
    }

    /// Judges what the pod at this place sends: [`judge_sent`].
    fn judge_sent(&self, place: u16, key: &ConnectionKey<A>) -> Sent
    where
        Self: Tables,
        A: Address,
    {
        judge_sent(self, place, key)
    }

    /// Whose a packet without a mark is, by the device that it came in by: [`by_device`].
    fn sender_by_device(&self, ingress: u32, key: &ConnectionKey<A>) -> Sender
    where
        Self: Tables,
        A: Address,
    {
        by_device(self, ingress, key)
    }

    /// True if what answers a sender may pass: [`may_be_answered`].
    fn may_be_answered(&self, key: &ConnectionKey<A>) -> bool
    where
        Self: Tables,
        A: Address,
    {
        may_be_answered(self, key)
    }

    /// Remembers the ports of a first fragment.
    fn remember_fragment(&self, whole: &Whole<'_, A>, word: FragmentWord);
}

/// Looks something up in a map whose elements may be recycled between being found and being read, and takes what is its
/// own by the check in it. What had become another key's is looked up again, once: to take it for absent would deny
/// what is allowed, and a connection that is judged in that moment would stay denied.
///
/// `look` answers zero for what is absent. (No `Option`: its unused half is something that the kernel's verifier refuses.)
#[inline(always)]
pub fn look_again(look: impl Fn() -> u64, own: impl Fn(u64) -> bool) -> u64 {
    let first = look();
    if first == 0 || own(first) {
        return first;
    }
    look()
}

/// An entry of the connection table in place. The kernel may recycle it at any time, so each field is read and
/// written as one word, and only [`ConnectionWord`] (which carries a check of its key) decides.
pub trait ConnectionRef: Copy {
    /// The deciding word.
    fn word(self) -> ConnectionWord;
    /// Replaces the deciding word.
    fn set_word(self, word: ConnectionWord);
    /// The cell that decided last.
    fn cell(self) -> Cell;
    /// Replaces that cell.
    fn set_cell(self, cell: Cell);
    /// The tick of the last packet.
    fn seen(self) -> u32;
    /// Replaces that tick.
    fn set_seen(self, tick: u32);
    /// [`crate::connection::state`] bits.
    fn state(self) -> u32;
    /// Replaces these bits.
    fn set_state(self, state: u32);
}

/// An address family.
pub trait Address: Copy + PartialEq {
    /// True for IPv6.
    const IS_V6: bool;

    /// The address as IPv6, IPv4 mapped.
    fn mapped(&self) -> V6;

    /// The address that it embeds, mapped: see [`crate::metadata::embedded`].
    fn embedded(&self) -> Option<V6>;

    /// True if it is one of the endpoint's.
    fn is_own(&self, record: &EndpointRecord) -> bool;

    /// 16 bits of a key.
    fn check(key: &ConnectionKey<Self>) -> u16;

    /// True for traffic that stays on the link and may therefore have a source that the endpoint's record does not
    /// list: IPv6 link-local, and the unspecified address while one is being chosen.
    fn is_link_local_traffic(packet: &Packet<Self>, record: &EndpointRecord) -> bool;

    /// What [`crate::connection::FragmentKey::protocol`] is.
    fn fragment_protocol(packet: &Packet<Self>) -> u8;

    /// True for what everybody on a link hears unasked: that it is dropped is no news.
    fn is_noise(packet: &Packet<Self>) -> bool;

    /// Judges what keeps the family working below policy; `None` for everything else.
    fn neighbour<B: Bytes + ?Sized>(
        bytes: &B,
        context: &Context,
        record: &EndpointRecord,
        packet: &Packet<Self>,
    ) -> Option<Outcome>;

    /// Reads the packet that an ICMP error is about.
    ///
    /// # Errors
    ///
    /// Why it cannot be read.
    fn embedded_packet<B: Bytes + ?Sized>(
        bytes: &B,
        packet: &Packet<Self>,
    ) -> Result<crate::packet::Embedded<Self>, crate::event::Reason>;
}

impl Address for V4 {
    const IS_V6: bool = false;

    #[inline(always)]
    fn mapped(&self) -> V6 {
        mapped(self)
    }

    #[inline(always)]
    fn embedded(&self) -> Option<V6> {
        None
    }

    #[inline(always)]
    fn is_own(&self, record: &EndpointRecord) -> bool {
        *self != [0; 4] && (record.addresses4[0] == *self || record.addresses4[1] == *self)
    }

    #[inline(always)]
    fn check(key: &ConnectionKey<Self>) -> u16 {
        key.check()
    }

    #[inline(always)]
    fn is_link_local_traffic(_packet: &Packet<Self>, _record: &EndpointRecord) -> bool {
        false
    }

    #[inline(always)]
    fn fragment_protocol(packet: &Packet<Self>) -> u8 {
        packet.protocol
    }

    #[inline(always)]
    fn is_noise(_packet: &Packet<Self>) -> bool {
        false
    }

    #[inline(always)]
    fn neighbour<B: Bytes + ?Sized>(
        _bytes: &B,
        _context: &Context,
        _record: &EndpointRecord,
        _packet: &Packet<Self>,
    ) -> Option<Outcome> {
        None
    }

    #[inline(always)]
    fn embedded_packet<B: Bytes + ?Sized>(
        bytes: &B,
        packet: &Packet<Self>,
    ) -> Result<crate::packet::Embedded<Self>, crate::event::Reason> {
        crate::packet::embedded_v4(bytes, packet)
    }
}

impl Address for V6 {
    const IS_V6: bool = true;

    #[inline(always)]
    fn mapped(&self) -> V6 {
        *self
    }

    #[inline(always)]
    fn embedded(&self) -> Option<V6> {
        crate::metadata::embedded(self)
    }

    #[inline(always)]
    fn is_own(&self, record: &EndpointRecord) -> bool {
        *self != [0; 16]
            && (record.addresses6[0] == *self
                || record.addresses6[1] == *self
                || record.addresses6[2] == *self
                || record.addresses6[3] == *self)
    }

    #[inline(always)]
    fn check(key: &ConnectionKey<Self>) -> u16 {
        key.check()
    }

    #[inline(always)]
    fn is_link_local_traffic(packet: &Packet<Self>, record: &EndpointRecord) -> bool {
        use super::neighbour::{is_link_local, is_neighbour_message, is_own};
        let neighbourly = is_neighbour_message(packet);
        let source = packet.source == [0; 16] && neighbourly
            || is_link_local(&packet.source) && is_own(&packet.source, record);
        source
            && (neighbourly || is_link_local(&packet.destination) || packet.destination[0] == 0xff)
    }

    #[inline(always)]
    fn fragment_protocol(_packet: &Packet<Self>) -> u8 {
        0
    }

    #[inline(always)]
    fn is_noise(packet: &Packet<Self>) -> bool {
        super::neighbour::is_report(packet) && packet.destination[0] == 0xff
    }

    #[inline(always)]
    fn neighbour<B: Bytes + ?Sized>(
        bytes: &B,
        context: &Context,
        record: &EndpointRecord,
        packet: &Packet<Self>,
    ) -> Option<Outcome> {
        super::neighbour::discovery(bytes, context, record, packet)
    }

    #[inline(always)]
    fn embedded_packet<B: Bytes + ?Sized>(
        bytes: &B,
        packet: &Packet<Self>,
    ) -> Result<crate::packet::Embedded<Self>, crate::event::Reason> {
        crate::packet::embedded_v6(bytes, packet)
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;

    use super::look_again;

    /// What the lookups find, in this order; what is taken, and how often was looked.
    fn find(found: &[u64]) -> (u64, usize) {
        let looked = Cell::new(0);
        let look = || {
            looked.set(looked.get() + 1);
            found[looked.get() - 1]
        };
        let answer = look_again(look, |word| word == 7);
        (answer, looked.get())
    }

    #[test]
    fn a_recycled_element_is_looked_up_once_more_and_an_absent_one_is_not() {
        assert_eq!(find(&[7]), (7, 1));
        assert_eq!(find(&[0]), (0, 1));
        assert_eq!(find(&[3, 7]), (7, 2));
        assert_eq!(find(&[3, 0]), (0, 2));
        assert_eq!(find(&[3, 4]), (4, 2));
    }
}
