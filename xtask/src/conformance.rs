//! `cargo xtask conformance`: builds the binary, then the runner in the tests' package, which takes this process's place.

use std::{
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{build, paths, setup, step};

/// Options of the verb: the runner's own, here so that `--help` needs nothing built.
#[derive(clap::Args)]
pub struct Args {
    /// Suite; without it, all of which there are cases
    suite: Option<String>,
    /// Ask the kernel rather than the compiler; needs root
    #[arg(long)]
    kernel: bool,
    /// With zones, tenants and their policies above that let everything pass: the answers must be the same
    #[arg(long)]
    beneath_zones: bool,
    /// Only one case of the suite: its number from 1, its name, or what only its name begins with
    #[arg(long, value_name = "N|NAME", requires = "suite")]
    case: Option<String>,
    /// Directory of the public suites; without it, RINGFENCE_CONFORMANCE says it
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let Args {
        suite,
        kernel,
        beneath_zones,
        case,
        data,
    } = args;
    if kernel {
        setup::for_lab()?;
    }
    let binary = build::all(false)?;
    let mut cargo = build::host_cargo("build");
    cargo.args([
        "--package",
        "ringfence-tests",
        "--bin",
        "ringfence-conformance",
    ]);
    step::run("building the conformance runner", cargo)?;
    let runner = paths::target().join("debug/ringfence-conformance");
    let mut command = Command::new(&runner);
    command
        .env("RINGFENCE_BINARY", binary)
        .args(kernel.then_some("--kernel"))
        .args(beneath_zones.then_some("--beneath-zones"));
    if let Some(case) = case {
        command.arg("--case").arg(case);
    }
    if let Some(data) = data {
        command.arg("--data").arg(data);
    }
    let error = command.args(suite).exec();
    Err(error).with_context(|| format!("cannot run {}", runner.display()))
}
