//! The eBPF linker: found in the user's cache, or built there.
//!
//! It links the LLVM bitcode that rustc writes, so its LLVM must be the compiler's major version.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{paths, step};

/// The version that is built.
pub const VERSION: &str = "0.13.0";

/// The versions of LLVM that it can be built for.
pub const SUPPORTED_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// Where the linker for this LLVM is, or will be.
pub fn path(llvm: u32) -> Result<PathBuf> {
    Ok(root(llvm)?.join("bin/bpf-linker"))
}

/// The linker for this LLVM, if it is there and runs.
pub fn installed(llvm: u32) -> Option<PathBuf> {
    let path = path(llvm).ok()?;
    let mut version = Command::new(&path);
    version.arg("--version");
    step::answer(version)?.contains(VERSION).then_some(path)
}

/// Where this LLVM's headers and libraries are installed.
pub fn llvm_prefix(llvm: u32) -> Option<PathBuf> {
    let configs = [
        format!("/usr/lib/llvm-{llvm}/bin/llvm-config"),
        format!("llvm-config-{llvm}"),
        "llvm-config".into(),
    ];
    configs.into_iter().find_map(|program| {
        let mut config = Command::new(program);
        config.args(["--version", "--prefix", "--includedir"]);
        let answer = step::answer(config)?;
        let mut lines = answer.lines();
        let (version, prefix, headers) = (lines.next()?, lines.next()?, lines.next()?);
        // Debian has the program in a package of its own, without the headers.
        let is_whole = Path::new(headers).join("llvm-c/Core.h").exists();
        let is_it = version.split('.').next() == Some(llvm.to_string().as_str());
        (is_it && is_whole).then(|| PathBuf::from(prefix))
    })
}

/// The package of this LLVM's headers and libraries.
pub fn llvm_package(llvm: u32) -> String {
    format!("llvm-{llvm}-dev")
}

/// Builds the linker for this LLVM into the cache.
pub fn build(llvm: u32) -> Result<()> {
    if !SUPPORTED_LLVM.contains(&llvm) {
        bail!(
            "bpf-linker {VERSION} cannot be built for LLVM {llvm}, only for {} to {}: use a compiler with one of these",
            SUPPORTED_LLVM.start(),
            SUPPORTED_LLVM.end()
        );
    }
    let prefix = llvm_prefix(llvm)
        .with_context(|| format!("LLVM {llvm}'s development files are missing"))?;
    let root = root(llvm)?;
    fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
    // With its own folder in PATH, cargo does not ask for that.
    let mut path = vec![prefix.join("bin"), root.join("bin")];
    path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        // Not from inside the repository, whose .cargo/config.toml is not meant for it.
        .current_dir(&root)
        .env_remove("CARGO_TARGET_DIR")
        .env("LLVM_PREFIX", &prefix)
        .env("PATH", env::join_paths(path)?)
        .args([
            "install",
            "--locked",
            "--no-default-features",
            "--features",
            &format!("llvm-{llvm}"),
            "--root",
        ])
        .arg(&root)
        .arg(format!("bpf-linker@{VERSION}"));
    step::run(
        &format!("building bpf-linker {VERSION} for LLVM {llvm}"),
        cargo,
    )?;
    if installed(llvm).is_none() {
        bail!("{} was built but does not run", self::path(llvm)?.display());
    }
    Ok(())
}

fn root(llvm: u32) -> Result<PathBuf> {
    Ok(paths::tools()?.join(Path::new(&format!("bpf-linker-{VERSION}-llvm-{llvm}"))))
}
