//! [`Tables`] over the maps.

use aya_ebpf::{bindings::BPF_ANY, btf_maps::lpm_trie::Key, helpers::generated::bpf_jiffies64};
use ringfence_common::{
    Hook, V4, V6,
    cell::{Cell, Verdict},
    config::Config,
    connection::{Connection, ConnectionKey, ConnectionWord, FragmentKey, FragmentWord},
    endpoint::{EndpointRecord, EndpointWord, NEAR_IFINDEX},
    event::{COUNTERS as COUNTER_COUNT, REASONS},
    identity::{Identity, fold4, fold6},
    judge::{ConnectionRef, Context, FamilyTables, Outcome, Seen, Tables, look_again},
    metadata::{MetadataWord, sieve_bit},
    table::ClassKey,
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
        let look = || unsafe { maps::CLASSES.get(key) }.map(read);
        look_again(look, |word| word.class(key))
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
    fn is_node(&self, address: &V6) -> bool {
        let fold = fold6(address);
        // SAFETY: the value is read at once, and is a check of its key in case the element is recycled.
        let look = || unsafe { maps::NODE_ADDRESSES.get(address) }.map(read);
        look_again(look, |check| (check == fold).then_some(())).is_some()
    }

    #[inline(always)]
    fn count(&self, hook: Hook, outcome: &Outcome) {
        count(hook, outcome);
    }

    #[inline(always)]
    fn report(&self, context: &Context, endpoint: u32, outcome: &Outcome, seen: &Seen) {
        count(context.hook, outcome);
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
        $fragments:ident, $fold:ident
    ) => {
        impl FamilyTables<$address> for Maps<'_> {
            type Connection = Entry;

            #[inline(always)]
            fn identity(&self, address: &$address) -> Option<Identity> {
                // SAFETY: the word is read at once, and carries a check of its key in case the element is recycled.
                let look = || unsafe { maps::$addresses.get(address) }.map(read);
                let fold = $fold(address);
                look_again(look, |word| word.of(fold))
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
                // It cannot be full; under pressure another entry goes, and with it only the memory of a flow.
                let _: Result<(), i32> =
                    maps::$connections.insert(key, connection, u64::from(BPF_ANY));
            }

            #[inline(always)]
            fn revoked(&self, key: &ConnectionKey<$address>) -> Option<ConnectionWord> {
                // SAFETY: the word is read at once, and carries a check of its key in case the element is recycled.
                unsafe { maps::$revoked.get(key) }.map(read)
            }

            #[inline(always)]
            fn remember_revoked(&self, key: &ConnectionKey<$address>, word: ConnectionWord) {
                // As in `track`.
                let _: Result<(), i32> = maps::$revoked.insert(key, word, u64::from(BPF_ANY));
            }

            #[inline(always)]
            fn fragment(&self, key: &FragmentKey<$address>) -> Option<FragmentWord> {
                // SAFETY: the word is read at once; a recycled element can at worst give the ports of another
                // packet's first fragment that was allowed in the same moment.
                unsafe { maps::$fragments.get(key) }.map(read)
            }

            #[inline(always)]
            fn remember_fragment(&self, key: &FragmentKey<$address>, word: FragmentWord) {
                // If it is not remembered, the later fragments are dropped.
                let _: Result<(), i32> = maps::$fragments.insert(key, word, u64::from(BPF_ANY));
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
    fold4
);
family!(
    V6,
    128,
    ADDRESSES6,
    NETWORKS6,
    CONNECTIONS6,
    REVOKED6,
    FRAGMENTS6,
    fold6
);
