//! What came of asking.

use std::{collections::BTreeMap, fmt};

/// One question that was answered otherwise than expected.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// Suite.
    pub suite: &'static str,
    /// Case.
    pub case: String,
    /// Number of the step, from 1.
    pub step: usize,
    /// The question.
    pub question: String,
    /// Whose answer: `ingress`, `egress`, `both`.
    pub side: &'static str,
    /// What was expected.
    pub expected: bool,
    /// What came, and the rule that decided it.
    pub got: String,
    /// What the case says of itself.
    pub flags: Vec<String>,
}

/// Figures of a suite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Cases that were asked.
    pub cases: usize,
    /// Their steps.
    pub steps: usize,
    /// Questions that were answered.
    pub cells: usize,
    /// Answers that were compared: of a question there may be several, by direction.
    pub verdicts: usize,
    /// Of the questions, those that were answered by injected packets.
    pub injected: usize,
    /// Disagreements.
    pub disagreements: usize,
    /// Cases that were not asked, by reason.
    pub cases_not_asked: BTreeMap<String, usize>,
    /// Questions that were not asked, by reason.
    pub cells_not_asked: BTreeMap<String, usize>,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By suite, in the order of asking.
    pub suites: Vec<(&'static str, Totals)>,
    /// Everything that was answered otherwise than expected.
    pub disagreements: Vec<Disagreement>,
}

impl Report {
    /// The figures of a suite.
    pub fn totals(&mut self, suite: &'static str) -> &mut Totals {
        let at = self.suites.iter().position(|(name, _)| *name == suite);
        let at = at.unwrap_or_else(|| {
            self.suites.push((suite, Totals::default()));
            self.suites.len() - 1
        });
        &mut self.suites[at].1
    }

    /// Notes a disagreement.
    pub fn disagree(&mut self, disagreement: Disagreement) {
        self.totals(disagreement.suite).disagreements += 1;
        self.disagreements.push(disagreement);
    }

    /// True if nothing was answered otherwise than expected.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.disagreements.is_empty()
    }
}

const fn word(allowed: bool) -> &'static str {
    if allowed { "allowed" } else { "denied" }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} step {}: {}: {}: expected {}, got {}",
            self.suite,
            self.case,
            self.step,
            self.question,
            self.side,
            word(self.expected),
            self.got
        )?;
        for flag in &self.flags {
            write!(f, "\n    ({flag})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for disagreement in &self.disagreements {
            writeln!(f, "{disagreement}")?;
        }
        if !self.disagreements.is_empty() {
            writeln!(f)?;
        }
        writeln!(
            f,
            "{:<18}{:>7}{:>7}{:>9}{:>10}{:>10}{:>15}",
            "SUITE", "CASES", "STEPS", "CELLS", "VERDICTS", "INJECTED", "DISAGREEMENTS"
        )?;
        let mut sum = Totals::default();
        for (suite, totals) in &self.suites {
            line(f, suite, totals)?;
            sum.cases += totals.cases;
            sum.steps += totals.steps;
            sum.cells += totals.cells;
            sum.verdicts += totals.verdicts;
            sum.injected += totals.injected;
            sum.disagreements += totals.disagreements;
        }
        if self.suites.len() > 1 {
            line(f, "all", &sum)?;
        }
        if sum.injected > 0 {
            writeln!(
                f,
                "injected: SCTP and ICMP, as packets given to the attached programs (BPF_PROG_TEST_RUN); the others went by real sockets"
            )?;
        }
        for (suite, totals) in &self.suites {
            for (reason, count) in &totals.cases_not_asked {
                writeln!(f, "{suite}: {count} cases not asked: {reason}")?;
            }
            for (reason, count) in &totals.cells_not_asked {
                writeln!(f, "{suite}: {count} cells not asked: {reason}")?;
            }
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, totals: &Totals) -> fmt::Result {
    writeln!(
        f,
        "{name:<18}{:>7}{:>7}{:>9}{:>10}{:>10}{:>15}",
        totals.cases,
        totals.steps,
        totals.cells,
        totals.verdicts,
        totals.injected,
        totals.disagreements
    )
}
