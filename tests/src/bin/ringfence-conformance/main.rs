//! `cargo xtask conformance [SUITE] [--kernel] [--case N] [--data DIR]`: what others say a NetworkPolicy means, asked of
//! the compiler or of the kernel. Exits 1 on any disagreement, 2 where the arguments make no sense.

mod args;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use args::Args;
use clap::Parser as _;
use ringfence_tests::conformance::{Case, Compiled, Kernel, Report, Suite};

fn main() -> ExitCode {
    let args = Args::parse();
    let cases = match args.cases() {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
    };
    match run(args.kernel, &cases) {
        Ok(report) => {
            print!("{report}");
            if report.is_good() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(in_kernel: bool, asked: &[(Suite, Vec<Case>)]) -> Result<Report> {
    let mut report = Report::default();
    let start = Instant::now();
    if in_kernel {
        let mut kernel = Kernel::default();
        for (suite, cases) in asked {
            let mut done = 0;
            kernel.ask(suite.name, cases, &mut report, |_| {
                done += 1;
                if done % 20 == 0 {
                    eprintln!("{}: {done} of {} cases", suite.name, cases.len());
                }
            })?;
        }
    } else {
        let compiled = Compiled::new()?;
        for (suite, cases) in asked {
            for case in cases {
                compiled.ask(suite.name, case, &mut report)?;
            }
        }
    }
    eprintln!("{:.1} s", start.elapsed().as_secs_f64());
    Ok(report)
}
