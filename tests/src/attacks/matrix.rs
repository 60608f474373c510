//! What came of it all: a cell for each technique, family and column.

use std::fmt;

use serde::Serialize;

use super::{
    columns::Column,
    judge::{Arrival, Attempt, Judge},
    launch::Told,
    place::Family,
    stage::Tried,
    techniques::Technique,
};

/// What became of a technique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The service saw it, or the attacker got what it wanted otherwise.
    Reached,
    /// The kernel refused it at once.
    Refused,
    /// It went off and never arrived.
    Dropped,
    /// The kernel has no means for it.
    Unsupported,
}

/// One technique in one family against the layers of one column.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Which layers stood.
    pub layers: String,
    /// The technique's name.
    pub technique: &'static str,
    /// Family of addresses.
    pub family: Family,
    /// What became of it.
    pub verdict: Verdict,
    /// What the kernel said to the attacker, for each of its attempts.
    pub told: Vec<Told>,
    /// What arrived at the service.
    pub arrived: Vec<Arrival>,
    /// What the attacker got where the service is not its goal.
    pub otherwise: Vec<String>,
    /// Attempts of it that did not arrive, by their order.
    pub missed: Vec<usize>,
    /// Hooks and reasons that the agent counted meanwhile.
    pub by: Vec<String>,
    #[serde(skip)]
    column: Column,
    #[serde(skip)]
    attempts: Vec<Attempt>,
}

impl Cell {
    /// A cell that is still to be judged.
    #[must_use]
    pub fn new(
        column: Column,
        technique: &'static str,
        family: Family,
        tried: Tried,
        by: Vec<String>,
    ) -> Self {
        Self {
            layers: column.to_string(),
            technique,
            family,
            verdict: Verdict::Dropped,
            told: tried.told,
            arrived: Vec::new(),
            otherwise: tried.otherwise,
            missed: Vec::new(),
            by,
            column,
            attempts: tried.attempts,
        }
    }

    /// Has the judge say what arrived.
    pub fn judged(&mut self, judge: &Judge) {
        self.arrived = self
            .attempts
            .iter()
            .flat_map(|attempt| judge.arrivals(*attempt))
            .collect();
        let each = self.attempts.iter().enumerate();
        self.missed = each
            .filter(|(_, attempt)| judge.arrivals(**attempt).is_empty())
            .map(|(number, _)| number)
            .collect();
        self.verdict = if !self.arrived.is_empty() || !self.otherwise.is_empty() {
            Verdict::Reached
        } else if self.is_all(|told| matches!(told, Told::Unsupported(_))) {
            Verdict::Unsupported
        } else if self.is_all(|told| matches!(told, Told::Refused)) {
            Verdict::Refused
        } else {
            Verdict::Dropped
        };
    }

    fn is_all(&self, is: impl Fn(&Told) -> bool) -> bool {
        !self.told.is_empty() && self.told.iter().all(is)
    }
}

/// Something that must get through.
#[derive(Clone, Debug, Serialize)]
pub struct Control {
    /// Who and what.
    pub name: String,
    /// When.
    pub when: String,
    /// True if it did.
    pub passed: bool,
}

impl Control {
    /// One.
    #[must_use]
    pub fn new(name: String, when: &str, passed: bool) -> Self {
        Self {
            name,
            when: when.to_owned(),
            passed,
        }
    }
}

/// What came of one column.
pub type Done = (Vec<Cell>, Vec<Control>);

/// Everything.
#[derive(Serialize)]
pub struct Matrix {
    /// The cells.
    pub cells: Vec<Cell>,
    /// The controls of each column.
    pub controls: Vec<(String, Vec<Control>)>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    techniques: Vec<&'static Technique>,
}

impl Matrix {
    pub(super) fn new(techniques: Vec<&'static Technique>, done: Vec<(Column, Done)>) -> Self {
        let mut matrix = Self {
            cells: Vec::new(),
            controls: Vec::new(),
            columns: Vec::new(),
            techniques,
        };
        for (column, (cells, controls)) in done {
            matrix.columns.push(column);
            matrix.cells.extend(cells);
            matrix.controls.push((column.to_string(), controls));
        }
        matrix
    }

    /// What is not as it must be, in words; empty if all is well.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for cell in &self.cells {
            let what = format!("{} ({:?})", cell.technique, cell.family);
            let technique = self.technique(cell);
            match (cell.column, cell.verdict) {
                (Column::All, Verdict::Reached)
                    if technique.is_none_or(|it| it.limit.is_none()) =>
                {
                    let more = cell.arrived.first().map_or_else(
                        || cell.otherwise.join("; "),
                        |arrival| format!("{arrival:?}"),
                    );
                    wrong.push(format!(
                        "{what} reached the service with all layers: {more}"
                    ));
                }
                (Column::None, Verdict::Reached)
                    if cell.missed.is_empty() || !cell.otherwise.is_empty() => {}
                (Column::None, verdict) if verdict != Verdict::Unsupported => {
                    wrong.push(format!(
                        "{what}: a broken test: without an agent the attempts {:?} do not arrive ({:?})",
                        cell.missed, cell.told
                    ));
                }
                _ => {}
            }
        }
        for (column, controls) in &self.controls {
            for control in controls.iter().filter(|control| !control.passed) {
                wrong.push(format!(
                    "{}: does not get through ({}, layers: {column})",
                    control.name, control.when
                ));
            }
        }
        wrong
    }

    fn technique(&self, cell: &Cell) -> Option<&'static Technique> {
        self.techniques
            .iter()
            .find(|technique| technique.name == cell.technique)
            .copied()
    }

    fn cell(&self, technique: &str, family: Family, column: Column) -> Option<&Cell> {
        self.cells.iter().find(|cell| {
            cell.technique == technique && cell.family == family && cell.column == column
        })
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<34}{:<4}{:<21}", "technique", "", "as")?;
        for column in &self.columns {
            write!(f, "{column:<16}")?;
        }
        writeln!(f, "stopped by")?;
        for technique in &self.techniques {
            for &family in technique.families {
                write!(
                    f,
                    "{:<34}{:<4}{:<21}",
                    technique.name,
                    format!("{family:?}").to_lowercase(),
                    technique.rights
                )?;
                for &column in &self.columns {
                    let shown = self.cell(technique.name, family, column).map_or("", shown);
                    write!(f, "{shown:<16}")?;
                }
                let last = self.columns.last().copied();
                let by = last.and_then(|column| self.cell(technique.name, family, column));
                writeln!(
                    f,
                    "{}",
                    by.map(|cell| cell.by.join(", ")).unwrap_or_default()
                )?;
            }
        }
        for technique in &self.techniques {
            if let Some(limit) = technique.limit {
                writeln!(f, "\n{}: beyond what is promised: {limit}", technique.name)?;
            }
        }
        let unsupported: Vec<&Cell> = self
            .cells
            .iter()
            .filter(|cell| cell.verdict == Verdict::Unsupported)
            .collect();
        for cell in unsupported {
            if let Some(Told::Unsupported(why)) = cell.told.first() {
                writeln!(
                    f,
                    "\n{} ({:?}, {}): this kernel cannot: {why}",
                    cell.technique, cell.family, cell.layers
                )?;
            }
        }
        let (count, all) = (
            self.cells.len(),
            self.controls.iter().map(|(_, all)| all.len()),
        );
        writeln!(f, "\n{count} attempts, {} controls", all.sum::<usize>())
    }
}

/// A cell in a word.
fn shown(cell: &Cell) -> &'static str {
    match cell.verdict {
        Verdict::Reached => "REACHED",
        Verdict::Refused => "refused",
        Verdict::Dropped => "dropped",
        Verdict::Unsupported => "-",
    }
}
