//! Finds the compiler for the kernel half and runs its cargo.
//!
//! Any toolchain counts that has the standard library's source, since no compiler brings `core` for the
//! bpf target: a rustup nightly, the active toolchain, or the distribution's in `/usr`. Stable compilers
//! are told to accept unstable options by `RUSTC_BOOTSTRAP=1`, on the inner command only.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{linker, packages, paths, step};

/// The compiler that the workspace needs at least; `rust-version` in Cargo.toml.
const MINIMUM: (u32, u32) = (1, 95);

/// Variables by which an outer cargo or rustup would steer the inner cargo.
const STEERING: [&str; 13] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_MANIFEST_DIR",
    "CARGO_TARGET_DIR",
    "LD_LIBRARY_PATH",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "RUST_RECURSION_COUNT",
];

/// A compiler that can build the kernel half.
pub struct Toolchain {
    /// `bin` and `lib` are in here.
    pub sysroot: PathBuf,
    /// The compiler's release, such as `1.96.0`.
    pub release: String,
    /// The major version of its LLVM.
    pub llvm: u32,
}

impl Toolchain {
    /// One of its programs, whether or not it is there.
    pub fn program(&self, name: &str) -> PathBuf {
        self.sysroot.join("bin").join(name)
    }

    /// `cargo build` of the kernel half.
    pub fn build(&self) -> Result<Command> {
        let mut cargo = Command::new(self.program("cargo"));
        cargo.arg("build");
        self.steer(&mut cargo)?;
        Ok(cargo)
    }

    /// `cargo clippy` of the kernel half.
    pub fn clippy(&self) -> Result<Command> {
        // Called directly: `cargo clippy` might take another toolchain's from the user's cargo folder.
        let mut clippy = Command::new(self.program("cargo-clippy"));
        clippy.arg("clippy");
        self.steer(&mut clippy)?;
        clippy.args(["--", "--deny", "warnings"]);
        Ok(clippy)
    }

    /// Makes a command use this toolchain alone, for the kernel half on the bpf target.
    fn steer(&self, command: &mut Command) -> Result<()> {
        let mut path = vec![self.sysroot.join("bin")];
        path.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        for name in STEERING {
            command.env_remove(name);
        }
        command
            .current_dir(paths::root())
            .env("PATH", env::join_paths(path)?)
            .env("CARGO", self.program("cargo"))
            .env("RUSTC", self.program("rustc"))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags()?.join("\x1f"))
            .args([
                "--package",
                "ringfence-ebpf",
                "--bins",
                "--release",
                "-Z",
                "build-std=core",
            ])
            .args(["--target", target()])
            .arg("--target-dir")
            // Apart from the host's, whose cargo would otherwise wait for this one's lock.
            .arg(paths::target().join("ebpf-build"));
        Ok(())
    }

    fn flags(&self) -> Result<Vec<String>> {
        let mut flags = vec![
            format!("--cfg=bpf_target_arch=\"{}\"", architecture()?),
            // Type information comes from debug information; the maps and bpftool need it.
            "-Cdebuginfo=2".into(),
            "-Clink-arg=--btf".into(),
            // 32-bit arithmetic and all comparisons; every kernel that is supported has v3.
            "-Ctarget-cpu=v3".into(),
            // By its path, which names version and LLVM, so that another linker means another build.
            format!("-Clinker={}", linker::path(self.llvm)?.display()),
        ];
        // Line information goes into the object, and so into every image.
        flags.extend(paths::remapped());
        flags.push(format!(
            "--remap-path-prefix={}=rust",
            self.sysroot.display()
        ));
        if self.llvm >= 22 && unaligned_loads_are_cheap() {
            // Else a 32-bit address in a packet is read as four bytes and shifted together. The verifier
            // still wants the stack aligned, and LLVM does not know: what a program builds there, such as
            // a map's key, must hold words in word-sized fields.
            flags.push("-Clink-arg=--cpu-features=+allows-misaligned-mem-access".into());
        }
        Ok(flags)
    }
}

/// The toolchain that builds the kernel half: one for which the linker is there or can be built, else
/// one whose LLVM can be installed. Without apt, whose lists tell that, any.
pub fn find() -> Option<Toolchain> {
    let mut usable: Vec<_> = candidates().into_iter().filter_map(inspect).collect();
    let linkable = |toolchain: &Toolchain| {
        linker::installed(toolchain.llvm).is_some() || linker::llvm_prefix(toolchain.llvm).is_some()
    };
    let obtainable = |toolchain: &Toolchain| {
        !packages::have_apt()
            || linker::SUPPORTED_LLVM.contains(&toolchain.llvm)
                && packages::candidate(&linker::llvm_package(toolchain.llvm)).is_some()
    };
    let best = usable
        .iter()
        .position(linkable)
        .or_else(|| usable.iter().position(obtainable))?;
    Some(usable.swap_remove(best))
}

/// Whether a release, or a package's version, is one that the workspace accepts.
pub fn is_new_enough(release: &str) -> bool {
    let mut numbers = release
        .split(['.', '-', '+', '~'])
        .map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= MINIMUM
}

fn candidates() -> Vec<PathBuf> {
    let mut sysroots = Vec::new();
    if step::which("rustup").is_some() {
        let mut nightly = Command::new("rustup");
        // Asking must not install.
        nightly
            .env("RUSTUP_AUTO_INSTALL", "0")
            .args(["which", "--toolchain", "nightly", "rustc"]);
        let rustc = step::answer(nightly).map(PathBuf::from);
        sysroots.extend(
            rustc
                .as_deref()
                .and_then(|rustc| rustc.parent()?.parent())
                .map(Path::to_owned),
        );
    }
    let mut active = Command::new("rustc");
    active.args(["--print", "sysroot"]);
    sysroots.extend(step::answer(active).map(PathBuf::from));
    sysroots.push("/usr".into());
    sysroots
}

fn inspect(sysroot: PathBuf) -> Option<Toolchain> {
    if !sysroot
        .join("lib/rustlib/src/rust/library/core/src/lib.rs")
        .exists()
        || !sysroot.join("bin/cargo").exists()
    {
        return None;
    }
    let mut rustc = Command::new(sysroot.join("bin/rustc"));
    rustc.arg("-vV").env_remove("LD_LIBRARY_PATH");
    let answer = step::answer(rustc)?;
    let field = |name| {
        answer
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let release = field("release:")?.to_owned();
    let llvm = field("LLVM version:")?.split('.').next()?.parse().ok()?;
    is_new_enough(&release).then_some(Toolchain {
        sysroot,
        release,
        llvm,
    })
}

/// The bpf target of this machine's byte order.
pub fn target() -> &'static str {
    if cfg!(target_endian = "big") {
        "bpfeb-unknown-none"
    } else {
        "bpfel-unknown-none"
    }
}

/// This machine as aya names it.
fn architecture() -> Result<&'static str> {
    match env::consts::ARCH {
        name @ ("x86_64" | "aarch64" | "riscv64" | "s390x" | "powerpc64") => Ok(name),
        other => bail!("the kernel half is not known to build for {other}: use x86_64 or aarch64"),
    }
}

/// Where the kernel has `CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS`; elsewhere the verifier refuses such loads.
fn unaligned_loads_are_cheap() -> bool {
    matches!(
        env::consts::ARCH,
        "x86_64" | "aarch64" | "s390x" | "powerpc64"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_and_package_versions_are_compared_by_number() {
        for new_enough in [
            "1.95.0",
            "1.96.0+dfsg1-1~deb12u2",
            "1.98.0-nightly",
            "1.100.0",
            "2.0.0",
        ] {
            assert!(is_new_enough(new_enough), "{new_enough}");
        }
        for old in [
            "1.63.0+dfsg1-2",
            "1.85.0+dfsg3-1~deb12u3",
            "1.94.9",
            "",
            "nightly",
        ] {
            assert!(!is_new_enough(old), "{old}");
        }
    }
}
