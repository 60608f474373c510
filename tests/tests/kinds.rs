//! The table of refused objects, offline: each is refused with its line, and a caret can be put under what is wrong.

use std::fs;

use ringfence_agent::{index, model::Diagnostic, watch};
use ringfence_tests::refused;

#[test]
fn every_object_of_the_table_is_refused_where_it_is_wrong() {
    let table = refused::table();
    assert!(table.len() >= 40, "{}", table.len());
    let mut wrong = Vec::new();
    for refused in &table {
        assert_eq!(
            refused.why.is_none(),
            refused.server() != "accepted",
            "{}",
            refused.spec
        );
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("m.json");
        let text = serde_json::to_string_pretty(&refused.object()).unwrap();
        fs::write(&file, text).unwrap();
        let says = refused.offline();
        let found = match index::load(&[file], watch::Options::default()) {
            Ok(_) => Vec::new(),
            Err(found) => found,
        };
        let right = |found: &Diagnostic| {
            found.field == refused.field
                && found.message.contains(says)
                && found.origin.line > 0
                && watch::Excerpts::default()
                    .of(found)
                    .is_some_and(|shown| shown.contains('^'))
        };
        if !found.iter().any(right) {
            wrong.push(format!(
                "{}\n  wanted {}: {says}\n  found {found:#?}",
                refused.spec, refused.field
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
