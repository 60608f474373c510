//! Tables: what the ruleset says about every class of peers and of ports.
//!
//! Everything here is in an order that depends on content only: columns by the first
//! port that has them, rows (after the first) by their cells.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use hashbrown::{HashMap, HashSet};
use imbl::OrdMap;

use super::{
    DesiredCell, Row, Rows, Table,
    fact::{Fact, FactId, Facts},
    ruleset::{Peers, Port, PortSet, Rule, Ruleset},
    signature::Signatures,
};
use crate::model::Protocol;

/// A table, and what it takes to say of a new signature which row it is.
#[derive(Debug)]
pub(super) struct Built {
    /// The table; the rules of its cells are by number of their names.
    pub(super) table: Table,
    /// What the ruleset asks about peers.
    pub(super) asked: HashSet<FactId>,
    /// Names that stand for ports of the peer.
    pub(super) names: BTreeSet<(Protocol, String)>,
    /// A number that tables with other rows hardly have.
    pub(super) fingerprint: u64,
    /// The row of those of whom exactly these of the asked facts hold.
    rows: HashMap<Vec<FactId>, usize>,
    /// Where each row is.
    places: HashMap<Row, usize>,
    /// One port of each run that no rule can tell apart, and its column.
    points: Vec<(Port, usize)>,
    /// How many rows it may have: then those that nobody is in any more are left behind, by building it anew.
    most: usize,
}

/// How many rows a table may get besides four times those that it was built with.
const SPARE_ROWS: usize = 256;

impl Built {
    /// The table of a ruleset.
    pub(super) fn new(ruleset: &Ruleset, facts: &Facts, signatures: &Signatures) -> Self {
        let names: BTreeSet<(Protocol, String)> = ruleset
            .rules()
            .flat_map(|rule| rule.ports.named().iter().cloned())
            .collect();
        let asked = asked(ruleset, &names, facts);
        let points = points(ruleset, &names, facts);
        let mut cells = Cells::default();
        let mut row_of = |peer: &[FactId]| -> Vec<u32> {
            let facing = ruleset.facing(facts, peer);
            points
                .iter()
                .map(|&point| cells.number(facing.decide(point)))
                .collect()
        };

        // Row 0 is what is said of everybody of whom nothing is known.
        let first = row_of(&[]);
        let mut numbers: HashMap<Vec<u32>, usize> = HashMap::from([(first.clone(), 0)]);
        let mut rows = vec![first];
        let mut by_peer: HashMap<Vec<FactId>, usize> = HashMap::from([(Vec::new(), 0)]);
        let mut classes: Vec<(usize, usize)> = Vec::new();
        let mut peer: Vec<FactId> = Vec::new();
        for of_one in signatures
            .having(&asked)
            .chunk_by(|(one, _), (next, _)| one == next)
        {
            peer.clear();
            peer.extend(of_one.iter().map(|&(_, fact)| fact));
            let row = *by_peer.entry_ref(&*peer).or_insert_with(|| {
                *numbers.entry(row_of(&peer)).or_insert_with_key(|row| {
                    rows.push(row.clone());
                    rows.len() - 1
                })
            });
            classes.push((of_one[0].0, row));
        }

        let (column_of, columns) = columns(&rows, points.len());
        let rows: Vec<Vec<DesiredCell>> = rows
            .iter()
            .map(|row| {
                columns
                    .iter()
                    .map(|&point| cells.list[row[point] as usize])
                    .collect()
            })
            .collect();
        let (rows, renumbered) = sort_rows(rows);
        for row in by_peer.values_mut() {
            *row = renumbered[*row];
        }
        let classes: OrdMap<usize, usize> = classes
            .into_iter()
            .map(|(signature, row)| (signature, renumbered[row]))
            .filter(|&(_, row)| row != 0)
            .collect();
        let rows: Rows = rows.into_iter().map(Row::from).collect();
        let places = rows.iter().cloned().zip(0..).collect();
        let fingerprint = rows.iter().fold(0, fingerprint);
        let most = 4 * rows.len() + SPARE_ROWS;
        let table = Table {
            columns: columns.len(),
            ports: runs(&points, &column_of),
            rows,
            classes,
            looks_at_networks: asked.iter().any(|&fact| is_network(facts.get(fact))),
        };
        Self {
            table,
            asked,
            names,
            fingerprint,
            rows: by_peer,
            places,
            points: points.into_iter().zip(column_of).collect(),
            most,
        }
    }

    /// The row of a signature with these facts, behind the others if there is none like it yet; `None` if the table must be
    /// built anew, since it does not tell all ports apart that matter to this signature.
    pub(super) fn grow(
        &mut self,
        ruleset: &Ruleset,
        facts: &Facts,
        signature: &[FactId],
    ) -> Option<usize> {
        let peer = self.peer(signature);
        let facing = ruleset.facing(facts, &peer);
        let mut row: Vec<Option<DesiredCell>> = vec![None; self.table.columns];
        for &(point, column) in &self.points {
            let cell = facing.decide(point);
            if *row.get_mut(column)?.get_or_insert(cell) != cell {
                return None;
            }
        }
        let row: Row = row.into_iter().collect::<Option<_>>()?;
        let place = match self.places.get(&row) {
            Some(&place) => place,
            None if self.table.rows.len() == self.most => return None,
            None => {
                self.fingerprint = fingerprint(self.fingerprint, &row);
                self.table.rows.push_back(Row::clone(&row));
                self.places.insert(row, self.table.rows.len() - 1);
                self.table.rows.len() - 1
            }
        };
        self.rows.insert(peer, place);
        Some(place)
    }

    /// The row of a signature with these facts; `None` if the table has none yet.
    pub(super) fn row(&self, facts: &[FactId]) -> Option<usize> {
        self.rows.get(&self.peer(facts)).copied()
    }

    /// What of these facts is asked, sorted.
    fn peer(&self, facts: &[FactId]) -> Vec<FactId> {
        let facts = facts.iter().copied();
        let mut peer: Vec<FactId> = facts.filter(|it| self.asked.contains(it)).collect();
        peer.sort_unstable();
        peer
    }
}

/// The fingerprint of rows and one more.
fn fingerprint(of_others: u64, row: &Row) -> u64 {
    let mut hasher = DefaultHasher::new();
    of_others.hash(&mut hasher);
    row.hash(&mut hasher);
    hasher.finish()
}

/// The table with these rows in place of its own, in their order, and other numbers of signatures.
pub(super) fn renumbered(
    table: &Table,
    rows: Vec<Vec<DesiredCell>>,
    signature: impl Fn(usize) -> usize,
) -> Table {
    let (rows, places) = sort_rows(rows);
    let classes = table.classes.iter();
    Table {
        rows: rows.into_iter().map(Row::from).collect(),
        classes: classes
            .map(|(&it, &row)| (signature(it), places[row]))
            .collect(),
        ..table.clone()
    }
}

/// True of what may hold of an address that is not found by the exact address.
fn is_network(fact: Option<&Fact>) -> bool {
    match fact {
        Some(Fact::Block(block)) => block.cidr.prefix_len() < block.cidr.max_prefix_len(),
        Some(Fact::Zone { .. } | Fact::Zoned(_)) => true,
        Some(
            Fact::Pod
            | Fact::Encapsulates
            | Fact::Pods { .. }
            | Fact::Port { .. }
            | Fact::Cluster
            | Fact::Nodes(_),
        )
        | None => false,
    }
}

/// Cells by a small number, so that rows are compared fast.
#[derive(Default)]
struct Cells {
    list: Vec<DesiredCell>,
    numbers: HashMap<DesiredCell, u32>,
}

impl Cells {
    fn number(&mut self, cell: DesiredCell) -> u32 {
        *self.numbers.entry(cell).or_insert_with(|| {
            self.list.push(cell);
            u32::try_from(self.list.len() - 1)
                .expect("a table has fewer kinds of cells than memory has words")
        })
    }
}

/// What a ruleset asks about peers.
fn asked(
    ruleset: &Ruleset,
    names: &BTreeSet<(Protocol, String)>,
    facts: &Facts,
) -> HashSet<FactId> {
    let mut asked = HashSet::new();
    for rule in ruleset.rules() {
        asked.extend(rule.all_peers().flat_map(Peers::facts));
    }
    for name in names {
        asked.extend(facts.ports_named(name).map(|(id, _)| id));
    }
    asked
}

/// One port of each run that no rule can tell apart, in order; the protocols without ports before all.
fn points(ruleset: &Ruleset, names: &BTreeSet<(Protocol, String)>, facts: &Facts) -> Vec<Port> {
    let mut starts = [const { BTreeSet::new() }; Protocol::ALL.len()];
    for starts in &mut starts {
        starts.insert(0);
    }
    let mut cut = |protocol: Protocol, first: u16, last: u16| {
        starts[protocol as usize].insert(first);
        starts[protocol as usize].extend(last.checked_add(1));
    };
    for ports in ruleset.rules().flat_map(Rule::all_ports) {
        let PortSet::Of { ranges, .. } = ports else {
            continue;
        };
        for (protocol, runs) in Protocol::ALL.into_iter().zip(ranges) {
            for &(first, last) in runs {
                cut(protocol, first, last);
            }
        }
    }
    for name in names {
        for (_, number) in facts.ports_named(name) {
            cut(name.0, number, number);
        }
    }
    let of_protocols = Protocol::ALL
        .into_iter()
        .zip(starts)
        .flat_map(|(protocol, starts)| {
            starts.into_iter().map(move |start| Some((protocol, start)))
        });
    [None].into_iter().chain(of_protocols).collect()
}

/// The column of each point, and for each column the first point that has it.
fn columns(rows: &[Vec<u32>], points: usize) -> (Vec<usize>, Vec<usize>) {
    let mut known: HashMap<Vec<u32>, usize> = HashMap::new();
    let mut firsts = Vec::new();
    let column_of = (0..points)
        .map(|point| {
            *known
                .entry(rows.iter().map(|row| row[point]).collect())
                .or_insert_with(|| {
                    firsts.push(point);
                    firsts.len() - 1
                })
        })
        .collect();
    (column_of, firsts)
}

/// Runs of ports with one column.
fn runs(points: &[Port], column_of: &[usize]) -> [Vec<(u16, usize)>; Protocol::ALL.len()] {
    let mut runs = [const { Vec::new() }; Protocol::ALL.len()];
    for (point, &column) in points.iter().zip(column_of) {
        let &Some((protocol, start)) = point else {
            continue;
        };
        let runs: &mut Vec<(u16, usize)> = &mut runs[protocol as usize];
        if runs.last().is_none_or(|&(_, last)| last != column) {
            runs.push((start, column));
        }
    }
    runs
}

/// Puts all rows but the first in the order of their content; and the new place of each.
fn sort_rows(rows: Vec<Vec<DesiredCell>>) -> (Vec<Vec<DesiredCell>>, Vec<usize>) {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    if let Some((_, rest)) = order.split_first_mut() {
        rest.sort_by(|&one, &other| rows[one].cmp(&rows[other]));
    }
    let mut renumbered = vec![0; rows.len()];
    for (new, &old) in order.iter().enumerate() {
        renumbered[old] = new;
    }
    let mut rows: Vec<Option<Vec<DesiredCell>>> = rows.into_iter().map(Some).collect();
    let sorted = order
        .into_iter()
        .filter_map(|old| rows[old].take())
        .collect();
    (sorted, renumbered)
}
