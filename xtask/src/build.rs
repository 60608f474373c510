//! `cargo xtask build`: the kernel half, then the binary that contains it.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{linker, paths, step, toolchain};

/// Options of `build`.
#[derive(clap::Args)]
pub struct Args {
    /// Optimize the binary; the kernel half always is
    #[arg(long)]
    release: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let Args { release } = args;
    let binary = all(release)?;
    println!("{}", binary.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds both halves and returns the binary's path.
pub fn all(release: bool) -> Result<PathBuf> {
    ebpf()?;
    let mut cargo = host_cargo("build");
    cargo.args(["--package", "ringfence-agent", "--bin", "ringfence"]);
    if release {
        cargo.arg("--release");
    }
    step::run("building ringfence", cargo)?;
    Ok(paths::ringfence(release))
}

/// Builds the kernel half and puts the object where the agent's build takes it from.
pub fn ebpf() -> Result<()> {
    let toolchain =
        toolchain::find().context("no compiler for the kernel half: run `cargo xtask setup`")?;
    linker::installed(toolchain.llvm).with_context(|| {
        format!(
            "no eBPF linker for LLVM {}: run `cargo xtask setup`",
            toolchain.llvm
        )
    })?;
    step::run("building the kernel half", toolchain.build()?)?;
    let built = paths::target()
        .join("ebpf-build")
        .join(toolchain::target())
        .join("release/ringfence-ebpf");
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let object = paths::ebpf_object();
    // Left alone when equal, so that its new date does not rebuild the agent.
    if fs::read(&object).ok().as_deref() != Some(&bytes) {
        let folder = object.parent().expect("it lies in the target directory");
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        fs::write(&object, bytes).with_context(|| format!("cannot write {}", object.display()))?;
    }
    Ok(())
}

/// `cargo VERB` in the workspace with the toolchain that runs this program.
pub fn host_cargo(verb: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Whatever the caller has there: xtask's own object, and the same for every verb.
    cargo
        .current_dir(paths::root())
        .env("RINGFENCE_EBPF_OBJECT", paths::ebpf_object())
        .arg(verb);
    cargo
}
