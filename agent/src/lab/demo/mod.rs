//! The demo: what policy does to real sockets.
//!
//! Up, a matrix without policy, the agent, a matrix with policy that is compared with what the manifests say
//! offline, the reasons of some denials, and down again. Whatever ends it early, a signal or a failure, goes
//! through the same drops: nothing stays.

mod agent;
mod matrix;
mod reasons;
mod show;

use std::{path::Path, process::ExitCode};

use anyhow::{Result, bail};

use self::{agent::Agent, matrix::Matrix, show::Show};
use super::{Lab, LabSpec, Question, interrupt, state};
use crate::model::Snapshot;

/// How many denials the agent is asked about.
const ASKED: usize = 16;
/// How many of its answers are shown.
const REASONS: usize = 3;

/// Answers offline whether policy lets a question's packets through.
pub type Offline = dyn Fn(&Snapshot, &Question) -> Result<bool>;

/// Runs the demo. False, as an exit code, if sockets and manifests disagree.
pub(super) fn run(
    directory: &Path,
    spec: &LabSpec,
    snapshot: &Snapshot,
    offline: Option<&Offline>,
    keep: bool,
) -> Result<ExitCode> {
    interrupt::watch()?;
    let mut show = Show::new(if keep { 5 } else { 6 });

    let step = show.step(
        "Build the lab: a network namespace and a cgroup for each pod, one for the world outside",
    );
    let mut lab = Lab::up(spec)?;
    step.done(&format!(
        "{} pods, {} hosts outside",
        spec.pods.len(),
        spec.outside.len()
    ));

    let step = show.step("Try every way by real sockets, without policy");
    let before = Matrix::measure(&lab, spec, snapshot)?;
    step.done(&format!(
        "{} connections tried, by IPv4 and IPv6",
        before.len()
    ));
    println!("{}", before.table(&show, None));

    let step = show.step("Start the agent: policies become tables in the kernel");
    let mut agent = Agent::start(&mut lab, directory, keep)?;
    agent.wait_until_ready()?;
    step.done("in force");

    let step = show.step("Try every way again, with policy");
    let after = Matrix::measure(&lab, spec, snapshot)?;
    let expected = offline
        .map(|offline| after.expected(&|question| offline(snapshot, question)))
        .transpose()?;
    let wrong = expected
        .as_ref()
        .map(|expected| after.disagreements(expected));
    step.done(&match &wrong {
        Some(wrong) if wrong.is_empty() => {
            format!(
                "{} connections tried; each went as the manifests say offline",
                after.len()
            )
        }
        Some(wrong) => format!(
            "{} of {} connections went otherwise than the manifests say",
            wrong.len(),
            after.len()
        ),
        None => format!("{} connections tried", after.len()),
    });
    println!("{}", after.table(&show, expected.as_deref()));
    for line in wrong.iter().flatten() {
        println!("  {}", show.bad(line));
    }

    let step = show.step("Ask the agent why");
    let denials = after.examples(ASKED);
    if denials.is_empty() {
        bail!("nothing was denied: policy is not in force");
    }
    let reasons = reasons::choose(reasons::explain(&lab, &agent, &denials)?, REASONS);
    step.done(&format!(
        "{} denials, by the rule that decided",
        reasons.len()
    ));
    for reason in &reasons {
        println!("  {reason}");
    }

    let agreed = wrong.is_none_or(|wrong| wrong.is_empty());
    if keep {
        agent.keep();
        let name = spec.name.clone();
        lab.keep()?;
        println!("\nThe lab {name} stays up, with the agent in it. To play:");
        println!("  ringfence lab exec --name {name} POD       a shell in a pod");
        println!(
            "  ringfence observe -f --run-dir {}",
            state::folder(&name).display()
        );
        println!(
            "  edit {}, and try again",
            directory.join(super::spec::MANIFESTS).display()
        );
        println!("  ringfence lab down --name {name}           the end");
    } else {
        let step = show.step("Take everything down");
        agent.detach()?;
        lab.down()?;
        let left = super::leftovers(&spec.name)?;
        if !left.is_empty() {
            bail!("left of the lab: {}", left.join(", "));
        }
        step.done("no namespace, link, pin, mount, cgroup or process is left");
    }
    Ok(if agreed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
