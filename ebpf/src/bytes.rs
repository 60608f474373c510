//! Packet bytes in place (direct packet access).

use aya_ebpf::{EbpfContext as _, bindings::__sk_buff, programs::TcContext};
use ringfence_common::{
    event::Reason,
    packet::{Bytes, Chain, ChainWord, MAX_HEADERS, walk_extensions},
};

/// The linear part of a packet.
pub struct Linear {
    skb: *mut __sk_buff,
    start: usize,
    end: usize,
    length: usize,
}

impl Linear {
    /// The packet as the hook sees it now; pulling data in makes it stale.
    #[inline(always)]
    pub fn of(context: &TcContext) -> Self {
        let skb = context.as_ptr().cast();
        Self {
            skb,
            start: context.data(),
            end: context.data_end(),
            length: context.len() as usize,
        }
    }

    /// Bytes that are not in the linear part.
    #[inline(always)]
    pub fn is_partial(&self) -> bool {
        self.end - self.start < self.length
    }
}

impl Bytes for Linear {
    #[inline(always)]
    fn len(&self) -> usize {
        self.length
    }

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        // It bounds the offset for the verifier too.
        if offset > MAX_HEADERS {
            return None;
        }
        let start = self.start + offset;
        if start + N > self.end {
            return None;
        }
        // SAFETY: `start` to `start + N` lies between the packet's `data` and `data_end`, as just checked (the
        // verifier sees the same check); an array of bytes has no alignment and no invalid values; nothing writes to
        // the packet while `self` lives.
        Some(unsafe { &*(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn walk(&self, next: u8, offset: usize, end: usize) -> Result<Chain, Reason> {
        let start = ChainStart { next, offset, end };
        ChainWord(walk(self.skb, start.word())).chain()
    }
}

/// Where a walk over extension headers begins: next header, offset, end of the packet.
struct ChainStart {
    next: u8,
    offset: usize,
    end: usize,
}

impl ChainStart {
    #[inline(always)]
    fn word(&self) -> u64 {
        u64::from(self.next) | (self.offset as u64 & 0xffff) << 8 | (self.end as u64) << 24
    }

    #[inline(always)]
    fn of(word: u64) -> Self {
        Self {
            next: word as u8,
            offset: (word >> 8) as usize & 0xffff,
            end: (word >> 24) as usize,
        }
    }
}

/// The walk as a global function: the verifier checks it once, by itself, with any arguments.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk(skb: *mut __sk_buff, start: u64) -> u64 {
    let ChainStart { next, offset, end } = ChainStart::of(start);
    let bytes = Linear::of(&TcContext::new(skb));
    ChainWord::new(walk_extensions(&bytes, next, offset, end)).0
}
