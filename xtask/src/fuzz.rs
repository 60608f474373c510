//! `cargo xtask fuzz`: builds the fuzz targets with coverage, and runs them for a while.

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::Args as ClapArgs;

use crate::{paths, step};

/// What instruments a binary so that libFuzzer sees which edges an input takes; plain flags of a stable compiler.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cdebug-assertions -Ccodegen-units=1";
/// The longest input: headers are what is parsed.
const LONGEST: &str = "-max_len=512";

/// Flags of the verb.
#[derive(ClapArgs)]
pub struct Args {
    /// Target; without it all, one after the other
    target: Option<String>,
    /// How long each runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<ExitCode> {
    let known = targets()?;
    let wanted = match &args.target {
        None => known,
        Some(target) if known.contains(target) => vec![target.clone()],
        Some(target) => {
            eprintln!(
                "error: there is no fuzz target {target:?}; there is {}",
                known.join(", ")
            );
            return Ok(ExitCode::from(2));
        }
    };
    for target in wanted {
        let binary = build(&target)?;
        let corpus = paths::target().join("fuzz/corpus").join(&target);
        let crashes = paths::target().join("fuzz/crashes").join(&target);
        for folder in [&corpus, &crashes] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let status = Command::new(&binary)
            .arg(&corpus)
            .arg(LONGEST)
            .arg(format!("-max_total_time={}", args.seconds))
            .arg(format!("-artifact_prefix={}/", crashes.display()))
            .status()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        if !status.success() {
            eprintln!(
                "error: {target} found an input that it does not hold for: it lies in {}; repeat it with {} FILE",
                crashes.display(),
                binary.display()
            );
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Names of the targets, sorted.
fn targets() -> Result<Vec<String>> {
    let folder = paths::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if let (Some("rs"), Some(name)) = (
            path.extension().and_then(|it| it.to_str()),
            path.file_stem().and_then(|it| it.to_str()),
        ) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn build(target: &str) -> Result<PathBuf> {
    // Named, so that build scripts are not instrumented.
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let directory = paths::target().join("fuzz");
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(paths::root().join("fuzz/Cargo.toml"))
        .arg("--target-dir")
        .arg(&directory)
        .args(["--target", &triple, "--bin", target])
        .env("RUSTFLAGS", FLAGS);
    step::run(&format!("building the fuzz target {target}"), cargo)?;
    Ok(directory.join(triple).join("release").join(target))
}
