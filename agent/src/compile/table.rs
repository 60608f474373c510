//! Tables: what the ruleset says about every class of peers and of ports.
//!
//! Everything here is in an order that depends on content only: columns by the first
//! port that has them, rows (after the first) by their cells.

use std::collections::{BTreeSet, HashMap};

use super::{
    DesiredCell, Table,
    evaluator::{Evaluator, RulesetId},
    fact::{Fact, FactId, Facts},
    ruleset::{Peers, Port, PortSet, Ruleset},
    signature::Signatures,
};
use crate::model::Protocol;

/// Tables, made when they are first asked for.
pub(super) struct Tables<'a> {
    evaluator: &'a Evaluator<'a>,
    signatures: &'a Signatures,
    /// Sorted names of all rules, and the place in there of each rule's name.
    sorted_names: Vec<&'a str>,
    places: HashMap<&'a str, usize>,
    by_ruleset: HashMap<RulesetId, usize>,
    /// For finding an equal one.
    by_rows: HashMap<Vec<Vec<DesiredCell>>, Vec<usize>>,
    tables: Vec<Table>,
}

impl<'a> Tables<'a> {
    /// None yet.
    pub(super) fn new(evaluator: &'a Evaluator<'a>, signatures: &'a Signatures) -> Self {
        let sorted_names: Vec<&str> = evaluator
            .names
            .iter()
            .collect::<BTreeSet<&str>>()
            .into_iter()
            .collect();
        let places = sorted_names
            .iter()
            .enumerate()
            .map(|(place, &name)| (name, place))
            .collect();
        Self {
            evaluator,
            signatures,
            sorted_names,
            places,
            by_ruleset: HashMap::new(),
            by_rows: HashMap::new(),
            tables: Vec::new(),
        }
    }

    /// Index of a ruleset's table.
    pub(super) fn index(&mut self, ruleset: Option<RulesetId>) -> Option<usize> {
        let id = ruleset?;
        if let Some(&index) = self.by_ruleset.get(&id) {
            return Some(index);
        }
        let table = self.build(self.evaluator.rulesets.get(id)?);
        let alike = self.by_rows.entry(table.rows.clone()).or_default();
        let index = alike
            .iter()
            .copied()
            .find(|&index| self.tables[index] == table);
        let index = index.unwrap_or_else(|| {
            self.tables.push(table);
            alike.push(self.tables.len() - 1);
            self.tables.len() - 1
        });
        self.by_ruleset.insert(id, index);
        Some(index)
    }

    /// The names that the tables use, and the tables.
    pub(super) fn finish(mut self) -> (Vec<String>, Vec<Table>) {
        fn cells(tables: &mut [Table]) -> impl Iterator<Item = &mut DesiredCell> {
            tables
                .iter_mut()
                .flat_map(|table| table.rows.iter_mut().flatten())
        }
        let used: BTreeSet<usize> = cells(&mut self.tables)
            .filter_map(|cell| cell.rule)
            .collect();
        let places: HashMap<usize, usize> = used
            .iter()
            .enumerate()
            .map(|(new, &old)| (old, new))
            .collect();
        for cell in cells(&mut self.tables) {
            cell.rule = cell.rule.map(|old| places[&old]);
        }
        let rules = used
            .iter()
            .map(|&place| self.sorted_names[place].to_owned())
            .collect();
        (rules, self.tables)
    }

    fn build(&self, ruleset: &Ruleset) -> Table {
        let facts = &self.evaluator.facts;
        let points = points(ruleset, facts);
        let mut cells = Cells::default();
        let mut row_of = |peer: &[FactId]| -> Vec<u32> {
            let facing = ruleset.facing(facts, peer);
            points
                .iter()
                .map(|&point| {
                    let mut cell = facing.decide(point);
                    let name = cell.rule.and_then(|name| self.evaluator.names.get(name));
                    cell.rule = name.map(|name| self.places[name]);
                    cells.number(cell)
                })
                .collect()
        };

        // Row 0 is what is said of everybody of whom nothing is known.
        let first = row_of(&[]);
        let mut by_row: HashMap<Vec<u32>, usize> = HashMap::from([(first.clone(), 0)]);
        let mut rows = vec![first];
        let mut by_facts: HashMap<Vec<FactId>, usize> = HashMap::new();
        let mut classes = vec![0; self.signatures.texts.len()];
        for (signature, peer) in self.signatures.projected(&asked(ruleset, facts)) {
            classes[signature] = *by_facts.entry(peer).or_insert_with_key(|peer| {
                *by_row.entry(row_of(peer)).or_insert_with_key(|row| {
                    rows.push(row.clone());
                    rows.len() - 1
                })
            });
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
        let rows = sort_rows(rows, &mut classes);
        let looks_at_networks = self.signatures.addresses.iter().any(|(net, &signature)| {
            net.prefix_len() < net.max_prefix_len() && classes[signature] != 0
        });
        Table {
            columns: columns.len(),
            ports: runs(&points, &column_of),
            rows,
            classes,
            looks_at_networks,
        }
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

/// What a ruleset asks about peers, sorted.
fn asked(ruleset: &Ruleset, facts: &Facts) -> Vec<FactId> {
    let mut asked = BTreeSet::new();
    let mut names: BTreeSet<(Protocol, &str)> = BTreeSet::new();
    for rule in ruleset.rules() {
        if let Peers::AnyOf(any) = &rule.peers {
            asked.extend(any.iter().copied());
        }
        names.extend(
            rule.ports
                .named()
                .iter()
                .map(|(protocol, name)| (*protocol, name.as_str())),
        );
    }
    asked.extend(ports_named(&names, facts).map(|(id, ..)| id));
    asked.into_iter().collect()
}

/// Every port that these names are on any pod.
fn ports_named<'a>(
    names: &'a BTreeSet<(Protocol, &str)>,
    facts: &'a Facts,
) -> impl Iterator<Item = (FactId, Protocol, u16)> + 'a {
    let all = if names.is_empty() {
        None
    } else {
        Some(facts.iter())
    };
    all.into_iter()
        .flatten()
        .filter_map(|(id, fact)| match fact {
            Fact::Port {
                protocol,
                name,
                number,
            } if names.contains(&(*protocol, name.as_str())) => Some((id, *protocol, *number)),
            _ => None,
        })
}

/// One port of each run that no rule can tell apart, in order; the protocols without ports before all.
fn points(ruleset: &Ruleset, facts: &Facts) -> Vec<Port> {
    let mut starts = [const { BTreeSet::new() }; Protocol::ALL.len()];
    for starts in &mut starts {
        starts.insert(0);
    }
    let mut cut = |protocol: Protocol, first: u16, last: u16| {
        starts[protocol as usize].insert(first);
        starts[protocol as usize].extend(last.checked_add(1));
    };
    let mut names = BTreeSet::new();
    for rule in ruleset.rules() {
        let PortSet::Of { ranges, named } = &*rule.ports else {
            continue;
        };
        for (protocol, runs) in Protocol::ALL.into_iter().zip(ranges) {
            for &(first, last) in runs {
                cut(protocol, first, last);
            }
        }
        names.extend(
            named
                .iter()
                .map(|(protocol, name)| (*protocol, name.as_str())),
        );
    }
    for (_, protocol, number) in ports_named(&names, facts) {
        cut(protocol, number, number);
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

/// Puts all rows but the first in the order of their content.
fn sort_rows(rows: Vec<Vec<DesiredCell>>, classes: &mut [usize]) -> Vec<Vec<DesiredCell>> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    if let Some((_, rest)) = order.split_first_mut() {
        rest.sort_by(|&one, &other| rows[one].cmp(&rows[other]));
    }
    let mut renumbered = vec![0; rows.len()];
    for (new, &old) in order.iter().enumerate() {
        renumbered[old] = new;
    }
    for class in classes {
        *class = renumbered[*class];
    }
    let mut rows: Vec<Option<Vec<DesiredCell>>> = rows.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|old| rows[old].take())
        .collect()
}
