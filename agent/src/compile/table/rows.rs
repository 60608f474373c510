//! Rows and columns of a table, before they are in order.

use hashbrown::HashMap;

use crate::compile::{
    DesiredCell,
    ruleset::{Facing, Port, Sight},
};

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

/// Rows as they are found, each once, by number.
#[derive(Default)]
pub(super) struct NumberedRows {
    rows: Vec<Vec<u32>>,
    cells: Cells,
    numbers: HashMap<Vec<u32>, usize>,
    /// Of rulesets as peers see them: most peers are strangers to most rules.
    by_sight: HashMap<Sight, usize>,
}

impl NumberedRows {
    /// The rows, and the cells that are numbered in them.
    pub(super) fn finish(self) -> (Vec<Vec<u32>>, Vec<DesiredCell>) {
        (self.rows, self.cells.list)
    }

    /// The row of those who see a ruleset so, at these ports.
    pub(super) fn number(&mut self, facing: &Facing<'_>, points: &[Port]) -> usize {
        *self.by_sight.entry(facing.sight()).or_insert_with(|| {
            let cells = points.iter().map(|&point| facing.decide(point));
            let row: Vec<u32> = cells.map(|cell| self.cells.number(cell)).collect();
            *self.numbers.entry(row).or_insert_with_key(|row| {
                self.rows.push(row.clone());
                self.rows.len() - 1
            })
        })
    }
}

/// The column of each point, and for each column the first point that has it.
pub(super) fn columns(rows: &[Vec<u32>], points: usize) -> (Vec<usize>, Vec<usize>) {
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

/// Puts all rows but the first in the order of their content; and the new place of each.
pub(super) fn sort_rows(rows: Vec<Vec<DesiredCell>>) -> (Vec<Vec<DesiredCell>>, Vec<usize>) {
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
