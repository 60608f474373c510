//! `cargo xtask bench`: optimized builds, then the benchmark in the tests' package.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{build, paths, setup, step};

/// Runs the verb.
pub fn run(args: &[OsString]) -> Result<ExitCode> {
    setup::for_lab()?;
    let binary = build::all(true)?;
    let mut cargo = build::host_cargo("build");
    cargo.args([
        "--release",
        "--package",
        "ringfence-tests",
        "--bin",
        "ringfence-bench",
    ]);
    step::run("building the benchmark", cargo)?;
    let bench = paths::target().join("release/ringfence-bench");
    let error = Command::new(&bench)
        .env("RINGFENCE_BINARY", binary)
        .args(args)
        .exec();
    Err(error).with_context(|| format!("cannot run {}", bench.display()))
}
