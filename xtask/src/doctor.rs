//! `cargo xtask doctor`: what this machine has and lacks.

use std::process::ExitCode;

use anyhow::Result;

use crate::needs::{self, Remedy, State, Weight};

/// Runs the verb.
pub fn run() -> Result<ExitCode> {
    let needs = needs::all();
    let width = needs.iter().map(|need| need.name.len()).max().unwrap_or(0);
    for need in &needs {
        let (mark, text) = match (&need.state, need.weight) {
            (State::Found(what), _) => ("found", what.clone()),
            (State::Missing(remedy), Weight::Optional) => ("optional", advice(remedy)),
            (State::Missing(remedy), _) => ("MISSING", advice(remedy)),
        };
        println!("{mark:8} {:width$}  {text}", need.name);
        if matches!(need.state, State::Missing(_)) {
            println!("{:8} {:width$}  for: {}", "", "", need.why);
        }
    }
    let blocking = needs.iter().filter(|need| need.blocks()).count();
    println!();
    if blocking == 0 {
        println!("nothing essential is missing");
        return Ok(ExitCode::SUCCESS);
    }
    println!("essential things missing: {blocking}; `cargo xtask setup` installs what it can");
    Ok(ExitCode::FAILURE)
}

fn advice(remedy: &Remedy) -> String {
    match remedy {
        Remedy::Packages(packages) => {
            format!("`cargo xtask setup` installs {}", packages.join(" "))
        }
        Remedy::BuildLinker { packages, .. } if packages.is_empty() => {
            "`cargo xtask setup` builds it".into()
        }
        Remedy::BuildLinker { packages, .. } => {
            format!(
                "`cargo xtask setup` installs {} and builds it",
                packages.join(" ")
            )
        }
        Remedy::Advice(advice) => advice.clone(),
    }
}
