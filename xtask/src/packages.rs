//! The system's packages, where it has apt.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{needs, step, toolchain};

/// What a distribution calls a compiler, its cargo, its library's source, and its clippy.
pub struct Compiler {
    /// Everything that building needs.
    pub to_build: [&'static str; 3],
    /// For `cargo xtask lint`.
    pub clippy: &'static str,
}

/// First the one that follows Rust closely even in stable releases of Debian.
const COMPILERS: [Compiler; 2] = [
    Compiler {
        to_build: ["rustc-web", "cargo-web", "rust-web-src"],
        clippy: "rust-web-clippy",
    },
    Compiler {
        to_build: ["rustc", "cargo", "rust-src"],
        clippy: "rust-clippy",
    },
];

/// The packages of a compiler that is new enough, as far as the local lists know.
pub fn compiler() -> &'static Compiler {
    let new_enough = COMPILERS.iter().find(|compiler| {
        candidate(compiler.to_build[0]).is_some_and(|version| toolchain::is_new_enough(&version))
    });
    new_enough.unwrap_or(&COMPILERS[0])
}

/// Whether there is apt here.
pub fn have_apt() -> bool {
    step::which("apt-get").is_some()
}

/// The version of a package that would be installed, as far as the local lists know.
pub fn candidate(package: &str) -> Option<String> {
    let mut policy = Command::new("apt-cache");
    policy.env("LC_ALL", "C").args(["policy", package]);
    let answer = step::answer(policy)?;
    let version = answer
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

/// Installs packages, or says why it cannot and what would.
pub fn install(packages: &[String]) -> Result<()> {
    let names = packages.join(" ");
    if !have_apt() {
        bail!(
            "no apt-get here: install what corresponds to {names} with this system's package manager \
             (or, with rustup: `rustup toolchain install nightly --component rust-src`), then run this again"
        );
    }
    if !needs::is_root() {
        bail!(
            "not root: run `sudo apt-get update && sudo apt-get install {names}`, then this again"
        );
    }
    if packages.iter().any(|package| candidate(package).is_none()) {
        step::run("updating the list of packages", apt(&["update"]))?;
    }
    let unknown: Vec<_> = packages
        .iter()
        .filter(|package| candidate(package).is_none())
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        bail!(
            "this system's package sources have no {}; for a compiler, \
             `rustup toolchain install nightly --component rust-src` and its LLVM's development files do as well",
            unknown.join(", ")
        );
    }
    let mut install = apt(&["install", "--yes", "--no-install-recommends"]);
    install.args(packages);
    step::run(&format!("installing {names}"), install)
}

fn apt(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
    command
}
