//! Tables: which stay, which are new, and where they lie.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use imbl::OrdMap;
use ringfence_common::{
    cell::{Cell, RuleId},
    identity::Identity,
    table::{DIRECTORIES, LOOKS_AT_NETWORKS, NO_PAGES, PAGE_PORTS, Page, TableRef, UNIFORM},
};

use super::{
    allocate,
    digest::{self, Digest},
    installed::TableState,
    plan::{Builder, Full, Op, Packing, fits},
};
use crate::compile::{Desired, Endpoint, Row, Table};

/// The wanted tables' ids, by their number in [`Desired::tables`], and those that go.
pub(super) struct TableIds {
    pub(super) wanted: OrdMap<usize, u32>,
    /// Numbers of tables that are laid out anew.
    pub(super) new: Vec<usize>,
    /// Ids of tables that were there before and stay, with their numbers.
    pub(super) staying: Vec<(usize, u32)>,
    /// Ids of tables that nothing will point at.
    pub(super) leaving: Vec<u32>,
}

impl Builder<'_> {
    /// Recognises tables that are there, and lays out the others beside them.
    pub(super) fn tables(&mut self, desired: &Desired) -> Result<TableIds, Full> {
        let digests: BTreeMap<usize, Digest> = desired
            .tables
            .iter()
            .map(|(&number, table)| (number, digest::table(desired, table)))
            .collect();
        let known = self.known(desired, &digests);
        let left = self.left(desired, |number| known.get(&number).copied());
        let mut ids = TableIds {
            wanted: OrdMap::new(),
            new: Vec::new(),
            staying: Vec::new(),
            leaving: Vec::new(),
        };
        for (&number, table) in &desired.tables {
            let id = match known.get(&number).filter(|id| !left.contains(id)) {
                Some(&id) => {
                    ids.staying.push((number, id));
                    id
                }
                None => {
                    ids.new.push(number);
                    self.lay_out(desired, table, digests[&number])?
                }
            };
            ids.wanted.insert(number, id);
        }
        fits(
            "TABLES",
            "--table-entries",
            self.after.tables.len(),
            self.limits.tables,
        )?;
        let wanted: BTreeSet<u32> = ids.wanted.values().copied().collect();
        let known = self.installed.tables.keys().copied();
        ids.leaving = known.filter(|id| !wanted.contains(id)).collect();
        Ok(ids)
    }

    /// For every wanted table the one that is there and says the same: equal cells and port map, and the same class
    /// for every identity whose meaning is still wanted. So a class, once written, never changes.
    fn known(&self, desired: &Desired, digests: &BTreeMap<usize, Digest>) -> BTreeMap<usize, u32> {
        let signatures: BTreeMap<Digest, usize> = desired
            .signatures
            .iter()
            .map(|(&number, signature)| (digest::signature(signature), number))
            .collect();
        let identities: Vec<(Identity, usize)> = self
            .installed
            .identities
            .iter()
            .filter_map(|(&identity, digest)| Some((identity, *signatures.get(digest)?)))
            .collect();
        let mut free: BTreeMap<Digest, Vec<u32>> = BTreeMap::new();
        for (&id, state) in &self.installed.tables {
            free.entry(state.digest).or_default().push(id);
        }
        let mut find = |table: &Table, digest: &Digest| {
            let candidates = free.get_mut(digest)?;
            let at = candidates.iter().position(|&id| {
                let classes = self.installed.classes.of(id);
                identities.iter().all(|&(identity, signature)| {
                    usize::from(classes.class(identity)) == table.class(signature)
                })
            })?;
            Some(candidates.remove(at))
        };
        desired
            .tables
            .iter()
            .filter_map(|(&number, table)| Some((number, find(table, digests.get(&number)?)?)))
            .collect()
    }

    /// Tables that an endpoint leaves, though its pod stays. Until the swap its packets must meet the old classes there,
    /// so what such a table says is written anew for those endpoints that go on to want it.
    pub(super) fn left(
        &self,
        desired: &Desired,
        known: impl Fn(usize) -> Option<u32>,
    ) -> BTreeSet<u32> {
        let wanted: BTreeMap<u32, &Endpoint> = desired
            .endpoints
            .values()
            .map(|endpoint| (endpoint.located.ifindex, endpoint))
            .collect();
        let mut left = BTreeSet::new();
        for (ifindex, state) in &self.installed.endpoints {
            let Some(endpoint) = wanted.get(ifindex) else {
                continue;
            };
            for (old, new) in [
                (state.record.ingress.id, endpoint.ingress),
                (state.record.egress.id, endpoint.egress),
            ] {
                if old != 0 && new.and_then(&known) != Some(old) {
                    left.insert(old);
                }
            }
        }
        left
    }

    /// Finds room for a new table and writes it there.
    pub(super) fn lay_out(
        &mut self,
        desired: &Desired,
        table: &Table,
        digest: Digest,
    ) -> Result<u32, Full> {
        let cells = cells(desired, table.rows.iter(), &self.after.rules);
        let pages = pages(table);
        let columns = u16::try_from(table.columns).unwrap_or(u16::MAX);
        let cells_at = self.place_cells(table, cells.len())?;
        let pages_at = if pages.is_empty() {
            NO_PAGES
        } else {
            let taken = self.after.tables.iter().map(|(_, state)| state);
            let taken = taken.filter(|state| state.pages > 0);
            place(
                taken.map(|state| (state.table.pages, state.pages)),
                pages.len(),
                "PAGES",
                "--page-entries",
                self.limits.pages,
            )?
        };
        // A column has 15 bits in a page, a class 16 in its word.
        for (what, found, limit) in [
            ("columns of one table", table.columns, usize::from(UNIFORM)),
            ("rows of one table", table.rows.len(), 1 << 16),
        ] {
            if found > limit {
                return Err(Full {
                    map: what,
                    needed: found,
                    limit,
                    flag: "fewer port ranges or peers in one policy",
                });
            }
        }
        let (rows, page_count) = (narrow(table.rows.len()), narrow(pages.len()));
        self.after.last.table += 1;
        let id = self.after.last.table;
        let flags = if table.looks_at_networks {
            LOOKS_AT_NETWORKS
        } else {
            0
        };
        let state = TableState {
            digest,
            table: TableRef {
                id,
                cells: cells_at,
                pages: pages_at,
                columns,
                flags,
            },
            rows,
            pages: page_count,
        };
        self.after.tables.insert(id, state);
        if !pages.is_empty() {
            self.beside.push(Op::Pages(pages_at, pages));
        }
        self.beside.push(Op::Cells(cells_at, cells));
        // Last: a table that is in the catalogue is complete, also after a crash.
        self.beside.push(Op::Table(id, state));
        Ok(id)
    }

    /// Where the cells of a new table go. Room to grow is given in the first half of the map only, and is the first thing to
    /// go without: what is packed close has the other half, and then whatever gaps there are.
    fn place_cells(&self, table: &Table, wanted: usize) -> Result<u32, Full> {
        let limit = self.limits.cells;
        let taken = self.after.tables.iter().map(|(_, state)| state);
        let occupied = taken.clone().map(|it| stretch(it.cells()));
        if self.packing == Packing::Loose {
            let room = with_room(narrow(table.rows.len())).saturating_mul(narrow(table.columns));
            let reserved = taken.map(|it| stretch(it.with_rows(with_room(it.rows))));
            let loose = allocate::find(reserved, 0, room, limit / 2)
                .or_else(|| allocate::find(occupied.clone(), limit / 2, narrow(wanted), limit));
            if let Some(at) = loose {
                return Ok(at);
            }
        }
        place(occupied, wanted, "CELLS", "--cell-entries", limit)
    }

    /// Writes rows that a table has got behind its own, where it lies; false if there is no room for them. Nobody is in them
    /// yet: who will be is told afterwards.
    pub(super) fn grow(&mut self, id: u32, desired: &Desired, table: &Table) -> bool {
        let Some(mut state) = self.after.tables.get(&id).copied() else {
            return false;
        };
        let Ok(rows) = u32::try_from(table.rows.len()) else {
            return false;
        };
        if rows <= state.rows {
            return rows == state.rows;
        }
        let fresh = table.rows_from(state.rows as usize);
        let (own, grown) = (state.cells(), state.with_rows(rows));
        let is_taken = |(other, it): (&u32, &TableState)| {
            let its = it.cells();
            *other != id && its.start < grown.end && its.end > own.end
        };
        if rows > with_room(state.rows)
            || grown.end > self.limits.cells
            || self.after.tables.iter().any(is_taken)
        {
            return false;
        }
        let cells = cells(desired, fresh.clone(), &self.after.rules);
        self.beside.push(Op::Cells(own.end, cells));
        state.rows = rows;
        state.digest = digest::grown(desired, state.digest, fresh);
        self.after.tables.insert(id, state);
        self.beside.push(Op::Table(id, state));
        true
    }
}

/// The number of rows that a table with so many is given room for: whoever labels namespaces one by one is to find it there.
fn with_room(rows: u32) -> u32 {
    rows.saturating_mul(2)
        .saturating_add(64)
        .next_power_of_two()
        .min(1 << 16)
        .max(rows)
}

/// First and length.
fn stretch(of: Range<u32>) -> (u32, u32) {
    (of.start, of.end - of.start)
}

/// A count that no map has room for if it does not fit.
fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
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
        .ok_or(Full {
            map,
            needed: used + wanted,
            limit: limit as usize,
            flag,
        })
}

/// The cells of rows, with the numbers that rules have.
pub(super) fn cells<'a>(
    desired: &Desired,
    rows: impl Iterator<Item = &'a Row>,
    rules: &OrdMap<String, RuleId>,
) -> Vec<Cell> {
    // Thousands of cells name a few rules.
    let mut known: BTreeMap<usize, RuleId> = BTreeMap::new();
    let id = |number: &usize| rules.get(desired.rules.get(number)?).copied();
    let mut rule = |number| {
        *known
            .entry(number)
            .or_insert_with(|| id(&number).unwrap_or(0))
    };
    let cells = rows.flat_map(|row| row.iter());
    cells
        .map(|cell| {
            let rule = cell.rule.map_or(0, &mut rule);
            Cell::new(cell.live, cell.staged, cell.tier, rule)
                .binding_own_node(cell.binds_own_node, cell.would_bind_own_node)
        })
        .collect()
}

/// The port map of a table: its directories, then its leaves; empty if all ports have column 0.
pub(super) fn pages(table: &Table) -> Vec<Page> {
    if table
        .ports
        .iter()
        .all(|runs| runs.iter().all(|&(_, column)| column == 0))
    {
        return Vec::new();
    }
    let mut pages = vec![Page([0; PAGE_PORTS]); DIRECTORIES as usize];
    for (directory, runs) in table.ports.iter().enumerate() {
        // Few ports are named: most stretches of 256 are of one column, and no port of them is looked at.
        let mut is_mixed = [false; PAGE_PORTS];
        for &(port, _) in runs {
            let [high, low] = port.to_be_bytes();
            is_mixed[usize::from(high)] |= low > 0;
        }
        for high in 0..=u8::MAX {
            if !is_mixed[usize::from(high)] {
                pages[directory].0[usize::from(high)] = UNIFORM | column(runs, high, 0);
                continue;
            }
            let leaf =
                std::array::from_fn(|low| column(runs, high, u8::try_from(low).unwrap_or(u8::MAX)));
            // Equal leaves are one.
            let place = pages[DIRECTORIES as usize..]
                .iter()
                .position(|page| page.0 == leaf);
            let place = place.unwrap_or_else(|| {
                pages.push(Page(leaf));
                pages.len() - 1 - DIRECTORIES as usize
            });
            pages[directory].0[usize::from(high)] =
                u16::try_from(place + DIRECTORIES as usize).unwrap_or(0);
        }
    }
    pages
}

/// The column of the port of these two bytes.
fn column(runs: &[(u16, usize)], high: u8, low: u8) -> u16 {
    let port = u16::from_be_bytes([high, low]);
    let run = runs.partition_point(|&(first, _)| first <= port);
    let column = run.checked_sub(1).map_or(0, |run| runs[run].1);
    u16::try_from(column).unwrap_or(u16::MAX) & !UNIFORM
}
