//! Identities: the node-local classes of addresses.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{V4, V6, bits};

/// Number of an identity; 0 is an address that no pod has and no known network holds.
pub type Identity = u32;

/// What every address outside all known pods and networks is.
pub const UNKNOWN: Identity = 0;

/// Bit of the identities that only running pods' addresses have. What goes to one of these is nobody's to translate, so
/// egress is judged for good where it leaves the sender.
pub const POD: Identity = 1 << 31;

/// Bit of those of them whose pods may send encapsulated packets to nodes.
pub const ENCAPSULATES: Identity = 1 << 30;

/// Value of `ADDRESSES4` and `ADDRESSES6`: bits 0-31 the identity, 32-63 a check of the address (see
/// [`crate::table::ClassWord`] for why).
///
/// The tries `NETWORKS4` and `NETWORKS6` hold bare identities: their elements are freed after a grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct IdentityWord(pub u64);

impl IdentityWord {
    /// The word of an exact IPv4 address.
    #[must_use]
    pub fn v4(address: &V4, identity: Identity) -> Self {
        Self(u64::from(fold4(address)) << 32 | u64::from(identity))
    }

    /// The word of an exact IPv6 address.
    #[must_use]
    pub fn v6(address: &V6, identity: Identity) -> Self {
        Self(u64::from(fold6(address)) << 32 | u64::from(identity))
    }

    /// The identity, if the word belongs to the address that folds to `fold`.
    #[must_use]
    pub const fn of(self, fold: u32) -> Option<Identity> {
        if bits::u32_at(self.0, 32) == fold {
            Some(bits::u32_at(self.0, 0))
        } else {
            None
        }
    }

    /// The identity, whoever's it is.
    #[must_use]
    pub const fn identity(self) -> Identity {
        bits::u32_at(self.0, 0)
    }
}

/// An IPv4 address as a number: one to one.
#[must_use]
#[inline(always)]
pub const fn fold4(address: &V4) -> u32 {
    u32::from_ne_bytes(*address)
}

/// An IPv6 address mixed into 32 bits.
#[must_use]
#[inline(always)]
pub fn fold6(address: &V6) -> u32 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    let high = u64::from_ne_bytes([a, b, c, d, e, f, g, h]).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let low = u64::from_ne_bytes([i, j, k, l, m, n, o, p]).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    let mixed = (high ^ (high >> 29)).wrapping_add(low ^ (low >> 31));
    bits::u32_at(mixed ^ (mixed >> 32), 0)
}
