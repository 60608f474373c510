//! `cargo xtask setup`: finds what is missing, says what it will do and why, asks, does it.

use std::{env, io, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{
    envtest, linker,
    needs::{self, Need, Remedy, State, Weight},
    packages, sdk, step,
};

/// Options of `setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let Args { yes } = args;
    let lacking = ensure(|_| true, yes)?;
    for need in &lacking {
        advise(need);
    }
    if lacking.iter().any(|need| need.weight == Weight::Build) {
        bail!("this machine cannot build Ringfence yet: see above");
    }
    envtest::prepare();
    sdk::prepare();
    eprintln!(
        "setup: {}",
        if lacking.iter().any(Need::blocks) {
            "ready to build, not to run the lab"
        } else {
            "ready"
        }
    );
    Ok(ExitCode::SUCCESS)
}

/// Sees to everything that the lab needs, or fails saying what is missing.
pub fn for_lab() -> Result<()> {
    let lacking = ensure(Need::blocks, false)?;
    for need in &lacking {
        advise(need);
    }
    if !lacking.is_empty() {
        bail!("this machine cannot run the lab: see above");
    }
    Ok(())
}

/// Sees to what is missing and counts, as far as it can be installed, and returns what is still missing.
fn ensure(counts: fn(&Need) -> bool, yes: bool) -> Result<Vec<Need>> {
    let mut missing = missing(counts);
    let mut done = Vec::new();
    // Each round may show more: only with a compiler is it known which LLVM the linker needs.
    loop {
        let plan = Plan::of(&missing);
        if plan.is_empty() {
            break;
        }
        if done.contains(&plan) {
            // Said by the caller, with what it is for.
            eprintln!(
                "what was installed is not what is needed; is there an older version in the way?"
            );
            break;
        }
        plan.announce(&missing);
        if !(yes || env::var_os("CI").is_some() || confirm()?) {
            bail!("nothing was installed; `cargo xtask setup --yes` installs it without asking");
        }
        plan.carry_out()?;
        done.push(plan);
        missing = self::missing(counts);
    }
    Ok(missing)
}

fn missing(counts: fn(&Need) -> bool) -> Vec<Need> {
    let mut needs = needs::all();
    needs.retain(|need| matches!(need.state, State::Missing(_)) && counts(need));
    needs
}

fn advise(need: &Need) {
    let State::Missing(remedy) = &need.state else {
        return;
    };
    let what = match remedy {
        Remedy::Packages(packages) | Remedy::BuildLinker { packages, .. } => {
            format!("install {}", packages.join(" "))
        }
        Remedy::Advice(advice) => advice.clone(),
    };
    eprintln!("missing: {} ({}): {what}", need.name, need.why);
}

/// What will be done.
#[derive(Default, PartialEq, Eq)]
struct Plan {
    packages: Vec<String>,
    linker: Option<u32>,
}

impl Plan {
    fn of(missing: &[Need]) -> Self {
        let mut plan = Self::default();
        for need in missing {
            match &need.state {
                State::Missing(Remedy::Packages(packages)) => {
                    plan.packages.extend(packages.iter().cloned())
                }
                State::Missing(Remedy::BuildLinker { llvm, packages }) => {
                    plan.packages.extend(packages.iter().cloned());
                    plan.linker = Some(*llvm);
                }
                State::Missing(Remedy::Advice(_)) | State::Found(_) => {}
            }
        }
        plan.packages.sort();
        plan.packages.dedup();
        plan
    }

    fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.linker.is_none()
    }

    fn announce(&self, missing: &[Need]) {
        eprintln!("missing:");
        for need in missing {
            eprintln!("  {}: {}", need.name, need.why);
        }
        eprintln!("to do:");
        if !self.packages.is_empty() {
            eprintln!("  install the packages {}", self.packages.join(" "));
        }
        if let Some(llvm) = self.linker {
            eprintln!(
                "  build bpf-linker {} for LLVM {llvm} with cargo into the user's cache (one to two minutes)",
                linker::VERSION
            );
        }
    }

    fn carry_out(&self) -> Result<()> {
        if !self.packages.is_empty() {
            packages::install(&self.packages)?;
        }
        self.linker.map_or(Ok(()), linker::build)
    }
}

fn confirm() -> Result<bool> {
    if !step::interactive() {
        return Ok(false);
    }
    eprint!("go ahead? [y/N] ");
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
