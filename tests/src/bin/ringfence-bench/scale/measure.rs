//! The figures of one size.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use ringfence_agent::{
    compile::{Compiler, Desired, Options},
    diff::{Installed, Limits, Planner, Wanted},
    model::Snapshot,
};

use super::{
    force,
    world::{self, Dice},
    zones,
};
use crate::table::{Figure, Table};

/// Figures by name, in order.
pub type Figures = Vec<(String, f64)>;

/// A cluster with the agent's stages behind it, but for the kernel.
struct Agent {
    snapshot: Snapshot,
    compiler: Compiler,
    planner: Planner,
    limits: Limits,
}

/// What one change took.
struct Took {
    compile: Duration,
    plan: Duration,
    operations: usize,
}

/// Measures a cluster of this many pods.
pub fn measure(pods: u32, quick: bool) -> Result<Figures> {
    let mut figures = Figures::new();
    let mut say = |name: &str, value: f64| figures.push((name.to_owned(), value));
    let start = resident();
    let mut agent = Agent {
        snapshot: world::cluster(pods),
        compiler: Compiler::new(Options::default()),
        planner: Planner::default(),
        limits: Limits::default(),
    };
    let of_objects = resident();
    let (first, desired) = agent.step()?;
    say("full compile, ms", millis(first.compile));
    say("full plan, ms", millis(first.plan));

    let rounds = if quick { 100 } else { 1_000 };
    let events = agent.pod_events(pods, rounds)?;
    say(
        "pod event: compile p50, us",
        1e3 * at(&events, 50, |it| it.compile),
    );
    say(
        "pod event: compile p99, us",
        1e3 * at(&events, 99, |it| it.compile),
    );
    say(
        "pod event: plan p50, us",
        1e3 * at(&events, 50, |it| it.plan),
    );
    say(
        "pod event: plan p99, us",
        1e3 * at(&events, 99, |it| it.plan),
    );
    let edits = agent.policy_edits(pods, rounds / 10)?;
    say(
        "policy edit: compile p50, ms",
        at(&edits, 50, |it| it.compile),
    );
    say(
        "policy edit: compile p99, ms",
        at(&edits, 99, |it| it.compile),
    );
    say("policy edit: plan p50, ms", at(&edits, 50, |it| it.plan));
    let mut operations: Vec<usize> = edits.iter().map(|it| it.operations).collect();
    operations.sort_unstable();
    say(
        "policy edit: operations p50",
        count(operations[operations.len() / 2]),
    );

    say("resident: empty, MiB", start);
    say("resident: objects, MiB", of_objects - start);
    say("resident: agent, MiB", resident());
    let installed = agent.planner.installed();
    say("identities", count(installed.identities.len()));
    say("tables", count(installed.tables.len()));
    say("cells", cells(installed));
    say("classes", count(installed.classes.len()));
    say("addresses and networks", count(installed.addresses.len()));
    drop(desired);
    for (name, value) in force::measure(agent.snapshot, pods, if quick { 10 } else { 100 })? {
        say(&name, value);
    }
    Ok(figures)
}

/// Measures a cluster of 10,000 pods without zones, with 10 and with 1,000.
pub fn with_zones(quick: bool) -> Result<Table> {
    let rounds = if quick { 50 } else { 500 };
    let columns = [0, 10, 1_000]
        .into_iter()
        .map(|zones| zoned(zones, rounds))
        .collect::<Result<Vec<Figures>>>()?;
    let figures = columns[0]
        .iter()
        .enumerate()
        .map(|(at, (name, none))| Figure {
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

fn zoned(zones: u32, rounds: u32) -> Result<Figures> {
    const PODS: u32 = 10_000;
    let mut figures = Figures::new();
    let mut say = |name: &str, value: f64| figures.push((name.to_owned(), value));
    let mut snapshot = world::cluster(PODS);
    if zones > 0 {
        zones::put(&mut snapshot, zones);
    }
    let mut agent = Agent {
        snapshot,
        compiler: Compiler::new(Options::default()),
        planner: Planner::default(),
        limits: zones::limits(),
    };
    let (first, _) = agent.step()?;
    say("full compile, ms", millis(first.compile));
    let whole = |it: &Took| it.compile + it.plan;
    let events = agent.pod_events(PODS, rounds)?;
    say(
        "pod event: compile and plan p50, ms",
        at(&events, 50, whole),
    );
    say(
        "pod event: compile and plan p99, ms",
        at(&events, 99, whole),
    );
    for (name, edit) in zones::EDITS {
        let mut took = Vec::new();
        for round in 0..rounds {
            if zones > 0 {
                edit(&mut agent.snapshot, zones, round);
                took.push(agent.step()?.0);
            }
        }
        type Part = fn(&Took) -> Duration;
        let parts: [(&str, Part); 2] = [("compile", |it| it.compile), ("plan", |it| it.plan)];
        for (stage, of) in parts {
            for part in [50, 99] {
                let value = if took.is_empty() {
                    f64::NAN
                } else {
                    at(&took, part, of)
                };
                say(&format!("{name}: {stage} p{part}, ms"), value);
            }
        }
    }
    let installed = agent.planner.installed();
    say("identities", count(installed.identities.len()));
    say("tables", count(installed.tables.len()));
    say("cells", cells(installed));
    say("classes", count(installed.classes.len()));
    for (name, value) in force::measure_zones(agent.snapshot, zones, rounds)? {
        say(&name, value);
    }
    Ok(figures)
}

impl Agent {
    /// From the snapshot to a plan that counts as carried out.
    fn step(&mut self) -> Result<(Took, Desired)> {
        let start = Instant::now();
        // The stages hand copies on.
        let snapshot = self.snapshot.clone();
        let (desired, _) = self.compiler.update(&snapshot);
        let compile = start.elapsed();
        let start = Instant::now();
        let grants = BTreeMap::new();
        let wanted = Wanted {
            desired: &desired,
            grants: &grants,
        };
        let plan = self
            .planner
            .plan(wanted, &self.limits)
            .map_err(|full| anyhow::anyhow!("{full:?}"))?;
        let operations = plan.ops.len();
        self.planner.done(plan);
        let took = Took {
            compile,
            plan: start.elapsed(),
            operations,
        };
        Ok((took, desired))
    }

    fn pod_events(&mut self, pods: u32, rounds: u32) -> Result<Vec<Took>> {
        let mut events = Vec::new();
        for round in 0..rounds {
            change_a_pod(&mut self.snapshot, pods, round);
            events.push(self.step()?.0);
        }
        Ok(events)
    }

    fn policy_edits(&mut self, pods: u32, rounds: u32) -> Result<Vec<Took>> {
        let mut edits = Vec::new();
        for round in 0..rounds {
            edit_a_policy(&mut self.snapshot, pods, round);
            edits.push(self.step()?.0);
        }
        Ok(edits)
    }
}

/// A remote pod comes, gets the labels of another template, and goes; one of these each round.
pub fn change_a_pod(snapshot: &mut Snapshot, pods: u32, round: u32) {
    let number = round / 3 * 7919 % 1_000_003;
    match round % 3 {
        0 => {
            let pod = world::newcomer(number, pods);
            snapshot.pods.insert(pod.key.clone(), pod);
        }
        1 => {
            let mut pod = world::remote(number, pods);
            pod.labels = world::labels(number % 1_000, number, 1);
            snapshot.pods.insert(pod.key.clone(), pod);
        }
        _ => {
            snapshot.pods.remove(&world::newcomer(number, pods).key);
        }
    }
}

/// One rule of a policy that is about a pod here becomes another one.
pub fn edit_a_policy(snapshot: &mut Snapshot, pods: u32, round: u32) {
    let about = world::policies_here(pods);
    let number = round * 31 % about;
    let mut policy = world::policy(number);
    let rule = world::rule(
        number / 10,
        &mut Dice::new(u64::from(round) + 1_000_000_007),
    );
    for rules in [&mut policy.ingress, &mut policy.egress]
        .into_iter()
        .flatten()
    {
        rules[0] = rule.clone();
    }
    snapshot.policies.insert(policy.key.clone(), policy);
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A percentile, in milliseconds.
fn at(took: &[Took], part: usize, of: impl Fn(&Took) -> Duration) -> f64 {
    percentile(took.iter().map(|it| millis(of(it))).collect(), part)
}

/// A percentile.
pub fn percentile(mut samples: Vec<f64>, part: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[(samples.len() - 1) * part / 100]
}

/// A number of things, as a figure.
pub fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn cells(installed: &Installed) -> f64 {
    let tables = installed.tables.values();
    tables.map(|state| count(state.cells().len())).sum()
}

/// MiB of this process that are in memory.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kibibytes.map_or(f64::NAN, |it| it / 1024.0)
}
