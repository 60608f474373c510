//! Builds, tests and demonstrates Ringfence: `cargo xtask --help`.
//!
//! One file per verb. What verbs share: [`step`] runs commands and shows progress, [`toolchain`] and
//! [`linker`] find what compiles the kernel half, [`needs`] lists what this machine must have.
//!
//! **Invariant.** Nothing is installed that was not announced before, with the reason.

mod attacks;
mod bench;
mod build;
mod chart;
mod codegen;
mod conformance;
mod demo;
mod doctor;
mod e2e;
mod envtest;
mod fuzz;
mod helm;
mod image;
mod linker;
mod lint;
mod needs;
mod packages;
mod paths;
mod sdk;
mod setup;
mod step;
mod test;
mod toolchain;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

/// Builds, tests and demonstrates Ringfence.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Find what this machine lacks, say what will be installed and why, ask, install it
    Setup(setup::Args),
    /// Show what this machine has and lacks; exit 1 if something essential is missing
    Doctor,
    /// Build the kernel half, then the binary that contains it
    Build(build::Args),
    /// Run the example in a lab of real network namespaces, without and with policy
    Demo {
        /// Passed on to `ringfence lab demo`, such as --keep
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run every test, including those that need root; the last line is the count
    Test(test::Args),
    /// Check formatting, clippy on the host and on the bpf target, and the rules of the house
    Lint,
    /// Run the benchmarks
    Bench {
        /// Passed on to the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Try every known way of a pod to the cloud's metadata service, against each layer of the firewall
    Attacks(attacks::Args),
    /// Ask what others say a NetworkPolicy means, of the compiler or of the kernel
    Conformance(conformance::Args),
    /// Find or build the API server and etcd that tests run against, and print where they are
    Envtest,
    /// Give the packet parser and the judge any bytes for a while, beside naive ones
    Fuzz(fuzz::Args),
    /// Write a container image of a self-contained agent as an OCI archive, without a container engine
    Image(image::Args),
    /// Install image and chart into the cluster that KUBECONFIG names and run Ringfence's own tests there
    E2e(Box<e2e::Args>),
    /// The hosts outside of the cluster in `e2e`; told what to do on standard input
    #[command(hide = true)]
    E2eOutsider,
    /// Generate man pages, shell completions and docs/cli.md from the binary, the kustomize base from the chart
    Codegen(codegen::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Setup(args) => setup::run(args),
        Verb::Doctor => doctor::run(),
        Verb::Build(args) => build::run(args),
        Verb::Demo { args } => demo::run(&args),
        Verb::Test(args) => test::run(args),
        Verb::Lint => lint::run(),
        Verb::Bench { args } => bench::run(&args),
        Verb::Attacks(args) => attacks::run(args),
        Verb::Conformance(args) => conformance::run(args),
        Verb::Envtest => envtest::run(),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Image(args) => image::run(&args),
        Verb::E2e(args) => e2e::run(&args),
        Verb::E2eOutsider => e2e::outsider::run().map(|()| ExitCode::SUCCESS),
        Verb::Codegen(args) => codegen::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
