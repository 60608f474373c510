//! What this machine must have, whether it has it, and what to do if not.

use crate::{
    linker, packages,
    toolchain::{self, Toolchain},
};

mod machine;

pub use machine::is_root;

/// One thing that is needed.
pub struct Need {
    /// What it is.
    pub name: String,
    /// What for.
    pub why: &'static str,
    /// How much depends on it.
    pub weight: Weight,
    /// What was found.
    pub state: State,
}

/// How much depends on a need.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Nothing can be built without it.
    Build,
    /// The lab and its tests cannot run without it.
    Run,
    /// A comfort or a comparison is missing.
    Optional,
}

/// What was found.
pub enum State {
    /// It is there; in a few words, what it is.
    Found(String),
    /// It is not there, and this helps.
    Missing(Remedy),
}

/// What to do about something missing.
#[derive(Clone)]
pub enum Remedy {
    /// Install these packages.
    Packages(Vec<String>),
    /// Build the linker for this LLVM, after installing these packages.
    BuildLinker {
        /// The major version.
        llvm: u32,
        /// LLVM's development files, unless they are there.
        packages: Vec<String>,
    },
    /// Nothing that `setup` could do.
    Advice(String),
}

impl Need {
    /// Whether it is missing although something cannot work without it.
    pub fn blocks(&self) -> bool {
        self.weight != Weight::Optional && matches!(self.state, State::Missing(_))
    }
}

/// All needs.
pub fn all() -> Vec<Need> {
    let mut needs = to_build();
    needs.extend(machine::needs());
    needs
}

/// What building needs.
pub fn to_build() -> Vec<Need> {
    let found = toolchain::find();
    let llvm = found
        .as_ref()
        .map_or(DEBIAN_LLVM, |toolchain| toolchain.llvm);
    vec![
        compiler(found.as_ref()),
        linker(llvm),
        clippy(found.as_ref()),
    ]
}

/// The LLVM of Debian's rustc-web.
const DEBIAN_LLVM: u32 = 22;

fn compiler(found: Option<&Toolchain>) -> Need {
    let state = found.map_or_else(
        || {
            State::Missing(Remedy::Packages(
                packages::compiler().to_build.map(Into::into).into(),
            ))
        },
        |toolchain| {
            State::Found(format!(
                "{} in {}, LLVM {}",
                toolchain.release,
                toolchain.sysroot.display(),
                toolchain.llvm
            ))
        },
    );
    Need {
        name: "Rust with its library's source".into(),
        why: "compiles the kernel half, for which no ready-made core library exists",
        weight: Weight::Build,
        state,
    }
}

fn linker(llvm: u32) -> Need {
    let state = linker::installed(llvm).map_or_else(
        || {
            State::Missing(if !linker::SUPPORTED_LLVM.contains(&llvm) {
                Remedy::Advice(format!(
                    "bpf-linker {} knows no LLVM {llvm}: use a compiler with LLVM 22",
                    linker::VERSION
                ))
            } else if linker::llvm_prefix(llvm).is_some() {
                Remedy::BuildLinker {
                    llvm,
                    packages: Vec::new(),
                }
            } else {
                Remedy::BuildLinker {
                    llvm,
                    packages: vec![linker::llvm_package(llvm)],
                }
            })
        },
        |path| State::Found(path.display().to_string()),
    );
    Need {
        name: format!("bpf-linker {} for LLVM {llvm}", linker::VERSION),
        why: "links the kernel half; built from source against the compiler's LLVM",
        weight: Weight::Build,
        state,
    }
}

fn clippy(found: Option<&Toolchain>) -> Need {
    let driver = found.map(|toolchain| toolchain.program("cargo-clippy"));
    let state = match (driver.filter(|driver| driver.exists()), found) {
        (Some(driver), _) => State::Found(driver.display().to_string()),
        (None, Some(toolchain)) if !toolchain.sysroot.starts_with("/usr") => State::Missing(
            Remedy::Advice("rustup component add clippy, for the toolchain named above".into()),
        ),
        (None, _) => State::Missing(Remedy::Packages(vec![packages::compiler().clippy.into()])),
    };
    Need {
        name: "clippy of the same release".into(),
        why: "`cargo xtask lint` checks the kernel half with it",
        weight: Weight::Optional,
        state,
    }
}
