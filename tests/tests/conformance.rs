//! Our own cases always; the public suites where `RINGFENCE_CONFORMANCE` says where they are: everything compiled, and a
//! fixed sample in the kernel. `cargo xtask conformance --kernel` asks the kernel everything.
#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::{env, fs::OpenOptions, io::Write as _, path::PathBuf, process::Command};

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
    ("npapi", 8),
    ("npapi-v6", 12),
    ("policy-assistant", 7),
];

/// Every how-manieth of our own cases the kernel is asked beneath zones.
const BENEATH: usize = 3;

/// The directory of the public suites; without one the test says that it did not run.
fn data(test: &str) -> Option<PathBuf> {
    let data = conformance::data();
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

/// What lies beneath zones that let everything pass means what it always means.
#[test]
fn everything_compiled_beneath_zones_that_pass() {
    let (compiled, mut report) = (Compiled::new().unwrap(), Report::default());
    let mut ask = |suite: Suite, cases: Vec<Case>| {
        for mut case in cases {
            conformance::beneath_zones(&mut case);
            compiled.ask(suite.name, &case, &mut report).unwrap();
        }
    };
    let own = Suite::ALL.iter().copied().find(|suite| suite.is_own());
    ask(own.unwrap(), conformance::own().unwrap());
    if let Some(data) = data("everything_compiled_beneath_zones_that_pass") {
        for suite in public() {
            ask(suite, conformance::load(suite, &data).unwrap());
        }
    }
    good(&report);
}

#[test]
fn a_sample_of_own_cases_in_the_kernel_beneath_zones_that_pass() {
    let mut report = Report::default();
    let cases = conformance::own().unwrap().into_iter();
    let mut cases: Vec<Case> = cases.step_by(BENEATH).collect();
    cases.iter_mut().for_each(conformance::beneath_zones);
    let mut kernel = Kernel::default();
    kernel.ask("own", &cases, &mut report, |_| {}).unwrap();
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

/// Standard output, standard error and exit code of the runner, without public suites.
fn runner(words: &[&str]) -> (String, String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_ringfence-conformance"))
        .args(words)
        .env(conformance::DATA, "")
        .output()
        .unwrap();
    (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
        output.status.code().unwrap(),
    )
}

#[test]
fn the_runner_explains_itself() {
    let (out, err, code) = runner(&["--help"]);
    assert_eq!((err.as_str(), code), ("", 0));
    for word in [
        "Usage:",
        "--kernel",
        "--beneath-zones",
        "--case",
        "--data",
        "Exit codes",
    ] {
        assert!(out.contains(word), "{out}");
    }
}

#[test]
fn an_empty_variable_names_no_suites() {
    let (_, err, code) = runner(&[]);
    assert!(err.contains("the public suites are skipped"), "{err}");
    assert_eq!(code, 0);
    let (_, err, code) = runner(&["cyclonus"]);
    assert!(err.contains("say where the public suites are"), "{err}");
    assert_eq!(code, 2);
}

#[test]
fn a_case_that_is_not_there_is_refused_in_short() {
    let count = conformance::own().unwrap().len();
    let beyond = (count + 1).to_string();
    for wanted in ["0", &beyond, "no-such-case", ""] {
        let (out, err, code) = runner(&["own", "--case", wanted]);
        assert_eq!((out.as_str(), code), ("", 2), "{err}");
        assert!(err.contains(&format!("{count} cases")), "{err}");
        assert!(err.len() < 500, "{err}");
    }
    let (out, err, code) = runner(&["own", "--case", &count.to_string()]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(runner(&["--case", "1"]).2, 2);
    assert_eq!(runner(&["no-such-suite"]).2, 2);
}
