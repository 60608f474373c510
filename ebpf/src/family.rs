//! [`FamilyTables`] over the maps of each address family.

use aya_ebpf::{bindings::BPF_ANY, btf_maps::lpm_trie::Key};
use ringfence_common::{
    Direction, V4, V6,
    cell::Cell,
    connection::{Connection, ConnectionKey, ConnectionWord, FragmentKey, FragmentWord, Whole},
    endpoint::EndpointRecord,
    event::UNTRACKED,
    identity::{Identity, IdentityWord, fold4, fold6},
    judge::{self, ConnectionRef, FamilyTables, Judged, Sender, Sent, look_again},
    packet::Packet,
};

use crate::{
    maps,
    tables::{Maps, add_one, read},
};

/// Puts a key together outside the stack, which has no room for it.
#[inline(always)]
fn scratch<'a, A: Copy>(
    room: Option<*mut FragmentKey<A>>,
    whole: &Whole<'_, A>,
) -> Option<&'a FragmentKey<A>> {
    let room = room?;
    // SAFETY: the pointer is to this CPU's own value: programs that use it run with softirqs off, one at a time.
    unsafe {
        room.write(whole.key());
        Some(&*room)
    }
}

/// An entry of `CONNECTIONS4` or `CONNECTIONS6` in place.
#[derive(Clone, Copy)]
pub struct Entry(*mut Connection);

macro_rules! field {
    ($get:ident, $set:ident, $field:ident: $type:ty) => {
        #[inline(always)]
        fn $get(self) -> $type {
            // SAFETY: the pointer comes from a lookup in this program run and elements of a preallocated map are
            // never unmapped; a concurrent write is a whole aligned word.
            unsafe { core::ptr::read_volatile(&raw const (*self.0).$field) }
        }

        #[inline(always)]
        fn $set(self, value: $type) {
            // SAFETY: as above; if the element was recycled meanwhile, the word's check of its key tells.
            unsafe { core::ptr::write_volatile(&raw mut (*self.0).$field, value) }
        }
    };
}

impl ConnectionRef for Entry {
    field!(word, set_word, word: ConnectionWord);
    field!(cell, set_cell, cell: Cell);
    field!(seen, set_seen, seen: u32);
    field!(state, set_state, state: u32);
}

macro_rules! family {
    (
        $address:ty, $bits:literal, $addresses:ident, $networks:ident, $connections:ident, $revoked:ident,
        $fragments:ident, $fold:ident,
        $judged:ident, $sent:ident, $by_device:ident, $answered:ident, $fragment:ident, $key:ident, $packet:ident
    ) => {
        /// [`judge::judged`] as a global function: the verifier checks it once, by itself, with any arguments.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $judged(
            record: *const EndpointRecord,
            key: *const ConnectionKey<$address>,
            egress: u64,
        ) -> u64 {
            // SAFETY: the verifier lets only pointers to whole values in, or null.
            let (Some(record), Some(key)) = (unsafe { record.as_ref() }, unsafe { key.as_ref() })
            else {
                return 0;
            };
            let Some(tables) = Maps::new(0) else { return 0 };
            let direction = if egress == 0 {
                Direction::Ingress
            } else {
                Direction::Egress
            };
            judge::judged(&tables, record, key, direction).0
        }

        /// [`judge::judge_sent`], likewise.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $sent(place: u64, key: *const ConnectionKey<$address>) -> u64 {
            // SAFETY: as above.
            let Some(key) = (unsafe { key.as_ref() }) else {
                return 0;
            };
            let Some(tables) = Maps::new(0) else { return 0 };
            judge::judge_sent(&tables, place as u16, key).0
        }

        /// [`judge::by_device`], likewise.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $by_device(ingress: u64, key: *const ConnectionKey<$address>) -> u64 {
            // SAFETY: as above.
            let Some(key) = (unsafe { key.as_ref() }) else {
                return 0;
            };
            let Some(tables) = Maps::new(0) else { return 0 };
            judge::by_device(&tables, ingress as u32, key).word()
        }

        /// [`judge::may_be_answered`], likewise.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $answered(key: *const ConnectionKey<$address>) -> u64 {
            // SAFETY: as above.
            let Some(key) = (unsafe { key.as_ref() }) else {
                return 0;
            };
            let Some(tables) = Maps::new(0) else { return 0 };
            u64::from(judge::may_be_answered(&tables, key))
        }

        impl FamilyTables<$address> for Maps<'_> {
            type Connection = Entry;

            #[inline(always)]
            fn identity(&self, address: &$address) -> Option<Identity> {
                let look = || {
                    // SAFETY: the word is read at once, and carries a check of its key in case the element is recycled.
                    unsafe { maps::$addresses.get(address) }.map_or(0, |word| read(word).0)
                };
                let fold = $fold(address);
                let word = look_again(look, |word| IdentityWord(word).of(fold).is_some());
                IdentityWord(word).of(fold)
            }

            #[inline(always)]
            fn network(&self, address: &$address) -> Option<Identity> {
                maps::$networks.get(&Key::new($bits, *address)).map(read)
            }

            #[inline(always)]
            fn connection(&self, key: &ConnectionKey<$address>) -> Option<Entry> {
                maps::$connections.get_ptr_mut(key).map(Entry)
            }

            #[inline(always)]
            fn track(&self, key: &ConnectionKey<$address>, connection: &Connection) {
                let Some(room) = maps::CONNECTION.get_ptr_mut(0) else {
                    return;
                };
                // SAFETY: the pointer is to this CPU's own value: programs that use it run with softirqs off, one at a
                // time.
                let value = unsafe {
                    room.write(*connection);
                    &*room
                };
                // It cannot be full; under pressure another entry goes, and with it only the memory of a flow. But where
                // many CPUs take entries at once, one may find none: its packet is judged, and so is the next.
                if maps::$connections
                    .insert(key, value, u64::from(BPF_ANY))
                    .is_err()
                {
                    add_one(UNTRACKED);
                }
            }

            #[inline(always)]
            fn elsewhere<'a>(
                &'a self,
                key: &'a mut ConnectionKey<$address>,
            ) -> Option<&'a mut ConnectionKey<$address>> {
                let room = maps::$key.get_ptr_mut(0)?;
                // SAFETY: the pointer is to this CPU's own value: programs that use it run with softirqs off, one at a
                // time, and of each only one key is here.
                unsafe {
                    room.write(*key);
                    Some(&mut *room)
                }
            }

            #[inline(always)]
            fn room_for<'a>(
                &'a self,
                packet: &'a mut Packet<$address>,
            ) -> Option<&'a mut Packet<$address>> {
                let room = maps::$packet.get_ptr_mut(0)?;
                // SAFETY: as above.
                unsafe {
                    room.write(*packet);
                    Some(&mut *room)
                }
            }

            #[inline(always)]
            fn revoked(&self, key: &ConnectionKey<$address>) -> ConnectionWord {
                // SAFETY: the word is read at once, and carries a check of its key in case the element is recycled.
                unsafe { maps::$revoked.get(key) }.map_or(ConnectionWord(0), read)
            }

            #[inline(always)]
            fn remember_revoked(&self, key: &ConnectionKey<$address>, word: ConnectionWord) {
                // As in `track`.
                let _: Result<(), i32> = maps::$revoked.insert(key, word, u64::from(BPF_ANY));
            }

            #[inline(always)]
            fn judged(
                &self,
                record: &EndpointRecord,
                key: &ConnectionKey<$address>,
                direction: Direction,
            ) -> Judged {
                Judged($judged(record, key, direction as u64))
            }

            #[inline(always)]
            fn judge_sent(&self, place: u16, key: &ConnectionKey<$address>) -> Sent {
                Sent($sent(u64::from(place), key))
            }

            #[inline(always)]
            fn sender_by_device(&self, ingress: u32, key: &ConnectionKey<$address>) -> Sender {
                Sender::of($by_device(u64::from(ingress), key))
            }

            #[inline(always)]
            fn may_be_answered(&self, key: &ConnectionKey<$address>) -> bool {
                $answered(key) != 0
            }

            #[inline(always)]
            fn fragment(&self, whole: &Whole<'_, $address>) -> FragmentWord {
                let Some(key) = scratch(maps::$fragment.get_ptr_mut(0), whole) else {
                    return FragmentWord::NONE;
                };
                // SAFETY: the word is read at once; a recycled element can at worst give the ports of another
                // packet's first fragment that was allowed in the same moment.
                unsafe { maps::$fragments.get(key) }.map_or(FragmentWord::NONE, read)
            }

            #[inline(always)]
            fn remember_fragment(&self, whole: &Whole<'_, $address>, word: FragmentWord) {
                if let Some(key) = scratch(maps::$fragment.get_ptr_mut(0), whole) {
                    // If it is not remembered, the later fragments are dropped.
                    let _: Result<(), i32> = maps::$fragments.insert(key, word, u64::from(BPF_ANY));
                }
            }
        }
    };
}

family!(
    V4,
    32,
    ADDRESSES4,
    NETWORKS4,
    CONNECTIONS4,
    REVOKED4,
    FRAGMENTS4,
    fold4,
    judged4,
    sent4,
    by_device4,
    answered4,
    FRAGMENT_KEY4,
    CONNECTION_KEY4,
    PACKET4
);
family!(
    V6,
    128,
    ADDRESSES6,
    NETWORKS6,
    CONNECTIONS6,
    REVOKED6,
    FRAGMENTS6,
    fold6,
    judged6,
    sent6,
    by_device6,
    answered6,
    FRAGMENT_KEY6,
    CONNECTION_KEY6,
    PACKET6
);
