//! `cargo xtask attacks`: builds the binary, the attack program and the runner, which takes this process's place.

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
    /// Only techniques whose name begins so
    #[arg(long, value_name = "TECHNIQUE")]
    only: Option<String>,
    /// One layer alone, all, none (no agent: proves that the technique works), or each of these
    #[arg(long, value_name = "LAYER|all|none|each", default_value = "each")]
    layers: String,
    /// Write everything that was seen to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Labs at once; without it, one for each processor
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let Args {
        only,
        layers,
        json,
        jobs,
    } = args;
    setup::for_lab()?;
    let binary = build::all(false)?;
    let mut cargo = build::host_cargo("build");
    cargo.args(["--package", "ringfence-tests"]);
    cargo.args(["--bin", "ringfence-attack", "--bin", "ringfence-attacks"]);
    step::run("building the attack suite", cargo)?;
    let runner = paths::target().join("debug/ringfence-attacks");
    let mut command = Command::new(&runner);
    command
        .env("RINGFENCE_BINARY", binary)
        .args(["--layers", &layers]);
    for (flag, value) in [
        ("--only", only),
        ("--json", json.map(|path| path.display().to_string())),
        ("--jobs", jobs.map(|jobs| jobs.to_string())),
    ] {
        if let Some(value) = value {
            command.args([flag, &value]);
        }
    }
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", runner.display()))
}
