//! Until it is in force: the same events, through the real kernel.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_agent::{
    compile::{Compiler, Options},
    dataplane::{self, Dataplane, Kernel as _},
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

/// Which percentiles of zones' edits are told.
const PERCENTILES: [usize; 3] = [50, 90, 99];

/// Rounds that the snapshot may have been through; divisible by three, so that pods that go have come.
const BEFORE: u32 = 9_000;

/// Measures, if this user may.
///
/// # Errors
///
/// If the kernel does not take the programs or a state.
pub fn measure(snapshot: Snapshot, pods: u32, rounds: u32) -> Result<Figures> {
    let measured = if nix::unistd::geteuid().is_root() {
        sandbox(move |bpffs| within(bpffs, snapshot, pods, rounds))?
    } else {
        [f64::NAN; NAMES.len()]
    };
    let names = NAMES.iter().map(|&name| name.to_owned());
    Ok(names.zip(measured).collect())
}

/// Measures edits of zones, if this user may and there are any.
///
/// # Errors
///
/// If the kernel does not take the programs or a state.
pub fn measure_zones(snapshot: Snapshot, zones: u32, rounds: u32) -> Result<Figures> {
    let measured = if nix::unistd::geteuid().is_root() && zones > 0 {
        sandbox(move |bpffs| with_zones(bpffs, snapshot, zones, rounds))?
    } else {
        vec![f64::NAN; zones::EDITS.len() * PERCENTILES.len()]
    };
    let names = zones::EDITS.iter().flat_map(|(name, _)| {
        PERCENTILES.map(|percentile| format!("in force: {name} p{percentile}, ms"))
    });
    Ok(names.zip(measured).collect())
}

/// The percentiles of each kind of edit.
fn with_zones(bpffs: PathBuf, mut snapshot: Snapshot, zones: u32, rounds: u32) -> Result<Vec<f64>> {
    let mut node = Node::new(bpffs, zones::limits())?;
    node.in_force(&snapshot)?;
    let mut figures = Vec::new();
    for (_, edit) in zones::EDITS {
        let mut took = Vec::new();
        for round in 0..rounds {
            // Other ones than before.
            edit(&mut snapshot, zones, round + BEFORE + 1);
            took.push(node.in_force(&snapshot)?);
        }
        figures.extend(PERCENTILES.map(|part| percentile(took.clone(), part)));
    }
    Ok(figures)
}

fn within(
    bpffs: PathBuf,
    mut snapshot: Snapshot,
    pods: u32,
    rounds: u32,
) -> Result<[f64; NAMES.len()]> {
    let mut node = Node::new(bpffs, Limits::default())?;
    let everything = node.in_force(&snapshot)?;
    let mut events = Vec::new();
    for round in 0..10 * rounds {
        // Other ones than before.
        change_a_pod(&mut snapshot, pods, round + BEFORE);
        events.push(node.in_force(&snapshot)?);
    }
    let mut edits = Vec::new();
    for round in 0..rounds {
        edit_a_policy(&mut snapshot, pods, round + BEFORE);
        edits.push(node.in_force(&snapshot)?);
    }
    let objects = node.kernel.objects()?;
    let memory: u64 = objects.iter().filter_map(|it| it.memory).sum();
    Ok([
        everything,
        1e3 * percentile(events.clone(), 50),
        1e3 * percentile(events, 99),
        percentile(edits.clone(), 50),
        percentile(edits, 99),
        count(usize::try_from(memory)?) / 1024.0 / 1024.0,
    ])
}

/// A node's agent as far as packets notice it: the compiler, the plan, the kernel's maps.
struct Node {
    compiler: Compiler,
    kernel: Dataplane,
}

impl Node {
    /// With all devices there, and nothing known.
    fn new(bpffs: PathBuf, limits: Limits) -> Result<Self> {
        devices()?;
        let options = desk::options(bpffs);
        Ok(Self {
            compiler: Compiler::new(Options::default()),
            kernel: dataplane::open(&dataplane::Options { limits, ..options })?,
        })
    }

    /// Milliseconds from the objects to packets that notice.
    fn in_force(&mut self, snapshot: &Snapshot) -> Result<f64> {
        let start = Instant::now();
        let (desired, _) = self.compiler.update(snapshot);
        let compiled = start.elapsed();
        let applied = self.kernel.apply(&desired)?;
        Ok((compiled + applied.in_force).as_secs_f64() * 1e3)
    }
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
