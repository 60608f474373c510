//! Our own cases always; the public suites where `RINGFENCE_CONFORMANCE` says where they are: everything compiled, and a
//! fixed sample in the kernel. `cargo xtask conformance --kernel` asks the kernel everything.

use std::{env, fs::OpenOptions, io::Write as _, path::PathBuf};

use ringfence_tests::conformance::{self, Case, Compiled, Kernel, Report, Suite};

/// Of which suites, and every how-manieth case of them, the kernel is asked.
const SAMPLE: &[(&str, usize)] = &[
    ("cyclonus", 20),
    ("cyclonus-v6", 40),
    ("cyclonus-nodns", 8),
    ("recipes", 7),
    ("e2e-netpol", 9),
    ("e2e-netpol-v6", 19),
    ("cni-e2e", 3),
    ("knp", 9),
];

/// The directory of the public suites; without one the test says that it did not run.
fn data(test: &str) -> Option<PathBuf> {
    let data = env::var_os("RINGFENCE_CONFORMANCE").map(PathBuf::from);
    if data.is_none() {
        let reason =
            format!("{test}: RINGFENCE_CONFORMANCE does not say where the public suites are\n");
        eprint!("{reason}");
        if let Some(path) = env::var_os("RINGFENCE_SKIPS") {
            let mut file = OpenOptions::new()
                .append(true)
                .open(path)
                .expect("made by the caller");
            file.write_all(reason.as_bytes())
                .expect("it can be written");
        }
    }
    data
}

fn public() -> impl Iterator<Item = Suite> {
    Suite::ALL.iter().copied().filter(|suite| !suite.is_own())
}

fn good(report: &Report) {
    assert!(report.is_good(), "{report}");
    println!("{report}");
}

#[test]
fn own_cases_compiled() {
    let (compiled, mut report) = (Compiled::new().unwrap(), Report::default());
    for case in conformance::own().unwrap() {
        compiled.ask("own", &case, &mut report).unwrap();
    }
    good(&report);
}

#[test]
fn own_cases_in_the_kernel() {
    let mut report = Report::default();
    let cases = conformance::own().unwrap();
    Kernel::default()
        .ask("own", &cases, &mut report, |_| {})
        .unwrap();
    good(&report);
}

#[test]
fn public_suites_compiled() {
    let Some(data) = data("public_suites_compiled") else {
        return;
    };
    let (compiled, mut report) = (Compiled::new().unwrap(), Report::default());
    for suite in public() {
        for case in conformance::load(suite, &data).unwrap() {
            compiled.ask(suite.name, &case, &mut report).unwrap();
        }
    }
    good(&report);
}

#[test]
fn a_sample_of_the_public_suites_in_the_kernel() {
    let Some(data) = data("a_sample_of_the_public_suites_in_the_kernel") else {
        return;
    };
    let (mut kernel, mut report) = (Kernel::default(), Report::default());
    for &(name, every) in SAMPLE {
        let suite = conformance::find(name).unwrap();
        let cases: Vec<Case> = conformance::load(suite, &data)
            .unwrap()
            .into_iter()
            .step_by(every)
            .collect();
        kernel.ask(name, &cases, &mut report, |_| {}).unwrap();
    }
    good(&report);
}
