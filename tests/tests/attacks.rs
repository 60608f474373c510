//! The attack suite in its short form: every technique against all layers, and against none, which proves that it works.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ringfence_tests::attacks::{Column, Options, run, techniques};

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

#[test]
fn the_threat_model_names_every_technique_and_no_other() {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/threat-model.md"))
            .expect("the page is there");
    // In the tables' last column, and where the text says what is not promised.
    let said: BTreeSet<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with(|it: char| it.is_ascii_lowercase() || it == '6'))
        .filter(|word| {
            word.chars()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-')
        })
        .collect();
    let known: BTreeSet<&str> = techniques().map(|technique| technique.name).collect();
    let missing: Vec<_> = known.difference(&said).collect();
    assert!(missing.is_empty(), "no promise or limit names {missing:?}");
    let unknown: Vec<_> = said
        .difference(&known)
        .filter(|word| !["dropped", "baseline"].contains(word))
        .collect();
    assert!(
        unknown.is_empty(),
        "the page names {unknown:?}, which there are not"
    );
}

#[test]
fn the_attack_program_knows_nothing_of_what_it_attacks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/ringfence-attack");
    let files = fs::read_dir(folder).expect("the program is there");
    for file in files.flatten() {
        let text = fs::read_to_string(file.path()).expect("a source file");
        for word in ["ringfence_", "aya"] {
            assert!(!text.contains(word), "{}: {word}", file.path().display());
        }
    }
}
