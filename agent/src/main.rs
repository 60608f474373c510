//! The one binary: agent, command line, lab, and kubectl plugin (`kubectl-ringfence`, by its own name).

use std::process::ExitCode;

fn main() -> ExitCode {
    ringfence_agent::cli::main()
}
