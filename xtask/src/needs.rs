//! What this machine must have, whether it has it, and what to do if not.

use std::{fs, process::Command};

use crate::{
    linker, step,
    toolchain::{self, Toolchain},
};

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
    needs.extend(to_run());
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
                ["rustc-web", "cargo-web", "rust-web-src"]
                    .map(Into::into)
                    .into(),
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
                    packages: vec![format!("llvm-{llvm}-dev")],
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
        (None, _) => State::Missing(Remedy::Packages(vec!["rust-web-clippy".into()])),
    };
    Need {
        name: "clippy of the same release".into(),
        why: "`cargo xtask lint` checks the kernel half with it",
        weight: Weight::Optional,
        state,
    }
}

fn to_run() -> Vec<Need> {
    vec![
        privileges(),
        kernel(),
        file(
            "kernel type information",
            "loading eBPF programs",
            "/sys/kernel/btf/vmlinux",
            "a kernel with CONFIG_DEBUG_INFO_BTF",
        ),
        file_system(
            "bpf",
            "keeps maps and links over restarts",
            "a kernel with CONFIG_BPF_SYSCALL",
        ),
        file_system(
            "cgroup2",
            "the metadata firewall's socket hooks",
            "a kernel with CONFIG_CGROUP_BPF",
        ),
        devices(),
        program("ip", "iproute2", "to look into the lab", Weight::Run),
        program(
            "tc",
            "iproute2",
            "to look at attached programs",
            Weight::Run,
        ),
        program(
            "nft",
            "nftables",
            "`cargo xtask bench` compares with it",
            Weight::Optional,
        ),
        program(
            "bpftool",
            "bpftool",
            "to look at maps and programs",
            Weight::Optional,
        ),
    ]
}

fn privileges() -> Need {
    const WANTED: [(u32, &str); 3] = [
        (12, "CAP_NET_ADMIN"),
        (21, "CAP_SYS_ADMIN"),
        (39, "CAP_BPF"),
    ];
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let lacking: Vec<_> = WANTED
        .iter()
        .filter(|(bit, _)| effective >> bit & 1 == 0)
        .map(|(_, name)| *name)
        .collect();
    let state = if lacking.is_empty() {
        State::Found("all capabilities".into())
    } else {
        State::Missing(Remedy::Advice(format!(
            "{} missing: run as root, in a privileged container if any",
            lacking.join(", ")
        )))
    };
    Need {
        name: "root".into(),
        why: "network namespaces and eBPF programs",
        weight: Weight::Run,
        state,
    }
}

fn kernel() -> Need {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let state = if version >= (6, 6) {
        State::Found(format!("{release}, with TCX"))
    } else if version >= (5, 15) {
        State::Found(format!(
            "{release}, without TCX: programs are attached by clsact"
        ))
    } else {
        State::Missing(Remedy::Advice(format!(
            "this is Linux {release:?}: use 5.15 or newer"
        )))
    };
    Need {
        name: "Linux 5.15 or newer".into(),
        why: "eBPF features",
        weight: Weight::Run,
        state,
    }
}

fn file(name: &str, why: &'static str, path: &str, advice: &str) -> Need {
    let state = if fs::metadata(path).is_ok() {
        State::Found(path.into())
    } else {
        State::Missing(Remedy::Advice(format!("no {path}: boot {advice}")))
    };
    Need {
        name: name.into(),
        why,
        weight: Weight::Run,
        state,
    }
}

fn file_system(kind: &str, why: &'static str, advice: &str) -> Need {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounted = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some(kind))
            .then(|| before.split(' ').nth(4))
            .flatten()
    });
    let state = match mounted {
        Some(place) => State::Found(format!("mounted at {place}")),
        None if known
            .lines()
            .any(|line| line.trim_start_matches("nodev").trim() == kind) =>
        {
            State::Found("known, mounted when needed".into())
        }
        None => State::Missing(Remedy::Advice(format!("boot {advice}"))),
    };
    Need {
        name: format!("file system {kind}"),
        why,
        weight: Weight::Run,
        state,
    }
}

/// Tries it in a network namespace that goes away with the process.
fn devices() -> Need {
    let mut probe = Command::new("unshare");
    probe.args([
        "--net", "ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1",
    ]);
    let state = if step::answer(probe).is_some() {
        State::Found("can be made".into())
    } else {
        State::Missing(Remedy::Advice(
            "needs root, iproute2 and a kernel with CONFIG_NET_NS and CONFIG_VETH".into(),
        ))
    };
    Need {
        name: "network namespaces and veth pairs".into(),
        why: "the lab's pods",
        weight: Weight::Run,
        state,
    }
}

fn program(name: &str, package: &str, why: &'static str, weight: Weight) -> Need {
    let state = step::which(name).map_or_else(
        || State::Missing(Remedy::Packages(vec![package.into()])),
        |path| State::Found(path.display().to_string()),
    );
    Need {
        name: name.into(),
        why,
        weight,
        state,
    }
}
