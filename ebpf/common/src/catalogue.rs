//! Catalogues: pinned maps that only user space reads. They give numbers their meaning back after a
//! restart, and let bpftool's readers find a rule's or an endpoint's name.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Longest name, in bytes. The longest that Kubernetes allows (kind, namespace 63, name 253, rule) fits.
pub const NAME_BYTES: usize = 380;

/// Value of `RULES` (key: rule id) and `NAMES` (key: endpoint).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NameEntry {
    /// Bytes of `text` that count.
    pub length: u32,
    /// UTF-8, the rest zero.
    pub text: [u8; NAME_BYTES],
}

impl NameEntry {
    /// The entry of a name; `None` if it is too long: a name is never cut.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let bytes = name.as_bytes();
        let mut text = [0; NAME_BYTES];
        text.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self {
            length: u32::try_from(bytes.len()).ok()?,
            text,
        })
    }

    /// The name; `None` if the bytes are not ours.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        let bytes = self.text.get(..usize::try_from(self.length).ok()?)?;
        core::str::from_utf8(bytes).ok()
    }
}

/// Value of `IDENTITIES` (key: identity): a digest of what its addresses have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IdentityEntry {
    /// First 16 bytes of the SHA-256 of the signature.
    pub digest: [u8; 16],
}

/// Value of `TABLES` (key: table id): where the table lies and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct TableEntry {
    /// First 16 bytes of the SHA-256 of the table's content, rule names included, classes not.
    pub digest: [u8; 16],
    /// The reference that endpoints' records carry.
    pub table: crate::table::TableRef,
    /// Rows, one for each class.
    pub rows: u32,
    /// Pages of its port map, directories included.
    pub page_count: u32,
}

const _: () = assert!(size_of::<NameEntry>() == 384);
const _: () = assert!(size_of::<TableEntry>() == 40);
