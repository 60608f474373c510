//! `ringfence completion`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::CommandFactory as _;

use super::failure::Outcome;
use crate::args::{Args, CompletionArgs};

pub(super) fn run(args: &CompletionArgs) -> Outcome {
    // The generator panics if it cannot write, so it writes into memory.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "ringfence", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
