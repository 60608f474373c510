//! `cargo xtask conformance`: builds the binary, then the runner in the tests' package, which takes this process's place.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{build, paths, setup, step};

/// Runs the verb.
pub fn run(args: &[OsString]) -> Result<ExitCode> {
    if args.iter().any(|word| word == "--kernel") {
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
    let error = Command::new(&runner)
        .env("RINGFENCE_BINARY", binary)
        .args(args)
        .exec();
    Err(error).with_context(|| format!("cannot run {}", runner.display()))
}
