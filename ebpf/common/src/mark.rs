//! The packet mark: which of its 32 bits are Ringfence's, and what they mean.
//!
//! Others use the mark too (kube-proxy 0x4000 and 0x8000, AWS 0x80, Calico 0xffff0000 by default), so the
//! two slices are configurable. A program writes only its own bits.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Where the slices lie. Both are contiguous runs of bits and do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MarkLayout {
    /// The slice that carries the slot of the sending endpoint's record while its egress is still to be judged.
    pub source_mask: u32,
    /// The slice that proves that `FromPod` saw a metadata grant.
    pub proof_mask: u32,
}

impl MarkLayout {
    /// Fourteen bits for the source, one for the proof; clear of the bits that kube-proxy and AWS use.
    pub const DEFAULT: Self = Self {
        source_mask: 0x3fff_0000,
        proof_mask: 0x4000_0000,
    };

    /// All bits that are ours.
    #[must_use]
    pub const fn mask(self) -> u32 {
        self.source_mask | self.proof_mask
    }

    /// True if both slices are non-empty runs of bits that do not overlap.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        is_run(self.source_mask)
            && is_run(self.proof_mask)
            && self.source_mask & self.proof_mask == 0
    }

    /// The mark with our bits cleared.
    #[must_use]
    pub const fn clear(self, mark: u32) -> u32 {
        mark & !self.mask()
    }
}

impl Default for MarkLayout {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const fn is_run(mask: u32) -> bool {
    if mask == 0 {
        return false;
    }
    let low = mask >> mask.trailing_zeros();
    low & low.wrapping_add(1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_must_be_runs_that_do_not_overlap() {
        assert!(MarkLayout::DEFAULT.is_valid());
        assert!(
            !MarkLayout {
                source_mask: 0,
                proof_mask: 1
            }
            .is_valid()
        );
        assert!(
            !MarkLayout {
                source_mask: 0b101,
                proof_mask: 0b1000
            }
            .is_valid()
        );
        assert!(
            !MarkLayout {
                source_mask: 0b11,
                proof_mask: 0b10
            }
            .is_valid()
        );
        assert!(
            MarkLayout {
                source_mask: 0xffff_fffe,
                proof_mask: 1
            }
            .is_valid()
        );
    }

    #[test]
    fn only_our_bits_are_cleared() {
        assert_eq!(MarkLayout::DEFAULT.clear(0xffff_ffff), 0x8000_ffff);
    }
}
