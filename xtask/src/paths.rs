//! Where things are.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
}

/// Cargo's target directory, which the user may have moved.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The kernel half as built last.
pub fn ebpf_object() -> PathBuf {
    target().join("ebpf/ringfence.o")
}

/// The binary as built last.
pub fn ringfence(release: bool) -> PathBuf {
    target()
        .join(if release { "release" } else { "debug" })
        .join("ringfence")
}

/// Tools that are built from source, per user so that the next clone finds them.
pub fn tools() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| {
            env::home_dir()
                .filter(|home| !home.as_os_str().is_empty())
                .map(|home| home.join(".cache"))
        })
        .context(
            "neither XDG_CACHE_HOME nor HOME is set: set one, the eBPF linker is kept there",
        )?;
    Ok(cache.join("ringfence/tools"))
}

/// Flags of the compiler after which nothing that it writes names a folder of this machine.
pub fn remapped() -> Vec<String> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    [(home.as_deref(), "cargo"), (Some(root()), ".")]
        .into_iter()
        .filter_map(|(from, to)| Some((from?.to_str()?, to)))
        .map(|(from, to)| format!("--remap-path-prefix={from}={to}"))
        .collect()
}
