//! `cargo xtask fuzz`: builds the fuzz targets with coverage, and runs them for a while.
//!
//! What they begin with is in `fuzz/seeds.txt`: the frames of the packet tests.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::Args as ClapArgs;

use crate::{build, paths, step};

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
    /// Where chance begins; 0 is another place each time
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Collect the frames of the packet tests anew instead; needs root
    #[arg(long, conflicts_with_all = ["target", "seconds", "seed"])]
    collect: bool,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<ExitCode> {
    if args.collect {
        return collect();
    }
    if step::which("c++").is_none() {
        bail!("no c++ here, which libFuzzer is built with: run `cargo xtask setup`");
    }
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
        let seeds = paths::target().join("fuzz/seeds").join(&target);
        for folder in [&corpus, &crashes, &seeds] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        sow(&target, &seeds)?;
        let status = Command::new(&binary)
            .arg(&corpus)
            .arg(&seeds)
            .arg(LONGEST)
            .arg(format!("-seed={}", args.seed))
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

/// Frames of the packet tests, each with the program that it was for.
fn frames() -> PathBuf {
    paths::root().join("fuzz/seeds.txt")
}

/// Runs the packet tests and keeps each different frame, in their order.
fn collect() -> Result<ExitCode> {
    let found = paths::target().join("fuzz/frames.txt");
    if found.exists() {
        fs::remove_file(&found).with_context(|| format!("cannot remove {}", found.display()))?;
    }
    let mut cargo = build::host_cargo("test");
    cargo
        .args(["-p", "ringfence-tests", "--test", "packets", "--"])
        .arg("--test-threads=1")
        .env("RINGFENCE_FRAMES", &found);
    step::run("running the packet tests", cargo)?;
    let lines = fs::read_to_string(&found)
        .with_context(|| format!("no frames in {}: were the tests skipped?", found.display()))?;
    let mut known = BTreeSet::new();
    let mut kept = String::new();
    for line in lines.lines().filter(|line| line.len() <= LONGEST_SEED) {
        if known.insert(shape(line)) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    fs::write(frames(), &kept).with_context(|| format!("cannot write {}", frames().display()))?;
    eprintln!("{} frames in {}", known.len(), frames().display());
    Ok(ExitCode::SUCCESS)
}

/// A frame's line without its ports: a flood of connections is one shape.
fn shape(line: &str) -> String {
    let mut shape = line.to_owned();
    let start = line.find(' ').map_or(0, |at| at + 1);
    let version6 = line.get(start + 24..start + 28) == Some("86dd");
    let ports = start + if version6 { 108 } else { 68 };
    if line.len() >= ports + 8 {
        shape.replace_range(ports..ports + 8, "");
    }
    shape
}

/// Characters of the longest line that is kept as a seed.
const LONGEST_SEED: usize = 500;

/// What a story of the judge begins with: the policy of the packet tests (ingress TCP 80, egress TCP 443 and UDP 53, all
/// of the friend), and a second one that isolates nothing. `fuzz/src/input.rs` reads it.
const POLICY: [u8; 25] = [
    3, 0x02, 0, 1, 0x82, 4, 1, 0x82, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];
/// Operation of a story: a frame as it is.
const RAW: u8 = 200;
/// Frames of one story.
const FRAMES: usize = 4;

/// Writes the seeds of a target: frames for the parser, stories for the judge.
fn sow(target: &str, folder: &Path) -> Result<()> {
    let text = fs::read_to_string(frames())
        .with_context(|| format!("cannot read {}", frames().display()))?;
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    let mut operations: Vec<Vec<u8>> = Vec::new();
    for line in text.lines() {
        let (program, digits) = line.split_once(' ').context("a line of two words")?;
        let frame = bytes(digits).with_context(|| format!("no frame: {line}"))?;
        if target != "judge" {
            seeds.push(frame);
            continue;
        }
        let length = u8::try_from(frame.len()).context("a short frame")?;
        let out = u8::from(program == "from_pod");
        operations.push([&[RAW, out, length][..], &frame].concat());
    }
    for story in operations.windows(FRAMES) {
        seeds.push([&POLICY[..], &story.concat()].concat());
    }
    for (number, seed) in seeds.iter().enumerate() {
        let file = folder.join(number.to_string());
        fs::write(&file, seed).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
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
