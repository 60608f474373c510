//! The tests, in their order: each leaves the cluster as it found it, and the last one takes Ringfence out.

use std::{fmt, time::Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{
    cluster::Cluster,
    example,
    expect::{self, Pod},
};

mod agents;
mod detach;
mod first;
mod nodes;
mod pods;
mod release;
mod rules;
mod services;
pub mod ways;

/// What became of a test.
enum End {
    Passed,
    Skipped(&'static str),
}

type Case = (&'static str, fn(&Cluster) -> Result<End>);

const CASES: [Case; 14] = [
    ("every agent is ready and knows its pods", agents::status),
    ("pods reach each other as policy says", ways::every),
    (
        "denials of all nodes are told in one place",
        agents::observe,
    ),
    ("services are what stands behind them", services::addresses),
    (
        "names lead where policy says, headless too",
        services::names,
    ),
    (
        "node ports are judged by who asks from outside",
        services::outside,
    ),
    ("the ten rules hold, as in the lab", rules::ten),
    ("probes pass under default deny", pods::probes),
    ("metadata is refused at once", pods::metadata),
    ("a pod's first instruction is judged", first::instruction),
    (
        "a rolling restart lets nothing through and breaks nothing",
        release::restart,
    ),
    (
        "an upgrade to another image lets nothing through and breaks nothing",
        release::upgrade,
    ),
    (
        "a drained node's pods are enforced where they go",
        nodes::drain,
    ),
    ("a restarted node enforces as before", nodes::restart),
];

/// The last: afterwards there is nothing left to test.
const LAST: Case = ("detach takes everything off", detach::detach);

/// Counts.
#[derive(Default)]
pub struct Report {
    /// Tests that held.
    pub passed: usize,
    /// Tests that did not.
    pub failed: usize,
    /// Tests that could not run here.
    pub skipped: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Runs those whose name contains the filter.
pub fn run(cluster: &Cluster, filter: Option<&str>) -> Report {
    let mut report = Report::default();
    for (name, case) in CASES.into_iter().chain([LAST]) {
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let started = Instant::now();
        let end = case(cluster);
        let took = started.elapsed().as_secs_f64();
        match end {
            Ok(End::Passed) => {
                report.passed += 1;
                println!("ok      {name} ({took:.1} s)");
            }
            Ok(End::Skipped(why)) => {
                report.skipped += 1;
                println!("skipped {name}: {why}");
            }
            Err(error) => {
                report.failed += 1;
                println!("FAILED  {name} ({took:.1} s): {error:#}");
            }
        }
    }
    report
}

/// The example's pods, and everything that decides.
fn look(cluster: &Cluster) -> Result<(Vec<Pod>, Vec<Value>)> {
    let objects = expect::objects(cluster)?;
    let pods = expect::pods(&objects, &example::namespaces(&example::documents()?));
    ensure!(pods.len() >= 2, "fewer than two of the example's pods run");
    Ok((pods, objects))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{e2e::kubectl::Kubectl, image};

    /// A cluster of which nothing is said, and which is not asked.
    fn unknown() -> Cluster {
        Cluster {
            kubectl: Kubectl,
            plugin: PathBuf::new(),
            agnhost: String::new(),
            restart_node: None,
            outside: None,
            other: None,
            image: image::default_name(),
            first: 0,
        }
    }

    #[test]
    fn what_nobody_says_how_to_do_is_skipped_and_not_passed() {
        for (filter, how) in [
            ("node ports", "--outside"),
            ("an upgrade to another image", "--other"),
            ("a restarted node", "--restart-node"),
        ] {
            let report = run(&unknown(), Some(filter));
            assert_eq!(
                report.to_string(),
                "0 passed, 0 failed, 1 skipped",
                "{filter}"
            );
            let (_, case) = CASES
                .iter()
                .find(|(name, _)| name.contains(filter))
                .unwrap();
            match case(&unknown()).unwrap() {
                End::Skipped(why) => assert!(why.contains(how), "{filter}: {why}"),
                End::Passed => panic!("{filter} has passed"),
            }
        }
    }
}
