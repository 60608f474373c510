//! Which labs are up.

use anyhow::{Context as _, Result};
use comfy_table::{Table, presets};

use super::{args::Output, spec, state, state::State};

/// Prints the labs that are up, or the one of this name.
pub(super) fn print(name: Option<&str>, output: Output) -> Result<()> {
    let states: Vec<State> = match name {
        Some(name) => vec![State::of_running(name)?],
        None => state::names()?
            .iter()
            .filter_map(|name| State::load(name))
            .collect(),
    };
    match output {
        Output::Json => println!(
            "{}",
            serde_json::to_string_pretty(&states).context("no JSON form")?
        ),
        Output::Yaml => print!(
            "{}",
            serde_saphyr::to_string(&states).context("no YAML form")?
        ),
        Output::Table if states.is_empty() => {
            println!(
                "No lab is up. `ringfence lab up DIR` builds one (its name is then {}).",
                spec::DEFAULT_NAME
            );
        }
        Output::Table => {
            for state in &states {
                println!("Lab {}\n{}", state.name, table(state));
            }
        }
    }
    Ok(())
}

fn table(state: &State) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["WHO", "ADDRESSES", "NETWORK NAMESPACE", "PROCESS", "CGROUP"]);
    for (name, actor) in &state.actors {
        let Some(process) = state.processes.get(actor.process) else {
            continue;
        };
        let addresses: Vec<String> = actor.addresses.iter().map(ToString::to_string).collect();
        let id = match process.id {
            Some(id) if id.is_alive() => id.pid.to_string(),
            Some(id) => format!("{} (ended)", id.pid),
            None => "not started".to_owned(),
        };
        let cgroup = process.cgroup.display().to_string();
        table.add_row([
            name.clone(),
            addresses.join("\n"),
            process.netns.clone(),
            id,
            cgroup,
        ]);
    }
    table
}
