//! Tables: what the ruleset says about every class of peers and of ports.
//!
//! Everything here is in an order that depends on content only: columns by the first
//! port that has them, rows (after the first) by their cells.

mod rows;

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use hashbrown::HashMap;

use self::rows::{NumberedRows, columns, sort_rows};
use super::{
    DesiredCell, Row, Rows, Table,
    fact::{Fact, FactId, Facts},
    ruleset::{About, Peers, Port, PortSet, Rule, Ruleset},
    signature::{Changes, Signatures},
};
use crate::model::Protocol;

/// A table, and what it takes to say of a new signature which row it is.
#[derive(Debug)]
pub(super) struct Built {
    /// The table; the rules of its cells are by number of their names.
    pub(super) table: Table,
    /// What the ruleset asks about peers, ascending.
    asked: Vec<FactId>,
    /// Names that stand for ports of the peer.
    pub(super) names: BTreeSet<(Protocol, String)>,
    /// A number that tables with other rows hardly have.
    pub(super) fingerprint: u64,
    /// The row of those of whom exactly these of the asked facts hold.
    rows: HashMap<Vec<FactId>, usize>,
    /// Where each row is.
    places: HashMap<Row, usize>,
    /// Which of the ruleset's rules may be about whom.
    about: About,
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
        let about = ruleset.about();
        let mut rows = NumberedRows::default();

        // Row 0 is what is said of everybody of whom nothing is known.
        let mut row_of = |peer: &[FactId]| -> usize {
            let facing = ruleset.facing_one_of_many(&about, facts, peer);
            rows.number(&facing, &points)
        };
        let mut by_peer: HashMap<Vec<FactId>, usize> = HashMap::from([(Vec::new(), row_of(&[]))]);
        let mut classes: Vec<(usize, usize)> = Vec::new();
        let mut peer: Vec<FactId> = Vec::new();
        for of_one in signatures
            .having(&asked)
            .chunk_by(|(one, _), (next, _)| one == next)
        {
            peer.clear();
            peer.extend(of_one.iter().map(|&(_, fact)| fact));
            let row = *by_peer.entry_ref(&*peer).or_insert_with(|| row_of(&peer));
            classes.push((of_one[0].0, row));
        }
        let (rows, cells) = rows.finish();

        let (column_of, columns) = columns(&rows, points.len());
        let rows: Vec<Vec<DesiredCell>> = rows
            .iter()
            .map(|row| {
                columns
                    .iter()
                    .map(|&point| cells[row[point] as usize])
                    .collect()
            })
            .collect();
        let (rows, renumbered) = sort_rows(rows);
        for row in by_peer.values_mut() {
            *row = renumbered[*row];
        }
        let classes = classes.into_iter();
        let classes = classes.map(|(signature, row)| (signature, number(renumbered[row])));
        let rows: Rows = rows.into_iter().map(Row::from).collect();
        let places = rows.iter().cloned().zip(0..).collect();
        let fingerprint = rows.iter().fold(0, fingerprint);
        let most = 4 * rows.len() + SPARE_ROWS;
        let table = Table {
            columns: columns.len(),
            ports: runs(&points, &column_of),
            rows,
            classes: classes.collect(),
            looks_at_networks: asked.iter().any(|&fact| is_network(facts.get(fact))),
        };
        Self {
            table,
            asked,
            names,
            fingerprint,
            rows: by_peer,
            places,
            about,
            points: points.into_iter().zip(column_of).collect(),
            most,
        }
    }

    /// The row of a signature with these facts, behind the others if there is none like it yet; `None` if the table must be
    /// built anew, since it does not tell all ports apart that matter to this signature.
    fn row(&mut self, ruleset: &Ruleset, facts: &Facts, signature: &[FactId]) -> Option<usize> {
        let peer = self.peer(signature);
        if let Some(&row) = self.rows.get(&peer) {
            return Some(row);
        }
        let facing = ruleset.facing_one_of_many(&self.about, facts, &peer);
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

    /// Puts signatures that are new into rows, and forgets those that are gone; true if that changes what the table says,
    /// `None` if it must be built anew.
    pub(super) fn reclass(
        &mut self,
        ruleset: &Ruleset,
        facts: &Facts,
        (born, dead): (&Changes, &Changes),
    ) -> Option<bool> {
        let mut changed = false;
        for &(signature, _) in dead {
            changed |= self.table.classes.set(signature, 0) != 0;
        }
        for (signature, its) in born {
            let row = number(self.row(ruleset, facts, its)?);
            changed |= self.table.classes.set(*signature, row) != row;
        }
        Some(changed)
    }

    /// What of these facts, which are sorted, is asked.
    fn peer(&self, facts: &[FactId]) -> Vec<FactId> {
        let mut asked = &*self.asked;
        let is_asked = |fact: &FactId| {
            asked = &asked[asked.partition_point(|it| it < fact)..];
            asked.first() == Some(fact)
        };
        facts.iter().copied().filter(is_asked).collect()
    }
}

/// A row's number, as classes have it.
fn number(row: usize) -> u32 {
    u32::try_from(row).expect("no memory holds 2^32 rows")
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
            .map(|(it, row)| (signature(it), number(places[row as usize])))
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

/// What a ruleset asks about peers, ascending.
fn asked(ruleset: &Ruleset, names: &BTreeSet<(Protocol, String)>, facts: &Facts) -> Vec<FactId> {
    let mut asked = BTreeSet::new();
    for rule in ruleset.rules() {
        asked.extend(rule.all_peers().flat_map(Peers::facts));
    }
    for name in names {
        asked.extend(facts.ports_named(name).map(|(id, _)| id));
    }
    asked.into_iter().collect()
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
