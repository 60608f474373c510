//! `cargo xtask attacks [--only TECHNIQUE] [--layers LAYER|all|none|each] [--json FILE]`: every known way of a pod to the
//! metadata service, against each layer. Exits 1 if anything reaches it with all layers, or if what must get through does not;
//! 2 where the arguments make no sense.

use std::{fs, path::PathBuf, process::ExitCode, thread};

use anyhow::{Context as _, Result};
use clap::Parser;
use ringfence_tests::attacks::{Column, Options, run};

/// Tries every known way of a pod to the cloud's metadata service, in labs of network namespaces.
#[derive(Parser)]
struct Args {
    /// Only techniques whose name begins so
    #[arg(long, value_name = "TECHNIQUE")]
    only: Option<String>,
    /// One layer alone, all, none (no agent: proves that the technique works), or each of these
    #[arg(long, value_name = "LAYER|all|none|each", default_value = "each")]
    layers: String,
    /// Write everything that was seen to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Labs at once
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

fn main() -> ExitCode {
    match attacks(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn attacks(args: Args) -> Result<ExitCode> {
    let columns = match Column::read(&args.layers) {
        Ok(columns) => columns,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    let own = std::env::current_exe().context("cannot find the own binary")?;
    let options = Options {
        program: own.with_file_name("ringfence-attack"),
        only: args.only,
        columns,
        at_once: args
            .jobs
            .or_else(|| thread::available_parallelism().ok().map(Into::into))
            .unwrap_or(1),
    };
    if options.techniques().next().is_none() {
        eprintln!(
            "error: no technique begins with {:?}; there are:",
            options.only
        );
        let all = Options {
            only: None,
            ..options
        };
        for technique in all.techniques() {
            eprintln!("  {}", technique.name);
        }
        return Ok(ExitCode::from(2));
    }
    let matrix = run(&options, |line| eprintln!("{line}"))?;
    println!("{matrix}");
    if let Some(file) = args.json {
        let text = serde_json::to_string_pretty(&matrix).context("no JSON form")?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let wrong = matrix.wrong();
    for line in &wrong {
        eprintln!("wrong: {line}");
    }
    Ok(if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
