//! What an event costs as the cluster grows: `cargo xtask bench --scale`. Each size runs in a process of its own, so
//! that its memory is its own.

mod world;

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use ringfence_agent::{
    compile::{self, Desired, compile},
    model::Snapshot,
};

use crate::table::{Figure, Table};

/// Numbers of pods.
const SIZES: [u32; 3] = [1_000, 10_000, 100_000];

/// Figures of one size, by name.
type Figures = Vec<(String, f64)>;

/// Measures every size.
pub fn run(quick: bool) -> Result<Vec<Table>> {
    let mut columns = Vec::new();
    for pods in SIZES {
        columns.push(child(pods, quick)?);
    }
    let names: Vec<&String> = columns[0].iter().map(|(name, _)| name).collect();
    let figures = names.into_iter().enumerate().map(|(at, name)| {
        let values: Vec<f64> = columns.iter().map(|column| column[at].1).collect();
        Figure {
            name: name.clone(),
            values: vec![
                ("1,000", values[0]),
                ("10,000", values[1]),
                ("100,000", values[2]),
                // By what factor it grows while the cluster grows by ten.
                ("growth 1", values[1] / values[0]),
                ("growth 2", values[2] / values[1]),
            ],
        }
    });
    Ok(vec![Table {
        title: format!(
            "Clusters of so many pods, a policy for every ten, 1,000 namespaces, {} endpoints here; growth for ten times the pods",
            world::ENDPOINTS
        ),
        figures: figures.collect(),
    }])
}

fn child(pods: u32, quick: bool) -> Result<Figures> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--scale-of", &pods.to_string()])
        .args(quick.then_some("--quick"))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run this program again")?;
    ensure!(
        output.status.success(),
        "{pods} pods: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    serde_json::from_slice(&output.stdout).context("the figures of one size")
}

/// Measures one size, and prints the figures as JSON.
pub fn one(pods: u32, quick: bool) -> Result<()> {
    let figures = measure(pods, quick);
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

fn measure(pods: u32, quick: bool) -> Figures {
    let mut figures = Figures::new();
    let mut say = |name: &str, value: f64| figures.push((name.to_owned(), value));
    let snapshot = world::cluster(pods);
    say("snapshot, MiB resident", resident());
    let options = compile::Options::default();
    let (desired, took) = timed(|| compile(&snapshot, &options).0);
    say("full compile, ms", took * 1e3);
    say("identities", count(desired.signatures.len()));
    say("tables", count(desired.tables.len()));
    say("cells", cells(&desired));
    let rounds = if quick { 3 } else { 9 };
    say("pod event, us", pod_events(&snapshot, pods, rounds) * 1e6);
    say("agent, MiB resident", resident());
    figures
}

fn pod_events(snapshot: &Snapshot, pods: u32, rounds: u32) -> f64 {
    let mut snapshot = snapshot.clone();
    let options = compile::Options::default();
    let mut samples: Vec<f64> = (0..rounds)
        .map(|round| {
            let pod = world::newcomer(round, pods);
            let (_, took) = timed(|| {
                snapshot.pods.insert(pod.key.clone(), pod);
                compile(&snapshot.clone(), &options)
            });
            took
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn cells(desired: &Desired) -> f64 {
    desired
        .tables
        .iter()
        .map(|table| count(table.rows.len() * table.columns))
        .sum()
}

/// MiB of this process that are in memory.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kibibytes.map_or(f64::NAN, |it| it / 1024.0)
}
