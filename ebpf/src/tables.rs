//! [`Tables`] over the maps.

use aya_ebpf::{bindings::BPF_ANY, btf_maps::lpm_trie::Key, helpers::generated::bpf_jiffies64};
use ringfence_common::{
    Direction, Hook, V4, V6,
    cell::{Cell, Verdict},
    config::Config,
    connection::{Connection, ConnectionKey, ConnectionWord, FragmentKey, FragmentWord, Whole},
    endpoint::{EndpointRecord, EndpointWord, NEAR_IFINDEX, SourceWord},
    event::{COUNTERS as COUNTER_COUNT, REASONS},
    identity::{Identity, IdentityWord, fold4, fold6},
    judge::{
        self, ConnectionRef, Context, FamilyTables, Judged, Outcome, Seen, Sent, Tables, look_again,
    },
    metadata::{MetadataWord, sieve_bit},
    service::{NodeWord, ServiceKey},
    table::{ClassKey, ClassWord},
};

use crate::{maps, report};

/// The maps, the configuration and the time, as one program run sees them.
pub struct Maps<'a> {
    config: &'a Config,
    now: u32,
    length: u32,
}

impl Maps<'_> {
    /// Reads the clock once; `length` is the packet's, for events. `None` cannot happen: element 0 is there.
    #[inline(always)]
    pub fn new(length: u32) -> Option<Self> {
        let config = maps::CONFIG.get(0)?;
        // SAFETY: the helper takes no arguments and reads the kernel's jiffies.
        let jiffies = unsafe { bpf_jiffies64() };
        Some(Self {
            config,
            now: (jiffies >> (config.tick_shift & 63)) as u32,
            length,
        })
    }
}

/// Adds one to a counter of this CPU.
#[inline(always)]
pub fn count(hook: Hook, outcome: &Outcome) {
    let denied = u32::from(matches!(outcome.verdict, Verdict::Deny));
    let index = (hook as u32 * REASONS as u32 + outcome.reason as u32) * 2 + denied;
    add_one(index);
}

/// Adds one to a counter of this CPU, by its place in `COUNTERS`.
#[inline(always)]
pub fn add_one(index: u32) {
    debug_assert!(index < COUNTER_COUNT as u32);
    if let Some(counter) = maps::COUNTERS.get_ptr_mut(index) {
        // SAFETY: the pointer is to this CPU's own value, which no other program run touches while this one is on
        // the CPU (migration is off); user space only reads.
        unsafe { *counter += 1 };
    }
}

impl Tables for Maps<'_> {
    #[inline(always)]
    fn config(&self) -> &Config {
        self.config
    }

    #[inline(always)]
    fn now(&self) -> u32 {
        self.now
    }

    #[inline(always)]
    fn endpoint(&self, ifindex: u32) -> EndpointWord {
        let element = if ifindex < NEAR_IFINDEX {
            ifindex
        } else {
            // SAFETY: the word is read at once, and carries a check of its key in case the element is recycled.
            let word = unsafe { maps::FAR_ENDPOINTS.get(ifindex) }.map(read);
            match word.and_then(|word| word.element(ifindex)) {
                Some(element) => element,
                None => return EndpointWord::NONE,
            }
        };
        maps::ENDPOINTS
            .get(element)
            .map_or(EndpointWord::NONE, read)
    }

    #[inline(always)]
    fn record(&self, slot: u32) -> Option<&EndpointRecord> {
        if slot == 0 {
            None
        } else {
            maps::RECORDS.get(slot)
        }
    }

    #[inline(always)]
    fn class(&self, key: ClassKey) -> Option<u16> {
        // SAFETY: as in `endpoint`.
        let look = || unsafe { maps::CLASSES.get(key) }.map_or(0, |word| read(word).0);
        let own = |word| ClassWord(word).class(key).is_some();
        ClassWord(look_again(look, own)).class(key)
    }

    #[inline(always)]
    fn page_entry(&self, page: u32, entry: u8) -> Option<u16> {
        maps::PAGES.get(page).map(|page| page.0[usize::from(entry)])
    }

    #[inline(always)]
    fn cell(&self, index: u32) -> Option<Cell> {
        maps::CELLS.get(index).map(read)
    }

    #[inline(always)]
    fn may_be_metadata(&self, address: &V6) -> bool {
        let bit = sieve_bit(address);
        maps::METADATA_SIEVE
            .get(bit / 64)
            .is_none_or(|word| read(word) >> (bit % 64) & 1 == 1)
    }

    #[inline(always)]
    fn metadata(&self, address: &V6) -> Option<MetadataWord> {
        // SAFETY: as in `endpoint`.
        unsafe { maps::METADATA.get(address) }.map(read)
    }

    #[inline(always)]
    fn node(&self, address: &V6) -> u8 {
        // SAFETY: as in `endpoint`.
        let look = || unsafe { maps::NODE_ADDRESSES.get(address) }.map_or(0, |word| read(word).0);
        let word = look_again(look, |word| NodeWord(word).bits(address) != 0);
        NodeWord(word).bits(address)
    }

    #[inline(always)]
    fn is_service(&self, address: &V6, port: u16, protocol: u8) -> bool {
        let Some(key) = maps::SERVICE_KEY.get_ptr_mut(0) else {
            return true;
        };
        // SAFETY: the pointer is to this CPU's own value: programs that use it run with softirqs off, one at a time.
        // Of the entry itself nothing is read: that there is one is all that counts.
        unsafe {
            key.write(ServiceKey {
                address: *address,
                port,
                protocol,
                _pad: 0,
            });
            // By reference: a copy would go to the stack.
            let key: &ServiceKey = &*key;
            maps::SERVICES.get(key).is_some()
        }
    }

    #[inline(always)]
    fn source(&self, place: u16) -> SourceWord {
        maps::SOURCES
            .get(u32::from(place))
            .map_or(SourceWord::NONE, read)
    }

    #[inline(always)]
    fn local(&self, address: &V6) -> Option<u16> {
        // SAFETY: as in `endpoint`.
        unsafe { maps::LOCALS.get(address) }
            .map(read)?
            .source(address)
    }

    #[inline(always)]
    fn count(&self, hook: Hook, outcome: &Outcome) {
        count(hook, outcome);
    }

    #[inline(always)]
    fn report(&self, context: &Context, endpoint: u32, outcome: &Outcome, seen: &Seen) {
        count(context.hook, outcome);
        if matches!(outcome.verdict, Verdict::Deny) {
            report::denied(context.hook, outcome, self.length);
        }
        if outcome.is_event() && report::may_send(self.config, self.now) {
            report::send(context, endpoint, outcome, seen, self.length);
        }
    }
}

/// Reads a word once, whatever happens to it at the same time.
#[inline(always)]
fn read<T: Copy>(word: &T) -> T {
    // SAFETY: a reference is valid to read; volatile keeps the compiler from reading twice.
    unsafe { core::ptr::read_volatile(word) }
}

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
        $judged:ident, $sent:ident, $answered:ident, $fragment:ident
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
                // It cannot be full; under pressure another entry goes, and with it only the memory of a flow.
                let _: Result<(), i32> = maps::$connections.insert(key, value, u64::from(BPF_ANY));
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
    answered4,
    FRAGMENT_KEY4
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
    answered6,
    FRAGMENT_KEY6
);
