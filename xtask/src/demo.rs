//! `cargo xtask demo`: the example in a lab, from nothing.

use std::{
    ffi::OsString,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{build, paths, setup};

/// Runs the verb.
pub fn run(args: &[OsString]) -> Result<ExitCode> {
    setup::for_lab()?;
    let binary = build::all(false)?;
    let example = paths::root().join("deploy/examples/hybrid-cloud");
    // Takes this process's place, so that signals and the exit code are the demo's own.
    let error = Command::new(&binary)
        .args(["lab", "demo"])
        .arg(example)
        .args(args)
        .exec();
    Err(error).with_context(|| format!("cannot run {}", binary.display()))
}
