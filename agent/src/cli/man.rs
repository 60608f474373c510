//! `ringfence man`.

use std::{fs, process::ExitCode};

use clap::CommandFactory as _;

use super::failure::{Failure, Outcome};
use crate::args::{Args, ManArgs};

pub(super) fn run(args: &ManArgs) -> Outcome {
    let place = args.directory.display();
    let failed = |error: std::io::Error| {
        Failure::new(format!("cannot write man pages: {error}")).at(place.to_string())
    };
    fs::create_dir_all(&args.directory).map_err(failed)?;
    clap_mangen::generate_to(Args::command(), &args.directory).map_err(failed)?;
    say!("man pages are in {place}");
    Ok(ExitCode::SUCCESS)
}
