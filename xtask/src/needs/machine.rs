//! What the lab needs of the machine: rights, kernel, programs.

use std::{fs, process::Command};

use super::{Need, Remedy, State, Weight};
use crate::step;

/// All of it.
pub fn needs() -> Vec<Need> {
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
            "tests translate Services with it, and `cargo xtask bench` compares with it",
            Weight::Run,
        ),
        program(
            "iptables",
            "iptables",
            "tests translate Services with it",
            Weight::Run,
        ),
        python(),
        program(
            "c++",
            "g++",
            "to build libFuzzer for `cargo xtask fuzz`",
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

/// Python that can make environments of its own.
fn python() -> Need {
    let mut python = Command::new("python3");
    python.args(["-c", "import ensurepip, sys; print(sys.version.split()[0])"]);
    let state = step::answer(python).map_or_else(
        || State::Missing(Remedy::Packages(vec!["python3-venv".into()])),
        |version| State::Found(version.trim().to_owned()),
    );
    Need {
        name: "python3 with venv".into(),
        why: "tests ask metadata services with the clouds' own client libraries",
        weight: Weight::Optional,
        state,
    }
}

/// Whether packages may be installed.
pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .unwrap_or_default();
    ids.split_whitespace().nth(1) == Some("0")
}
