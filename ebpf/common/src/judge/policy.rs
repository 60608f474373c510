//! Policy: peer class x port class -> cell. Constant work, whatever the number of rules.

use super::{Address, FamilyTables, Tables};
use crate::{
    Direction,
    cell::{Cell, Tier, Verdict},
    connection::{ConnectionKey, verdict},
    endpoint::{EndpointRecord, flags},
    identity::{Identity, POD, UNKNOWN},
    service::ANY_NODE_ADDRESS,
    table::{
        COLUMN_OTHER, ClassKey, DIRECTORIES, LOOKS_AT_NETWORKS, NO_PAGES, TableRef, UNIFORM,
        directory,
    },
};

/// What tier 0 says: of packets that the pod's own node generates, and of what the pod sends to itself.
pub(super) const OWN_NODE: Cell = Cell::new(Verdict::Allow, Verdict::Allow, Tier::Origin, 0);

/// What policy says of a connection at a pod's hook, and what of it is to be said again elsewhere.
///
/// One word, so that the kernel can have it from a function that its verifier checks by itself: the cell, with the
/// bits of [`verdict`] where a cell has zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged(pub u64);

impl Judged {
    const SHIFT: u32 = 24;

    /// The word of these parts; `None` is a cell that nobody wrote.
    #[inline(always)]
    pub(super) const fn new(cell: Option<Cell>, bits: u8) -> Self {
        match cell {
            Some(cell) => Self(cell.0 | (bits as u64) << Self::SHIFT),
            None => Self(0),
        }
    }

    /// The cell; zero for one that nobody wrote.
    #[inline(always)]
    pub(super) const fn cell(self) -> Cell {
        Cell(self.0 & !(0xff << Self::SHIFT))
    }

    /// [`verdict::AGAIN`] and [`verdict::DEFERRED`].
    #[inline(always)]
    pub(super) const fn bits(self) -> u8 {
        crate::bits::u8_at(self.0, Self::SHIFT)
    }

    /// The same of a packet that the pod's own node sends: only denials that bind it stand.
    #[inline(always)]
    pub(super) const fn of_own_node(self) -> Self {
        Self(self.cell().of_own_node().0)
    }

    /// True if it may pass.
    #[inline(always)]
    pub(super) fn allows(self) -> bool {
        self.cell().live() == Some(Verdict::Allow)
    }
}

/// What policy says of a connection, in one direction.
#[inline(always)]
pub fn judged<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    record: &EndpointRecord,
    key: &ConnectionKey<A>,
    direction: Direction,
) -> Judged {
    if record.egress.id | record.ingress.id == 0 {
        return Judged::new(Some(NOT_ISOLATED), 0);
    }
    let exact = exact(tables, &key.remote);
    let mut bits = 0;
    if direction == Direction::Egress && record.flags & flags::NODE == 0 && !is_pod(exact) {
        if is_translated(tables, key) {
            // Without egress policy there is nothing to judge, but where it comes back to its sender it must be known.
            return Judged::new(Some(OWN_NODE), verdict::AGAIN | verdict::DEFERRED);
        }
        if record.egress.id != 0 {
            bits = verdict::AGAIN;
        }
    }
    let (table, port) = match direction {
        Direction::Ingress => (&record.ingress, key.local_port),
        Direction::Egress => (&record.egress, key.remote_port),
    };
    Judged::new(
        decide_about(tables, table, exact, &key.remote, key.protocol, port),
        bits,
    )
}

/// True for a destination that the node's rules will translate.
#[inline(always)]
fn is_translated<T: Tables, A: Address>(tables: &T, key: &ConnectionKey<A>) -> bool {
    if directory(key.protocol).is_none() {
        return false;
    }
    let address = key.remote.mapped();
    tables.is_service(&address, key.remote_port, key.protocol)
        || tables.is_node(&address)
            && tables.is_service(&ANY_NODE_ADDRESS, key.remote_port, key.protocol)
}

/// What a table says about this peer, protocol and destination port; `None` for a cell that nobody wrote.
#[inline(always)]
pub fn decide<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    table: &TableRef,
    peer: &A,
    protocol: u8,
    port: u16,
) -> Option<Cell> {
    if table.id == 0 {
        return Some(NOT_ISOLATED);
    }
    decide_about(tables, table, exact(tables, peer), peer, protocol, port)
}

/// What is said where there is no table.
const NOT_ISOLATED: Cell = Cell::new(Verdict::Allow, Verdict::Allow, Tier::Default, 0);

/// Stands for "the exact address has none". A number and no `Option`, whose unused half the kernel's verifier finds
/// uninitialised.
const ABSENT: Identity = Identity::MAX;

/// The identity of an exact address, or [`ABSENT`].
#[inline(always)]
fn exact<T: FamilyTables<A>, A>(tables: &T, peer: &A) -> Identity {
    tables.identity(peer).unwrap_or(ABSENT)
}

/// True for the identity of a running pod's address.
#[inline(always)]
const fn is_pod(exact: Identity) -> bool {
    exact != ABSENT && exact & POD != 0
}

/// The same of a peer whose exact address has this identity ([`exact`]).
#[inline(always)]
fn decide_about<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    table: &TableRef,
    exact: Identity,
    peer: &A,
    protocol: u8,
    port: u16,
) -> Option<Cell> {
    if table.id == 0 {
        return Some(NOT_ISOLATED);
    }
    let identity = if exact != ABSENT {
        exact
    } else if table.flags & LOOKS_AT_NETWORKS != 0 {
        tables.network(peer).unwrap_or(UNKNOWN)
    } else {
        UNKNOWN
    };
    let class = if identity == UNKNOWN {
        0
    } else {
        tables
            .class(ClassKey {
                table: table.id,
                identity,
            })
            .unwrap_or(0)
    };
    let column = column(tables, table, protocol, port)?;
    let index = u32::from(class) * u32::from(table.columns) + u32::from(column);
    let cell = tables.cell(table.cells.wrapping_add(index))?;
    cell.live().map(|_| cell)
}

/// The column of a protocol and port.
#[inline(always)]
fn column<T: Tables>(tables: &T, table: &TableRef, protocol: u8, port: u16) -> Option<u16> {
    if table.pages == NO_PAGES {
        return Some(COLUMN_OTHER);
    }
    let Some(directory) = directory(protocol) else {
        return Some(COLUMN_OTHER);
    };
    let [high, low] = port.to_be_bytes();
    let entry = tables.page_entry(table.pages + directory, high)?;
    if entry & UNIFORM != 0 {
        return Some(entry & !UNIFORM);
    }
    // A leaf lies behind the directories: anything else was never written.
    if u32::from(entry) < DIRECTORIES {
        return None;
    }
    tables.page_entry(table.pages + u32::from(entry), low)
}
