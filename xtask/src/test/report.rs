//! Reads what `cargo test` prints, shows it in short, and counts.

use std::{
    fmt,
    process::{Command, ExitStatus},
};

use anyhow::Result;

use crate::step::{self, Step};

/// What came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    passed: usize,
    failed: usize,
    skipped: usize,
    reasons: Vec<String>,
}

/// The counts of one line `test result: ...`.
#[derive(Clone, Copy)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
}

/// One test binary, while it runs.
struct Suite {
    name: String,
    tests: usize,
    done: usize,
    output: Vec<String>,
    step: Option<Step>,
}

impl Report {
    /// Runs `cargo test`, shows each binary as a step, and counts what comes out.
    pub fn follow(&mut self, cargo: Command) -> Result<ExitStatus> {
        let mut suite: Option<Suite> = None;
        let status = step::stream(cargo, |line| match (line, suite.as_mut()) {
            (Some(line), _) => self.line(&mut suite, line),
            (
                None,
                Some(Suite {
                    step: Some(step), ..
                }),
            ) => step.at(None),
            (None, _) => {}
        });
        self.close(suite.take(), None);
        status
    }

    /// Takes one line of `cargo test`.
    fn line(&mut self, suite: &mut Option<Suite>, line: &str) {
        if let Some(name) = suite_name(line) {
            self.close(suite.take(), None);
            *suite = Some(Suite {
                name,
                tests: 0,
                done: 0,
                output: Vec::new(),
                step: None,
            });
        } else if let Some(counts) = counts(line) {
            if let Some(running) = suite.as_mut() {
                running.output.push(line.to_owned());
            }
            self.close(suite.take(), Some(counts));
        } else if let Some(running) = suite.as_mut() {
            running.take(line);
        } else if line.starts_with("error") || line.starts_with("warning") {
            eprintln!("{line}");
        }
    }

    /// Ends a binary; without counts it died before it could say how it went.
    fn close(&mut self, suite: Option<Suite>, counts: Option<Counts>) {
        let Some(mut suite) = suite else { return };
        let counts = counts.unwrap_or_else(|| {
            self.reasons.push(format!(
                "failed: {} ended before its last test did",
                suite.name
            ));
            Counts {
                passed: 0,
                failed: 1,
                ignored: 0,
            }
        });
        self.passed += counts.passed;
        self.failed += counts.failed;
        self.skipped += counts.ignored;
        if let Some(step) = suite.step.take() {
            step.end(&format!(
                "{} passed, {} failed",
                counts.passed, counts.failed
            ));
        }
        if counts.failed > 0 {
            for line in &suite.output {
                eprintln!("{line}");
            }
        }
    }

    /// Takes what tests wrote into the file of skips: such tests returned normally, so they were counted
    /// as passed.
    pub fn skips(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            self.passed = self.passed.saturating_sub(1);
            self.skipped += 1;
            self.reasons.push(format!("skipped: {line}"));
        }
    }

    /// Counts what kept the tests from running as a failure.
    pub fn broke(&mut self) {
        self.failed += 1;
    }

    /// Whether nothing failed.
    pub fn is_good(&self) -> bool {
        self.failed == 0
    }

    /// Says why tests were skipped or did not end.
    pub fn print_reasons(&self) {
        for reason in &self.reasons {
            println!("{reason}");
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
            reasons: _,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl Suite {
    fn take(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("running ") {
            self.tests = rest
                .split(' ')
                .next()
                .and_then(|count| count.parse().ok())
                .unwrap_or(0);
            // A binary without tests is not worth a line.
            if self.tests > 0 {
                self.step = Some(Step::start(&self.name));
            }
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split(" ... ").next())
        {
            self.done += 1;
            if let Some(step) = self.step.as_mut() {
                step.at(Some(&format!("{} of {}: {name}", self.done, self.tests)));
                if line.ends_with("FAILED") {
                    step.say(&format!("  FAILED {name}"));
                }
            }
        }
        self.output.push(line.to_owned());
    }
}

/// The name in `Running unittests src/lib.rs (target/debug/deps/NAME-HASH)` or `Doc-tests NAME`.
fn suite_name(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(package) = line.strip_prefix("Doc-tests ") {
        return Some(format!("documentation of {package}"));
    }
    let (source, path) = line
        .strip_prefix("Running ")?
        .strip_suffix(')')?
        .split_once(" (")?;
    let file = path.rsplit('/').next()?;
    let name = file.rsplit_once('-').map_or(file, |(name, _hash)| name);
    Some(format!(
        "{name} ({})",
        source.trim_start_matches("unittests ")
    ))
}

/// The counts in `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`.
fn counts(line: &str) -> Option<Counts> {
    let result = line.strip_prefix("test result: ")?;
    let count = |word: &str| {
        let before = result
            .split(word)
            .next()
            .filter(|before| before.len() < result.len())?;
        before
            .rsplit([' ', '.'])
            .find(|part| !part.is_empty())?
            .parse()
            .ok()
    };
    Some(Counts {
        passed: count(" passed;")?,
        failed: count(" failed;")?,
        ignored: count(" ignored;")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::default();
        let mut suite = None;
        for line in lines {
            report.line(&mut suite, line);
        }
        report.close(suite, None);
        report
    }

    const START: &str =
        "     Running unittests src/lib.rs (target/debug/deps/ringfence_agent-0123456789abcdef)";

    #[test]
    fn names_tell_binary_and_source() {
        assert_eq!(
            suite_name(START).as_deref(),
            Some("ringfence_agent (src/lib.rs)")
        );
        assert_eq!(
            suite_name("     Running tests/lab.rs (target/debug/deps/lab-01)").as_deref(),
            Some("lab (tests/lab.rs)")
        );
        assert_eq!(
            suite_name("   Doc-tests xtask").as_deref(),
            Some("documentation of xtask")
        );
        assert_eq!(suite_name("Running late"), None);
    }

    #[test]
    fn all_binaries_are_summed() {
        let first = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let second = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";
        let report = report(&[
            START,
            "running 13 tests",
            first,
            "   Doc-tests xtask",
            second,
        ]);
        assert_eq!(report.to_string(), "15 passed, 2 failed, 1 skipped");
        assert!(!report.is_good());
    }

    #[test]
    fn a_binary_that_dies_is_a_failure() {
        let report = report(&[START, "running 2 tests", "test a ... ok"]);
        assert_eq!(report.to_string(), "0 passed, 1 failed, 0 skipped");
        assert_eq!(
            report.reasons,
            ["failed: ringfence_agent (src/lib.rs) ended before its last test did"]
        );
    }

    #[test]
    fn a_test_that_skips_itself_did_not_pass() {
        let result = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let mut report = report(&[START, result]);
        report.skips("sctp: the kernel has none\n\n");
        assert_eq!(report.to_string(), "1 passed, 0 failed, 1 skipped");
        assert_eq!(report.reasons, ["skipped: sctp: the kernel has none"]);
    }
}
