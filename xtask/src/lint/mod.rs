//! `cargo xtask lint`: formatting, clippy on both targets, the rules of the house.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::{build, step, toolchain};

mod tidy;

/// One check and the name by which it is reported.
type Check = (&'static str, fn() -> Result<()>);

/// Runs the verb.
///
/// Every check runs, so that one run shows all there is to mend.
pub fn run() -> Result<ExitCode> {
    let checks: [Check; 5] = [
        ("tidy", tidy::run),
        ("fmt", format),
        ("fmt of the fuzz targets", format_fuzz),
        ("clippy", host),
        ("clippy for bpf", kernel_half),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        if let Err(error) = check() {
            eprintln!("{error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("lint: {} failed", failed.join(", "));
    }
    eprintln!("lint: no complaints");
    Ok(ExitCode::SUCCESS)
}

fn format() -> Result<()> {
    let mut cargo = build::host_cargo("fmt");
    cargo.args(["--all", "--check"]);
    step::run("checking the format", cargo)
}

/// A workspace of its own.
fn format_fuzz() -> Result<()> {
    let mut cargo = build::host_cargo("fmt");
    cargo.args(["--manifest-path", "fuzz/Cargo.toml", "--check"]);
    step::run("checking the format of the fuzz targets", cargo)
}

fn host() -> Result<()> {
    let mut cargo = build::host_cargo("clippy");
    cargo.args([
        "--workspace",
        "--exclude",
        "ringfence-ebpf",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]);
    step::run("clippy", cargo)
}

/// Apart from the host's, since together the features of `ringfence-common` would be united.
fn kernel_half() -> Result<()> {
    let toolchain =
        toolchain::find().context("no compiler for the kernel half: run `cargo xtask setup`")?;
    let clippy = toolchain.program("cargo-clippy");
    if !clippy.exists() {
        bail!(
            "no {}, the clippy of the kernel half's compiler: run `cargo xtask setup`",
            clippy.display()
        );
    }
    step::run("clippy for the bpf target", toolchain.clippy()?)
}
