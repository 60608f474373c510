//! `cargo xtask image`: a container image of a self-contained agent, without a container engine.
//!
//! The binary is linked statically, so the image holds it and nothing else. [`archive`] writes the same bytes for
//! the same binary and name.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::{build, paths, step};

mod archive;
mod name;

pub use name::Name;

/// Where the binary lies in the image.
pub const ENTRYPOINT: &str = "/usr/bin/ringfence";

/// The name under which the chart looks for an image of this version.
const REPOSITORY: &str = "ghcr.io/ringfence/ringfence";

/// Options of `image`.
#[derive(clap::Args)]
pub struct Args {
    /// File to write; without it `target/image/ringfence.tar`
    #[arg(long, value_name = "FILE.tar")]
    out: Option<PathBuf>,
    /// Name of the image, as in `registry.example/ringfence:1.2`; without it the chart's default
    #[arg(long, value_name = "NAME")]
    tag: Option<Name>,
}

/// Runs the verb.
pub fn run(args: &Args) -> Result<ExitCode> {
    let Args { out, tag } = args;
    let image = build(out.as_deref(), tag.clone())?;
    println!("{}", image.display());
    Ok(ExitCode::SUCCESS)
}

/// The name that is used unless another one is asked for.
pub fn default_name() -> Name {
    format!("{REPOSITORY}:{}", env!("CARGO_PKG_VERSION"))
        .parse()
        .expect("it is a name with a tag")
}

/// Builds the binary and writes the archive; says where it is.
pub fn build(out: Option<&Path>, name: Option<Name>) -> Result<PathBuf> {
    let name = name.unwrap_or_else(default_name);
    let out = out.map_or_else(
        || paths::target().join("image/ringfence.tar"),
        Path::to_owned,
    );
    let binary = binary()?;
    let binary = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let image = archive::Image {
        name: &name,
        architecture: architecture(env::consts::ARCH),
        version: env!("CARGO_PKG_VERSION"),
        files: &[(ENTRYPOINT, &binary)],
    };
    let (bytes, digest) = image.write().context("cannot make the archive")?;
    fs::write(&out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    eprintln!(
        "image {name}: {:.1} MB, of a binary of {:.1} MB; {digest}",
        megabytes(bytes.len()),
        megabytes(binary.len())
    );
    Ok(out)
}

/// Builds a binary that needs nothing of the image around it.
fn binary() -> Result<PathBuf> {
    build::ebpf()?;
    let object = paths::ebpf_object();
    let bytes = fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
    if names(&bytes, paths::root()) {
        bail!(
            "{} names {}: the image would be another one elsewhere",
            object.display(),
            paths::root().display()
        );
    }
    // Named, so that build scripts and derive macros, which are loaded at run time, are not linked statically.
    let triple = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let directory = paths::target().join("image");
    let mut cargo = build::host_cargo("build");
    cargo
        .args([
            "--package",
            "ringfence-agent",
            "--bin",
            "ringfence",
            "--locked",
        ])
        .args(["--profile", "image", "--target", &triple, "--target-dir"])
        .arg(&directory);
    flags(&mut cargo);
    step::run("building a static ringfence", cargo)?;
    Ok(directory.join(triple).join("image/ringfence"))
}

/// Static linking, and no path of this machine in messages: the same source is the same image anywhere.
fn flags(cargo: &mut Command) {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.extend(paths::remapped());
    // Divided by a byte that no path has.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
}

/// Whether a folder's path is in these bytes.
fn names(bytes: &[u8], folder: &Path) -> bool {
    let path = folder.as_os_str().as_encoded_bytes();
    !path.is_empty() && bytes.windows(path.len()).any(|window| window == path)
}

/// An architecture as images name it.
fn architecture(rust: &'static str) -> &'static str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_wherever_it_is() {
        let folder = Path::new("/home/x");
        assert!(names(b"..\0/home/x/ebpf/src/main.rs\0", folder));
        assert!(!names(b"..\0./ebpf/src/main.rs\0/home", folder));
    }
}
