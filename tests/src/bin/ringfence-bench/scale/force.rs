//! Until it is in force: the same events, through the real kernel.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_agent::{
    compile::{Compiler, Options},
    dataplane::{self, Kernel as _},
    diff::Limits,
    model::Snapshot,
};
use ringfence_tests::{desk, sandbox::sandbox};

use super::{
    measure::{Figures, change_a_pod, count, edit_a_policy, percentile},
    world, zones,
};

/// What is measured, in order.
const NAMES: [&str; 6] = [
    "in force: everything, ms",
    "in force: pod event p50, us",
    "in force: pod event p99, us",
    "in force: policy edit p50, ms",
    "in force: policy edit p99, ms",
    "maps: kernel memory, MiB",
];

/// Rounds that the snapshot may have been through; divisible by three, so that pods that go have come.
const BEFORE: u32 = 9_000;

/// Measures, if this user may.
pub fn measure(snapshot: Snapshot, pods: u32, rounds: u32) -> Figures {
    let figures = if nix::unistd::geteuid().is_root() {
        sandbox(move |bpffs| within(bpffs, snapshot, pods, rounds)).unwrap_or_else(|error| {
            eprintln!("nothing is known of the kernel: {error:#}");
            [f64::NAN; NAMES.len()]
        })
    } else {
        [f64::NAN; NAMES.len()]
    };
    let names = NAMES.iter().map(|&name| name.to_owned());
    names.zip(figures).collect()
}

/// Measures edits of zones, if this user may.
pub fn measure_zones(snapshot: Snapshot, zones: u32, rounds: u32) -> Figures {
    let measured = if nix::unistd::geteuid().is_root() && zones > 0 {
        sandbox(move |bpffs| with_zones(bpffs, snapshot, zones, rounds)).unwrap_or_else(|error| {
            eprintln!("nothing is known of the kernel: {error:#}");
            Vec::new()
        })
    } else {
        Vec::new()
    };
    let mut measured = measured.into_iter();
    let mut figures = Figures::new();
    for (name, _) in zones::EDITS {
        for part in ["p50", "p99"] {
            let value = measured.next().unwrap_or(f64::NAN);
            figures.push((format!("in force: {name} {part}, ms"), value));
        }
    }
    figures
}

/// For each kind of edit the median and the 99th percentile.
fn with_zones(
    bpffs: std::path::PathBuf,
    mut snapshot: Snapshot,
    zones: u32,
    rounds: u32,
) -> Result<Vec<f64>> {
    devices()?;
    let mut kernel = dataplane::open(&dataplane::Options {
        limits: zones::limits(),
        ..desk::options(bpffs)
    })?;
    let mut compiler = Compiler::new(Options::default());
    let mut in_force = |snapshot: &Snapshot| -> Result<f64> {
        let start = Instant::now();
        let (desired, _) = compiler.update(snapshot);
        let compiled = start.elapsed();
        let applied = kernel.apply(&desired)?;
        Ok((compiled + applied.in_force).as_secs_f64() * 1e3)
    };
    in_force(&snapshot)?;
    let mut figures = Vec::new();
    for (_, edit) in zones::EDITS {
        let mut took = Vec::new();
        for round in 0..rounds {
            // Other ones than before.
            edit(&mut snapshot, zones, round + BEFORE + 1);
            took.push(in_force(&snapshot)?);
        }
        figures.extend([percentile(took.clone(), 50), percentile(took, 99)]);
    }
    Ok(figures)
}

fn within(
    bpffs: std::path::PathBuf,
    mut snapshot: Snapshot,
    pods: u32,
    rounds: u32,
) -> Result<[f64; NAMES.len()]> {
    devices()?;
    let mut kernel = dataplane::open(&dataplane::Options {
        limits: Limits::default(),
        ..desk::options(bpffs)
    })?;
    let mut compiler = Compiler::new(Options::default());
    // From the object to packets that notice: compiler, plan, system calls.
    let mut in_force = |snapshot: &Snapshot| -> Result<f64> {
        let start = Instant::now();
        let (desired, _) = compiler.update(snapshot);
        let compiled = start.elapsed();
        let applied = kernel.apply(&desired)?;
        Ok((compiled + applied.in_force).as_secs_f64() * 1e3)
    };
    let everything = in_force(&snapshot)?;
    let mut events = Vec::new();
    for round in 0..10 * rounds {
        // Other ones than before.
        change_a_pod(&mut snapshot, pods, round + BEFORE);
        events.push(in_force(&snapshot)?);
    }
    let mut edits = Vec::new();
    for round in 0..rounds {
        edit_a_policy(&mut snapshot, pods, round + BEFORE);
        edits.push(in_force(&snapshot)?);
    }
    let memory: u64 = kernel.objects()?.iter().filter_map(|it| it.memory).sum();
    Ok([
        everything,
        1e3 * percentile(events.clone(), 50),
        1e3 * percentile(events, 99),
        percentile(edits.clone(), 50),
        percentile(edits, 99),
        count(usize::try_from(memory)?) / 1024.0 / 1024.0,
    ])
}

/// Devices for the programs to be attached to, in this thread's network namespace.
fn devices() -> Result<()> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot run ip (package iproute2)")?;
    let mut stdin = ip.stdin.take().context("a pipe")?;
    for number in 0..world::ENDPOINTS {
        let index = world::ifindex(number);
        let peer = index + world::ENDPOINTS;
        writeln!(
            stdin,
            "link add name veth{number} index {index} type veth peer name peer{number} index {peer}"
        )?;
    }
    drop(stdin);
    ensure!(ip.wait()?.success(), "ip could not make the devices");
    Ok(())
}
