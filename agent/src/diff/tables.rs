//! Tables: which stay, which are new, and where they lie.

use std::collections::BTreeMap;

use ringfence_common::{
    cell::Cell,
    table::{DIRECTORIES, LOOKS_AT_NETWORKS, NO_PAGES, PAGE_PORTS, Page, TableRef, UNIFORM},
};

use super::{
    allocate, digest,
    installed::TableState,
    plan::{Builder, Full, Op, fits},
};
use crate::compile::{Desired, Table};

/// The wanted tables' ids, by their index in [`Desired::tables`], and those that go.
pub(super) struct TableIds {
    pub(super) wanted: Vec<u32>,
    /// Ids of tables that were there before and stay.
    pub(super) staying: Vec<u32>,
    /// Ids of tables that nothing will point at.
    pub(super) leaving: Vec<u32>,
}

impl Builder<'_> {
    /// Recognises tables that are there by their digest, and lays out the others beside them.
    pub(super) fn tables(&mut self, desired: &Desired) -> Result<TableIds, Full> {
        let known: BTreeMap<_, _> =
            self.installed.tables.iter().map(|(&id, state)| (state.digest, id)).collect();
        let mut ids = TableIds { wanted: Vec::new(), staying: Vec::new(), leaving: Vec::new() };
        for table in &desired.tables {
            let digest = digest::table(desired, table);
            let id = match known.get(&digest) {
                Some(&id) => {
                    ids.staying.push(id);
                    id
                }
                None => self.lay_out(desired, table, digest)?,
            };
            ids.wanted.push(id);
        }
        fits("TABLES", "--table-entries", self.after.tables.len(), self.limits.tables)?;
        ids.leaving =
            self.installed.tables.keys().copied().filter(|id| !ids.wanted.contains(id)).collect();
        Ok(ids)
    }

    /// Finds room for a new table and writes it there.
    fn lay_out(
        &mut self,
        desired: &Desired,
        table: &Table,
        digest: digest::Digest,
    ) -> Result<u32, Full> {
        let cells: Vec<_> = table
            .rows
            .iter()
            .flatten()
            .map(|cell| {
                let rule = cell.rule.map_or(0, |rule| self.after.rules[&desired.rules[rule]]);
                Cell::new(cell.live, cell.staged, cell.tier, rule)
            })
            .collect();
        let pages = pages(table);
        let taken = self.after.tables.values();
        let cells_at = place(
            taken.clone().map(|state| (state.table.cells, state.rows * u32::from(state.table.columns))),
            cells.len(),
            "CELLS",
            "--cell-entries",
            self.limits.cells,
        )?;
        let pages_at = if pages.is_empty() {
            NO_PAGES
        } else {
            let taken = taken.filter(|state| state.pages > 0);
            place(
                taken.map(|state| (state.table.pages, state.pages)),
                pages.len(),
                "PAGES",
                "--page-entries",
                self.limits.pages,
            )?
        };
        let (Ok(columns), Ok(rows), Ok(page_count)) =
            (u16::try_from(table.columns), u32::try_from(table.rows.len()), u32::try_from(pages.len()))
        else {
            return Err(Full {
                map: "CELLS",
                needed: cells.len(),
                limit: self.limits.cells as usize,
                flag: "--cell-entries",
            });
        };
        self.after.last.table += 1;
        let id = self.after.last.table;
        let flags = if table.looks_at_networks { LOOKS_AT_NETWORKS } else { 0 };
        let state = TableState {
            digest,
            table: TableRef { id, cells: cells_at, pages: pages_at, columns, flags },
            rows,
            pages: page_count,
        };
        self.after.tables.insert(id, state);
        self.beside.push(Op::Table(id, state));
        if !pages.is_empty() {
            self.beside.push(Op::Pages(pages_at, pages));
        }
        self.beside.push(Op::Cells(cells_at, cells));
        Ok(id)
    }
}

/// Finds room in an array, or says how much it would take.
fn place(
    taken: impl Iterator<Item = (u32, u32)> + Clone,
    wanted: usize,
    map: &'static str,
    flag: &'static str,
    limit: u32,
) -> Result<u32, Full> {
    let used: usize = taken.clone().map(|(_, length)| length as usize).sum();
    u32::try_from(wanted)
        .ok()
        .and_then(|wanted| allocate::find(taken, 0, wanted, limit))
        .ok_or(Full { map, needed: used + wanted, limit: limit as usize, flag })
}

/// The port map of a table: its directories, then its leaves; empty if all ports have column 0.
pub(super) fn pages(table: &Table) -> Vec<Page> {
    if table.ports.iter().all(|runs| runs.iter().all(|&(_, column)| column == 0)) {
        return Vec::new();
    }
    let mut pages = vec![Page([0; PAGE_PORTS]); DIRECTORIES as usize];
    for (directory, runs) in table.ports.iter().enumerate() {
        for high in 0..=u8::MAX {
            let leaf = leaf(runs, high);
            pages[directory].0[usize::from(high)] = if leaf.iter().all(|&column| column == leaf[0]) {
                UNIFORM | leaf[0]
            } else {
                // Equal leaves are one: a table names few ports, so few differ.
                let place = pages[DIRECTORIES as usize..].iter().position(|page| page.0 == leaf);
                let place = place.unwrap_or_else(|| {
                    pages.push(Page(leaf));
                    pages.len() - 1 - DIRECTORIES as usize
                });
                u16::try_from(place + DIRECTORIES as usize).unwrap_or(0)
            };
        }
    }
    pages
}

/// The columns of the 256 ports with this high byte.
fn leaf(runs: &[(u16, usize)], high: u8) -> [u16; PAGE_PORTS] {
    std::array::from_fn(|low| {
        let port = u16::from_be_bytes([high, u8::try_from(low).unwrap_or(u8::MAX)]);
        let run = runs.partition_point(|&(first, _)| first <= port);
        let column = run.checked_sub(1).map_or(0, |run| runs[run].1);
        u16::try_from(column).unwrap_or(u16::MAX) & !UNIFORM
    })
}
