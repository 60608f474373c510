//! [`Tables`] over the maps.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_ANY},
    helpers::generated::bpf_jiffies64,
};
use ringfence_common::{
    Hook, V6,
    cell::{Cell, Verdict},
    config::Config,
    endpoint::{EndpointRecord, EndpointWord, LocalWord, NEAR_IFINDEX, SourceWord},
    event::{COUNTERS as COUNTER_COUNT, REASONS},
    judge::{self, Asked, Context, Outcome, RateWord, Reach, Seen, Socket, Tables, look_again},
    metadata::{Grants, MetadataWord, PortKey, sieve_bit},
    service::{NodeWord, ServiceKey},
    table::{ClassKey, ClassWord},
};

use crate::{cgroup, maps, report};

/// The maps, the configuration and the time, as one program run sees them.
pub struct Maps<'a> {
    config: &'a Config,
    now: u32,
    length: u32,
    /// The packet, where a socket of this machine may have sent it.
    skb: *mut __sk_buff,
}

impl Maps<'_> {
    /// Reads the clock once; `length` is the packet's, for events. `None` cannot happen: element 0 is there.
    #[inline(always)]
    pub fn new(length: u32) -> Option<Self> {
        Self::sent(length, core::ptr::null_mut())
    }

    /// The same for a packet that a socket of this machine may have sent.
    #[inline(always)]
    pub fn sent(length: u32, skb: *mut __sk_buff) -> Option<Self> {
        let config = maps::CONFIG.get(0)?;
        // SAFETY: the helper takes no arguments and reads the kernel's jiffies.
        let jiffies = unsafe { bpf_jiffies64() };
        Some(Self {
            config,
            now: (jiffies >> (config.tick_shift & 63)) as u32,
            length,
            skb,
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
    fn is_metadata_port(&self, key: &PortKey) -> bool {
        // SAFETY: nothing of the value is read.
        unsafe { maps::METADATA_PORTS.get(key) }.is_some()
    }

    #[inline(always)]
    fn socket(&self) -> Socket {
        if self.skb.is_null() {
            return Socket::NOBODY;
        }
        Socket(cgroup::sender(self.skb))
    }

    #[inline(always)]
    fn grants_of(&self, cgroup: u64) -> Grants {
        // SAFETY: the value is read at once; ids of cgroups are never used twice, and a recycled element belongs to
        // another pod that was granted access in the same moment.
        Grants(unsafe { maps::GRANTS.get(cgroup) }.map_or(0, read))
    }

    #[inline(always)]
    fn take_metadata_packet(&self, sender: u64, limit: u32) -> bool {
        take_metadata_packet(sender, u64::from(limit)) != 0
    }

    #[inline(always)]
    fn endpoint_at(&self, first: u64, second: u64, asked: Asked) -> u32 {
        endpoint_at(first, second, asked.0) as u32
    }

    #[inline(always)]
    fn endpoint_behind(&self, first: u64, second: u64, asked: Asked) -> u32 {
        endpoint_behind(first, second, asked.0) as u32
    }

    #[inline(always)]
    fn node(&self, address: &V6) -> u8 {
        // SAFETY: as in `endpoint`.
        let look = || unsafe { maps::NODE_ADDRESSES.get(address) }.map_or(0, |word| read(word).0);
        let word = look_again(look, |word| NodeWord(word).bits(address) != 0);
        NodeWord(word).bits(address)
    }

    #[inline(always)]
    fn is_uplink(&self, ifindex: u32) -> bool {
        // SAFETY: nothing of the value is read.
        unsafe { maps::UPLINKS.get(ifindex) }.is_some()
    }

    #[inline(always)]
    fn reach(&self, address: &V6) -> Reach {
        match reach(address) {
            0 => Reach::One,
            1 => Reach::Link,
            2 => Reach::Many,
            _ => Reach::Loop,
        }
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
        let look = || unsafe { maps::LOCALS.get(address) }.map_or(0, |word| read(word).0);
        let word = look_again(look, |word| LocalWord(word).source(address).is_some());
        LocalWord(word).source(address)
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
            let cgroup = match self.socket() {
                socket if socket.is_of_pods() => socket.0,
                _ => 0,
            };
            report::send(context, endpoint, outcome, seen, (self.length, cgroup));
        }
    }
}

/// [`judge::reach`] as a function of its own.
#[inline(never)]
extern "C" fn reach(address: *const V6) -> u64 {
    // SAFETY: the only caller has a reference.
    let address = unsafe { &*address };
    judge::reach(address) as u64
}

/// [`Tables::take_metadata_packet`] as a global function: the verifier checks it once, by itself, with any arguments.
///
/// Two CPUs that count at once may lose one of the other's packets: the rate is there to spare others, not to bill.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn take_metadata_packet(sender: u64, limit: u64) -> u64 {
    let Some(tables) = Maps::new(0) else { return 0 };
    let now = tables.now;
    let Some(word) = maps::METADATA_RATES.get_ptr_mut(sender) else {
        // If it is not remembered, the next packet is counted.
        let _: Result<(), i32> =
            maps::METADATA_RATES.insert(sender, RateWord::first(now).0, u64::from(BPF_ANY));
        return 1;
    };
    // SAFETY: elements of a preallocated map are never unmapped; a word is read and written as a whole.
    unsafe {
        match RateWord(core::ptr::read_volatile(word)).next(now, limit as u32) {
            Some(next) => {
                core::ptr::write_volatile(word, next.0);
                1
            }
            None => 0,
        }
    }
}

/// [`judge::endpoint_at`] as a global function: the verifier checks it once, by itself, with any arguments.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn endpoint_at(first: u64, second: u64, asked: u64) -> u64 {
    let Some(tables) = Maps::new(0) else {
        return u64::MAX;
    };
    u64::from(judge::endpoint_at(&tables, first, second, Asked(asked)))
}

/// [`judge::endpoint_behind`], likewise.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn endpoint_behind(first: u64, second: u64, asked: u64) -> u64 {
    let Some(tables) = Maps::new(0) else {
        return u64::MAX;
    };
    u64::from(judge::endpoint_behind(&tables, first, second, Asked(asked)))
}

/// Reads a word once, whatever happens to it at the same time.
#[inline(always)]
pub fn read<T: Copy>(word: &T) -> T {
    // SAFETY: a reference is valid to read; volatile keeps the compiler from reading twice.
    unsafe { core::ptr::read_volatile(word) }
}
