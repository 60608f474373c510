//! Fields of packed words. The only place where integers are cut on purpose.
#![expect(
    clippy::cast_possible_truncation,
    reason = "taking the low bits is what these are for"
)]

/// Bits `shift` to `shift + 7`.
#[inline(always)]
pub const fn u8_at(word: u64, shift: u32) -> u8 {
    (word >> shift) as u8
}

/// Bits `shift` to `shift + 15`.
#[inline(always)]
pub const fn u16_at(word: u64, shift: u32) -> u16 {
    (word >> shift) as u16
}

/// Bits `shift` to `shift + 31`.
#[inline(always)]
pub const fn u32_at(word: u64, shift: u32) -> u32 {
    (word >> shift) as u32
}

/// A small count as `u32`.
#[inline(always)]
pub const fn small(count: usize) -> u32 {
    count as u32
}
