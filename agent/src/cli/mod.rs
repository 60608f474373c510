//! The command line: one file for each verb.
//!
//! **Invariants.** Data goes to standard output, talk to standard error. Exit codes: 0 done or allowed, 1 denied,
//! 2 wrong usage or an error. A reader that closes standard output ends the verb in silence.

/// Says something to standard error. Whoever closed it does not want to hear it, and that is no reason to end.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _: std::io::Result<()> = writeln!(std::io::stderr().lock(), $($words)*);
    }};
}

pub mod failure;

mod agent;
mod bpf;
mod can;
mod check;
mod client;
mod cluster;
mod completion;
mod crds;
mod ct;
mod daemon_set;
mod detach;
mod endpoint;
mod endpoints;
mod kernel;
mod lab;
mod lint;
mod man;
mod manifests;
mod matrix;
mod metadata;
mod observe;
mod output;
mod outside;
mod question;
mod status;
mod sysdump;
mod version;

use std::{
    env,
    ffi::{OsStr, OsString},
    process::ExitCode,
};

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::{
    args::{Args, Verb},
    locate,
};
use failure::{Failure, Outcome};

/// What a process that SIGPIPE killed would have; the shell knows it.
const PIPE_CLOSED: u8 = 141;

/// Runs the verb that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().collect();
    let args = unset_if_empty(command(words.first())).get_matches_from(words);
    let args = match Args::from_arg_matches(&args) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    match dispatch(args.verb) {
        Ok(code) => code,
        Err(Failure::PipeClosed) => ExitCode::from(PIPE_CLOSED),
        Err(failure) => {
            say!("{failure}");
            ExitCode::from(2)
        }
    }
}

/// The definition; as a kubectl plugin, usage lines read `kubectl ringfence`.
fn command(program: Option<&OsString>) -> clap::Command {
    if cluster::is_plugin(program) {
        Args::command().bin_name("kubectl ringfence")
    } else {
        Args::command()
    }
}

/// An environment variable that is empty says nothing.
fn unset_if_empty(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| {
            if arg.get_env().is_some_and(is_empty) {
                arg.env(None)
            } else {
                arg
            }
        })
        .mut_subcommands(unset_if_empty)
}

fn dispatch(verb: Verb) -> Outcome {
    match verb {
        Verb::Agent(args) => agent::run(*args),
        Verb::Check(args) if cluster::is_meant(&args.cluster) => cluster::check(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Sysdump(args) if cluster::is_meant(&args.cluster) => cluster::sysdump(&args),
        Verb::Sysdump(args) => sysdump::run(&args),
        Verb::Can(args) => can::run(&args),
        Verb::Matrix(args) => matrix::run(&args),
        Verb::Lab(args) => lab::run(args),
        Verb::Lint(args) => lint::run(&args),
        Verb::Status(args) if cluster::is_meant(&args.cluster) => cluster::status(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Endpoints(args) if cluster::is_meant(&args.cluster) => cluster::endpoints(&args),
        Verb::Endpoints(args) => endpoints::run(&args),
        Verb::Observe(args) if cluster::is_meant(&args.cluster) => cluster::observe(&args),
        Verb::Observe(args) => observe::run(&args),
        Verb::Ct(args) => ct::run(args),
        Verb::Bpf(args) => bpf::run(args),
        Verb::Metadata(verb) => metadata::run(&verb),
        Verb::Version(args) => version::run(&args),
        Verb::Completion(args) => completion::run(&args),
        Verb::Man(args) => man::run(&args),
        Verb::Crds(args) => crds::run(&args),
        Verb::Detach(args) => detach::run(args),
    }
}

/// Puts this thread into a network namespace.
fn enter(name: &str) -> Result<(), Failure> {
    locate::enter(name).map_err(|what| {
        Failure::new(what)
            .at(format!("--netns {name}"))
            .help("`ip netns list` shows those with a name; entering one needs root")
    })
}
