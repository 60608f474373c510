//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use ringfence_tests::conformance::{self, Case, DATA, Suite};

/// How many names an error lists at most.
const LISTED: usize = 5;

/// Asks the compiler, or the kernel, what others say a NetworkPolicy means.
///
/// Exit codes: 0 all as expected, 1 a disagreement or an error, 2 wrong usage.
#[derive(Parser)]
#[command(name = "ringfence-conformance", version)]
pub struct Args {
    /// Suite; without it, all of which there are cases.
    suite: Option<String>,
    /// Ask the kernel rather than the compiler. Needs: root.
    #[arg(long)]
    pub kernel: bool,
    /// With zones, tenants and their policies above that let everything pass: the answers must be the same.
    #[arg(long)]
    beneath_zones: bool,
    /// Only one case of the suite: its number from 1, its name, or what only its name begins with.
    #[arg(long, value_name = "N|NAME", requires = "suite")]
    case: Option<String>,
    /// Directory of the public suites; without it, RINGFENCE_CONFORMANCE says it.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Args {
    /// The cases that are meant, by suite. Errors are wrong usage.
    pub fn cases(&self) -> Result<Vec<(Suite, Vec<Case>)>> {
        let wanted = self.suite.as_deref().map(conformance::find).transpose()?;
        let data = self.data.clone().or_else(conformance::data);
        let mut cases = Vec::new();
        for &suite in Suite::ALL {
            if wanted.is_some_and(|wanted| wanted != suite) {
                continue;
            }
            let mut of_suite = match &data {
                _ if suite.is_own() => conformance::own()?,
                Some(data) => conformance::load(suite, data)?,
                None if wanted.is_some() => bail!(
                    "the suite {} is not part of this project: say where the public suites are with --data DIR or {DATA}",
                    suite.name
                ),
                None => continue,
            };
            if let Some(case) = &self.case {
                let at = find(suite, &of_suite, case)?;
                of_suite = vec![of_suite.swap_remove(at)];
            }
            if self.beneath_zones {
                of_suite.iter_mut().for_each(conformance::beneath_zones);
            }
            cases.push((suite, of_suite));
        }
        if data.is_none() && wanted.is_none() {
            eprintln!(
                "the public suites are skipped: neither --data nor {DATA} says where they are"
            );
        }
        Ok(cases)
    }
}

/// The place of the case of a number (from 1), of a name, or of a part that only one name begins with.
fn find(suite: Suite, cases: &[Case], wanted: &str) -> Result<usize> {
    let (name, count) = (suite.name, cases.len());
    if let Ok(number) = wanted.parse::<usize>() {
        let at = number.checked_sub(1).filter(|&at| at < count);
        return at.with_context(|| {
            format!("--case {wanted}: the suite {name} has {count} cases: give a number from 1 to {count}")
        });
    }
    if let Some(at) = cases.iter().position(|case| case.id == wanted) {
        return Ok(at);
    }
    let found: Vec<usize> = (0..count)
        .filter(|&at| cases[at].id.starts_with(wanted))
        .collect();
    match found.as_slice() {
        [at] => Ok(*at),
        [] => bail!(
            "--case {wanted}: none of the {count} cases of the suite {name} has a name that begins so: \
             give a number from 1 to {count}, or a name such as {:?}",
            cases.first().map_or("", |case| case.id.as_str())
        ),
        several => {
            let names: Vec<&str> = several
                .iter()
                .take(LISTED)
                .map(|&at| cases[at].id.as_str())
                .collect();
            let more = if several.len() > LISTED { ", …" } else { "" };
            bail!(
                "--case {wanted}: {} of the {count} cases of the suite {name} have names that begin so: {}{more}",
                several.len(),
                names.join(", ")
            )
        }
    }
}
