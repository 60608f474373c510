//! What is refused and why, what is defaulted, and what stays in force.

mod invalid;
mod kept;
mod order;
mod state;
mod valid;
mod zones;

use super::*;
use crate::watch::Options;

/// Reads a text as the offline commands do; file names in messages are without their directory.
fn read(text: &str) -> Result<Snapshot, Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m.yaml");
    std::fs::write(&file, text).unwrap();
    let prefix = format!("{}/", directory.path().display());
    let plain = |diagnostic: &Diagnostic| diagnostic.to_string().replace(&prefix, "");
    load(&[file], Options::default()).map_err(|found| found.iter().map(plain).collect())
}

/// The good objects of a text.
fn objects(text: &str) -> Vec<Read> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m.yaml");
    std::fs::write(&file, text).unwrap();
    let mut reads = watch::load(&[file], Options::default()).unwrap();
    for read in &mut reads {
        read.origin.file = "m.yaml".to_owned();
    }
    reads
}

/// The message that says what is in force instead.
fn in_force(index: &Index) -> String {
    let found = index.diagnostics();
    found
        .into_iter()
        .find(|found| found.field.is_empty())
        .unwrap()
        .message
}
