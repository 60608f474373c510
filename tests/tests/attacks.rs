//! The attack suite in its short form: every technique against all layers, and against none, which proves that it works.

use std::path::PathBuf;

use ringfence_tests::attacks::{Column, Options, run};

#[test]
fn nothing_reaches_the_metadata_service_and_whoever_is_granted_does() {
    let options = Options {
        program: PathBuf::from(env!("CARGO_BIN_EXE_ringfence-attack")),
        only: None,
        columns: vec![Column::All, Column::None],
        at_once: 2,
    };
    let matrix = run(&options, |line| eprintln!("{line}")).expect("the labs obey");
    let wrong = matrix.wrong();
    assert!(wrong.is_empty(), "{}\n\n{matrix}", wrong.join("\n"));
}
