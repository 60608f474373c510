//! Packet bytes in place (direct packet access).

use aya_ebpf::programs::TcContext;
use ringfence_common::packet::Bytes;

/// The linear part of a packet.
pub struct Linear {
    start: usize,
    end: usize,
    length: usize,
}

/// No header lies further in: 8 extension headers of ordinary length and the headers around them fit by far. It
/// bounds the offset for the verifier.
const FURTHEST: usize = 0x0fff;

impl Linear {
    /// The packet as the hook sees it now; pulling data in makes it stale.
    #[inline(always)]
    pub fn of(context: &TcContext) -> Self {
        Self { start: context.data(), end: context.data_end(), length: context.len() as usize }
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
        if offset > FURTHEST {
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
}
