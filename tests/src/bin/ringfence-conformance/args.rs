//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use ringfence_tests::conformance::{self, Case, Suite};

/// Where the public suites are, unless `--data` says it.
const DATA: &str = "RINGFENCE_CONFORMANCE";
const USAGE: &str =
    "usage: cargo xtask conformance [SUITE] [--kernel] [--case N|NAME] [--data DIR]";

/// What to ask, and whom.
pub struct Args {
    /// Cases by suite.
    pub cases: Vec<(Suite, Vec<Case>)>,
    /// Of the kernel rather than of the compiler.
    pub kernel: bool,
}

/// What makes no sense about the command line.
pub struct BadArgs(pub String);

impl Args {
    /// Reads the words after the program's name, and the cases that they mean.
    pub fn read(words: impl Iterator<Item = String>) -> Result<Self, BadArgs> {
        Self::try_read(words).map_err(|error| BadArgs(format!("{error:#}")))
    }

    fn try_read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut wanted, mut case, mut kernel) = (None, None, false);
        let mut data = std::env::var_os(DATA).map(PathBuf::from);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--kernel" => kernel = true,
                "--case" => case = Some(words.next().context("--case wants a number or a name")?),
                "--data" => data = Some(words.next().context("--data wants a directory")?.into()),
                flag if flag.starts_with('-') => bail!("unknown argument {flag}\n  {USAGE}"),
                name => {
                    ensure!(wanted.is_none(), "one suite at a time\n  {USAGE}");
                    wanted = Some(conformance::find(name)?);
                }
            }
        }
        ensure!(
            case.is_none() || wanted.is_some(),
            "--case wants a suite too\n  {USAGE}"
        );
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
            if let Some(case) = &case {
                of_suite = vec![one(suite, of_suite, case)?];
            }
            cases.push((suite, of_suite));
        }
        if data.is_none() && wanted.is_none() {
            eprintln!(
                "the public suites are skipped: neither --data nor {DATA} says where they are"
            );
        }
        Ok(Self { cases, kernel })
    }
}

/// The case of a number (from 1), of a name, or of a part that only one name begins with.
fn one(suite: Suite, cases: Vec<Case>, wanted: &str) -> Result<Case> {
    let count = cases.len();
    let found: Vec<usize> = match wanted.parse::<usize>() {
        Ok(number) => number
            .checked_sub(1)
            .filter(|&at| at < count)
            .into_iter()
            .collect(),
        Err(_) if cases.iter().any(|case| case.id == wanted) => cases
            .iter()
            .position(|case| case.id == wanted)
            .into_iter()
            .collect(),
        Err(_) => (0..count)
            .filter(|&at| {
                cases
                    .get(at)
                    .is_some_and(|case| case.id.starts_with(wanted))
            })
            .collect(),
    };
    let [at] = found.as_slice() else {
        let near: Vec<&str> = if found.is_empty() {
            cases.iter().map(|case| case.id.as_str()).collect()
        } else {
            found
                .iter()
                .filter_map(|&at| cases.get(at))
                .map(|case| case.id.as_str())
                .collect()
        };
        bail!(
            "{} cases of {} are meant by {wanted:?}; it has {count}: {}",
            found.len(),
            suite.name,
            near.join(", ")
        );
    };
    cases
        .into_iter()
        .nth(*at)
        .context("the case was there a moment ago")
}
