//! `cargo xtask conformance [SUITE] [--kernel] [--case N] [--data DIR]`: what others say a NetworkPolicy means, asked of
//! the compiler or of the kernel. Exits 1 on any disagreement, 2 where the arguments make no sense.

mod args;

use std::{process::ExitCode, time::Instant};

use anyhow::Result;
use args::{Args, BadArgs};
use ringfence_tests::conformance::{Compiled, Kernel, Report};

fn main() -> ExitCode {
    let args = match Args::read(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(BadArgs(message)) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
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

fn run(args: &Args) -> Result<Report> {
    let mut report = Report::default();
    let start = Instant::now();
    if args.kernel {
        let mut kernel = Kernel::default();
        for (suite, cases) in &args.cases {
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
        for (suite, cases) in &args.cases {
            for case in cases {
                compiled.ask(suite.name, case, &mut report)?;
            }
        }
    }
    eprintln!("{:.1} s", start.elapsed().as_secs_f64());
    Ok(report)
}
