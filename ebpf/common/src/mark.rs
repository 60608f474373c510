//! The packet mark: which of its 32 bits are Ringfence's, and what they mean.
//!
//! Others use the mark too (kube-proxy 0x4000 and 0x8000, AWS 0x80, Calico 0xffff0000 by default), so the
//! two slices are configurable. A program writes only its own bits.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What the source slice of a mark says of a packet that a pod sent.
///
/// The slice never leaves the node: a packet loses its mark where it enters a pod, and the hook that judges it clears
/// the slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u16);

impl Stamp {
    /// Nothing: the sender is no pod, or somebody has written over the mark.
    pub const NONE: Self = Self(0);
    /// A pod sent it, and its egress was judged for good where it left the pod, or is free. Stands for all ones, however
    /// wide the slice is.
    pub const FINAL: Self = Self(u16::MAX);

    /// True if the sender's egress is still to be judged; the number is then the sender's place in `SOURCES`.
    #[must_use]
    #[inline(always)]
    pub const fn is_source(self) -> bool {
        self.0 != 0 && self.0 != u16::MAX
    }
}

/// Where the slices lie. Both are contiguous runs of bits and do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MarkLayout {
    /// The slice that carries a [`Stamp`].
    pub source_mask: u32,
    /// The slice that says, while the metadata firewall is in audit, that a hook has told of the packet's flow. It keeps the next
    /// hooks from telling again, and opens nothing.
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

    /// The stamp in a mark.
    #[must_use]
    #[inline(always)]
    pub const fn stamp(self, mark: u32) -> Stamp {
        let slice = mark & self.source_mask;
        if slice == self.source_mask {
            return Stamp::FINAL;
        }
        let number = slice >> self.shift();
        if number < crate::bits::small(MAX_SOURCES) {
            Stamp(crate::bits::u16_at(number as u64, 0))
        } else {
            // Nobody's: whatever is asked about it has no answer.
            Stamp(u16::MAX - 1)
        }
    }

    /// The mark with this stamp, and the proof bits cleared.
    #[must_use]
    #[inline(always)]
    pub const fn stamped(self, mark: u32, stamp: Stamp) -> u32 {
        let slice = if stamp.0 == Stamp::FINAL.0 {
            self.source_mask
        } else {
            (stamp.0 as u32) << self.shift() & self.source_mask
        };
        self.clear(mark) | slice
    }

    /// The mark of a packet of which a hook has told.
    #[must_use]
    #[inline(always)]
    pub const fn told(self, mark: u32) -> u32 {
        mark | self.proof_mask
    }

    /// True if a hook has told of it.
    #[must_use]
    #[inline(always)]
    pub const fn is_told(self, mark: u32) -> bool {
        mark & self.proof_mask == self.proof_mask
    }

    /// Endpoints that the slice can tell apart: 0 and all ones have meanings of their own.
    #[must_use]
    pub const fn sources(self) -> u32 {
        let all = self.source_mask >> self.shift();
        let most = crate::bits::small(MAX_SOURCES) - 1;
        (if all < most { all } else { most }) - 1
    }

    /// The verifier wants to see that a shift is less than the width.
    const fn shift(self) -> u32 {
        self.source_mask.trailing_zeros() & 31
    }

    /// The mark with our bits cleared.
    #[must_use]
    pub const fn clear(self, mark: u32) -> u32 {
        mark & !self.mask()
    }
}

/// Elements of `SOURCES`, and so the most that a slice can name.
pub const MAX_SOURCES: usize = 16_384;

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
    fn a_stamp_is_what_was_stamped_whoever_else_uses_the_mark() {
        let narrow = MarkLayout {
            source_mask: 0b1110,
            proof_mask: 1,
        };
        for layout in [MarkLayout::DEFAULT, narrow] {
            for stamp in [Stamp::NONE, Stamp(1), Stamp(6), Stamp::FINAL] {
                let mark = layout.stamped(0x8000_c080, stamp);
                assert_eq!(layout.stamp(mark), stamp);
                assert_eq!(mark & !layout.mask(), 0x8000_c080 & !layout.mask());
            }
        }
        assert_eq!(narrow.sources(), 6);
        assert_eq!(MarkLayout::DEFAULT.sources(), 16_382);
    }

    #[test]
    fn what_was_told_of_is_forgotten_with_the_next_stamp() {
        let layout = MarkLayout::DEFAULT;
        let mark = layout.told(layout.stamped(0x8000_c080, Stamp(7)));
        assert_eq!((layout.is_told(mark), layout.stamp(mark)), (true, Stamp(7)));
        let mark = layout.stamped(mark, Stamp(7));
        assert_eq!(
            (layout.is_told(mark), layout.stamp(mark)),
            (false, Stamp(7))
        );
    }

    #[test]
    fn only_our_bits_are_cleared() {
        assert_eq!(MarkLayout::DEFAULT.clear(0xffff_ffff), 0x8000_ffff);
    }
}
