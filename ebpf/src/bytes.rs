//! Packet bytes in place (direct packet access).

use aya_ebpf::{
    EbpfContext as _, bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes,
    programs::TcContext,
};
use ringfence_common::{
    event::Reason,
    packet::{
        Bytes, Chain, ChainWord, Inner, MAX_HEADERS, Payload, inner, is_source_routed, untag,
        walk_extensions,
    },
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

    #[inline(always)]
    fn tagged(&self) -> Result<Payload, Reason> {
        let word = tagged(self.skb);
        match Reason::from_u8((word >> 32) as u8) {
            Some(reason) if word >> 32 != 0 => Err(reason),
            _ => Ok(Payload {
                ethertype: word as u16,
                offset: (word >> 16) as usize & 0x1f,
            }),
        }
    }

    #[inline(always)]
    fn inside(&self, v6: bool, offset: usize, end: usize) -> Option<Inner> {
        let start = ChainStart {
            next: u8::from(v6),
            offset,
            end,
        };
        let word = inside(self.skb, start.word());
        (word != u64::MAX).then_some(Inner {
            protocol: word as u8,
            source_port: (word >> 8) as u16,
            destination_port: (word >> 24) as u16,
        })
    }

    #[inline(always)]
    fn source_routed(&self, offset: usize, end: usize) -> bool {
        let start = ChainStart {
            next: 0,
            offset,
            end,
        };
        source_routed(self.skb, start.word()) != 0
    }
}

/// Where a global function begins to read: a byte of its own meaning (the next header), offset, end.
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

/// What lies behind VLAN tags, as a global function: bits 0-15 the type, 16-20 the offset, 32-39 a reason instead.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn tagged(skb: *mut __sk_buff) -> u64 {
    match untag(&Linear::of(&TcContext::new(skb))) {
        Ok(Payload { ethertype, offset }) => u64::from(ethertype) | (offset as u64) << 16,
        Err(reason) => (reason as u64) << 32,
    }
}

/// The packet inside an ICMP error, as a global function: bits 0-7 protocol, 8-23 and 24-39 ports; all ones for none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn inside(skb: *mut __sk_buff, start: u64) -> u64 {
    let ChainStart { next, offset, end } = ChainStart::of(start);
    let bytes = Linear::of(&TcContext::new(skb));
    inner(&bytes, next != 0, offset, end).map_or(u64::MAX, |inner| {
        u64::from(inner.protocol)
            | u64::from(inner.source_port) << 8
            | u64::from(inner.destination_port) << 24
    })
}

/// Whether IPv4 options route the packet, as a global function. They are copied out: the verifier follows an index into
/// forty bytes of stack, and loses one into the packet.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn source_routed(skb: *mut __sk_buff, start: u64) -> u64 {
    const ROOM: usize = 64;
    let ChainStart { offset, end, .. } = ChainStart::of(start);
    // There are 4 to 40 bytes; in this form the verifier sees that it is 1 to `ROOM`.
    let length = (end.wrapping_sub(offset).wrapping_sub(1) & (ROOM - 1)) + 1;
    let mut options = [0_u8; ROOM];
    // SAFETY: the buffer has room for `length` bytes, as just made sure, and outlives the call.
    let read = unsafe {
        bpf_skb_load_bytes(
            skb.cast(),
            offset as u32,
            options.as_mut_ptr().cast(),
            length as u32,
        )
    };
    u64::from(read != 0 || is_source_routed(&options[..], 0, length))
}
