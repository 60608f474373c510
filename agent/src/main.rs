//! The one binary: agent, command line, lab.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ringfence_agent::lab;

#[derive(Parser)]
#[command(name = "ringfence", version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Lab(lab::args::LabArgs),
}

fn main() -> ExitCode {
    let Verb::Lab(args) = Args::parse().verb;
    match lab::run(args, None) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringfence: {error:#}");
            ExitCode::from(2)
        }
    }
}
