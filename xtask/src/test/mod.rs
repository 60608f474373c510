//! `cargo xtask test`: every test, those that need root included, and at the end the count.
//!
//! A test that cannot run here appends a line `name: reason` to the file named by `RINGFENCE_SKIPS` and
//! returns; it then counts as skipped, not as passed.

use std::{
    fs,
    path::PathBuf,
    process::{self, Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{build, envtest, paths, sdk, setup, step};

mod report;

use report::Report;

/// Options of `test`.
#[derive(clap::Args)]
pub struct Args {
    /// Run only tests whose name contains this
    filter: Option<String>,
    /// Passed on to the test binaries, after `--`
    #[arg(last = true)]
    args: Vec<String>,
}

/// Runs the verb; the last line on standard output is always the count.
pub fn run(args: Args) -> Result<ExitCode> {
    let mut report = Report::default();
    if let Err(error) = tests(&args, &mut report) {
        eprintln!("error: {error:#}");
        report.broke();
    }
    report.print_reasons();
    println!("{report}");
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tests(args: &Args, report: &mut Report) -> Result<()> {
    setup::for_lab()?;
    envtest::prepare();
    sdk::prepare();
    let binary = build::all(false)?;
    let skips = Skips::create()?;

    let mut compile = cargo_test(&binary, &skips);
    compile.arg("--no-run");
    step::run("building the tests", compile)?;

    let mut cargo = cargo_test(&binary, &skips);
    cargo
        .arg("--no-fail-fast")
        .args(&args.filter)
        .arg("--")
        .args(&args.args);
    let status = report.follow(cargo)?;
    if !status.success() && report.is_good() {
        anyhow::bail!("`cargo test` ended with {status} although no test failed");
    }
    report.skips(&skips.read()?);
    Ok(())
}

fn cargo_test(binary: &std::path::Path, skips: &Skips) -> Command {
    let mut cargo = build::host_cargo("test");
    cargo
        .env("RINGFENCE_BINARY", binary)
        .env("RINGFENCE_SKIPS", &skips.0)
        // The lines are read by `report`.
        .env("CARGO_TERM_COLOR", "never")
        .args(["--workspace", "--exclude", "ringfence-ebpf"]);
    cargo
}

/// The file where tests say why they did not run; removed at the end.
struct Skips(PathBuf);

impl Skips {
    fn create() -> Result<Self> {
        let path = paths::target().join(format!("skips-{}", process::id()));
        fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }

    fn read(&self) -> Result<String> {
        fs::read_to_string(&self.0).with_context(|| format!("cannot read {}", self.0.display()))
    }
}

impl Drop for Skips {
    fn drop(&mut self) {
        // A file left in the target directory is nobody's concern.
        drop(fs::remove_file(&self.0));
    }
}
