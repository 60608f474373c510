//! What an event costs as the cluster grows: `cargo xtask bench --scale`. Each size runs in a process of its own, so
//! that its memory is its own.

mod force;
mod measure;
mod world;
mod zones;

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::table::{Figure, Table};
use measure::Figures;

/// Numbers of pods.
const SIZES: [u32; 3] = [1_000, 10_000, 100_000];

/// Measures every size.
pub fn run(quick: bool) -> Result<Vec<Table>> {
    let columns = SIZES
        .into_iter()
        .map(|pods| child("--scale-of", pods, quick))
        .collect::<Result<Vec<Figures>>>()?;
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
    let growth = Table {
        title: format!(
            "Clusters of so many pods, a policy for every ten, 1,000 namespaces, {} endpoints here; growth for ten times the pods",
            world::ENDPOINTS
        ),
        figures: figures.collect(),
    };
    Ok(vec![growth, with_zones(quick)?])
}

/// Measures a cluster of 10,000 pods without zones, with 10 and with 1,000.
fn with_zones(quick: bool) -> Result<Table> {
    let columns = [0, 10, 1_000]
        .into_iter()
        .map(|zones| child("--zones-of", zones, quick))
        .collect::<Result<Vec<Figures>>>()?;
    let rows = columns[0].iter().enumerate();
    let figures = rows.map(|(at, (name, none))| Figure {
        name: name.clone(),
        values: vec![
            ("none", *none),
            ("10", columns[1][at].1),
            ("1,000", columns[2][at].1),
        ],
    });
    Ok(Table {
        title: "10,000 pods and so many zones, each with a policy of two rules".to_owned(),
        figures: figures.collect(),
    })
}

fn child(flag: &str, size: u32, quick: bool) -> Result<Figures> {
    let output = Command::new(std::env::current_exe()?)
        .args([flag, &size.to_string()])
        .args(quick.then_some("--quick"))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run this program again")?;
    ensure!(
        output.status.success(),
        "{flag} {size}: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    let figures: Vec<(String, Option<f64>)> =
        serde_json::from_slice(&output.stdout).context("the figures of one size")?;
    let known = figures.into_iter();
    Ok(known
        .map(|(name, it)| (name, it.unwrap_or(f64::NAN)))
        .collect())
}

/// Measures one size, and prints the figures as JSON.
pub fn one(pods: u32, quick: bool) -> Result<()> {
    print(&measure::measure(pods, quick)?)
}

/// The same with so many zones.
pub fn zoned(zones: u32, quick: bool) -> Result<()> {
    print(&measure::zoned(zones, if quick { 50 } else { 500 })?)
}

fn print(figures: &Figures) -> Result<()> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}
