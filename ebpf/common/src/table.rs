//! Decision tables: peer class x port class -> [`crate::cell::Cell`].
//!
//! A table is immutable once an endpoint's record points at it. It consists of
//!
//! * classes: `CLASSES[(table, identity)] -> class`, absent is class 0, "other";
//! * a port map: pages of [`PAGE_PORTS`] ports that lead from (protocol, port) to a column;
//! * cells: `CELLS[cells + class * columns + column]`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::bits;

/// Where one table lies; part of an endpoint's record. Integers in the machine's order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct TableRef {
    /// Number of the table, key of its classes; 0 is "no table": the direction is not isolated and
    /// everything is allowed.
    pub id: u32,
    /// First of its cells in `CELLS`.
    pub cells: u32,
    /// First of its pages in `PAGES`, or [`NO_PAGES`]: every protocol and port is column 0.
    pub pages: u32,
    /// Cells of one row.
    pub columns: u16,
    /// [`LOOKS_AT_NETWORKS`], or 0.
    pub flags: u16,
}

impl TableRef {
    /// The direction has no table: it is not isolated.
    pub const NONE: Self = Self {
        id: 0,
        cells: 0,
        pages: 0,
        columns: 0,
        flags: 0,
    };
}

/// [`TableRef::pages`] of a table whose verdicts do not depend on ports.
pub const NO_PAGES: u32 = u32::MAX;
/// [`TableRef::flags`]: a peer that is no known address must be looked up among the networks.
pub const LOOKS_AT_NETWORKS: u16 = 1;

/// Ports that one page covers.
pub const PAGE_PORTS: usize = 256;

/// One element of the array map `PAGES`.
///
/// A port map begins with one *directory* page for each of TCP, UDP and SCTP, indexed by the port's high
/// byte. A directory's entry is either [`UNIFORM`] with the column of all 256 ports in the low 15 bits,
/// or the distance (in pages, from the port map's first page) to the leaf page that is indexed by the
/// port's low byte and holds columns. Any other protocol is column 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Page(pub [u16; PAGE_PORTS]);

/// Bit of a directory's entry: all its ports have one column.
pub const UNIFORM: u16 = 0x8000;
/// Directory pages at the start of a port map.
pub const DIRECTORIES: u32 = 3;
/// The column of every protocol without ports, and of all ports where a table does not tell them apart.
pub const COLUMN_OTHER: u16 = 0;

/// The directory that a protocol's ports are looked up in; `None` for a protocol without ports.
#[must_use]
pub const fn directory(protocol: u8) -> Option<u32> {
    match protocol {
        crate::protocol::TCP => Some(0),
        crate::protocol::UDP => Some(1),
        crate::protocol::SCTP => Some(2),
        _ => None,
    }
}

/// Key of the hash map `CLASSES`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
)]
#[repr(C)]
pub struct ClassKey {
    /// [`TableRef::id`].
    pub table: u32,
    /// Identity of the peer.
    pub identity: u32,
}

/// Value of `CLASSES`: bits 0-15 the class, 16-63 a check of the key.
///
/// The kernel recycles the elements of a hash map at once: between finding one and reading it, it may
/// have become another key's. A value that carries a check of its own key and is read as one word can
/// then be recognised; it counts as absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct ClassWord(pub u64);

impl ClassWord {
    /// The word for this key.
    #[must_use]
    pub const fn new(key: ClassKey, class: u16) -> Self {
        Self(Self::check(key) << 16 | class as u64)
    }

    /// The class, if the word is this key's.
    #[must_use]
    pub const fn class(self, key: ClassKey) -> Option<u16> {
        if self.0 >> 16 == Self::check(key) {
            Some(bits::u16_at(self.0, 0))
        } else {
            None
        }
    }

    const fn check(key: ClassKey) -> u64 {
        ((key.table as u64) << 32 ^ key.identity as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
    }
}

const _: () = assert!(size_of::<TableRef>() == 16);
const _: () = assert!(size_of::<ClassKey>() == 8);
const _: () = assert!(size_of::<Page>() == 512);
