//! Policy: peer class x port class -> cell. Constant work, whatever the number of rules.

use super::{Address, FamilyTables, Tables};
use crate::{
    cell::{Cell, Tier, Verdict},
    identity::UNKNOWN,
    table::{
        COLUMN_OTHER, ClassKey, DIRECTORIES, LOOKS_AT_NETWORKS, NO_PAGES, TableRef, UNIFORM,
        directory,
    },
};

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
        return Some(Cell::new(Verdict::Allow, Verdict::Allow, Tier::Default, 0));
    }
    let cell = Cell(find(tables, table, peer, protocol, port));
    cell.live().map(|_| cell)
}

/// The cell as a number, 0 for one that nobody wrote. A function of its own in the kernel too: it runs once for each new
/// connection, and inlined wherever something is judged it would take more stack than a program has.
#[inline(never)]
fn find<T: Tables + FamilyTables<A>, A: Address>(
    tables: &T,
    table: &TableRef,
    peer: &A,
    protocol: u8,
    port: u16,
) -> u64 {
    let identity = match tables.identity(peer) {
        Some(identity) => identity,
        None if table.flags & LOOKS_AT_NETWORKS != 0 => tables.network(peer).unwrap_or(UNKNOWN),
        None => UNKNOWN,
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
    let Some(column) = column(tables, table, protocol, port) else {
        return 0;
    };
    let index = u32::from(class) * u32::from(table.columns) + u32::from(column);
    tables
        .cell(table.cells.wrapping_add(index))
        .map_or(0, |cell| cell.0)
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
