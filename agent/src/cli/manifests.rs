//! Reading manifests for verbs that work offline.

use std::collections::BTreeMap;

use super::failure::{Failure, PLACES, Plain};
use crate::{
    args::{Manifests, Switch},
    compile::{owned_by_cni, without_network_policy},
    index::{self, Details},
    model::{Diagnostic, Snapshot},
    watch::{self, Excerpts},
};

/// Reads them all, or says everything that is wrong with them.
pub(super) fn load(manifests: &Manifests) -> Result<Snapshot, Failure> {
    load_with_details(manifests).map(|(snapshot, _)| snapshot)
}

/// The same, with what no verdict depends on.
pub(super) fn load_with_details(manifests: &Manifests) -> Result<(Snapshot, Details), Failure> {
    let Manifests {
        files,
        ignore_other_kinds,
        network_policy,
    } = manifests;
    let options = watch::Options {
        ignore_other_kinds: *ignore_other_kinds,
    };
    let loaded = index::load_with_details(files, options);
    let (snapshot, details) = loaded.map_err(|diagnostics| failure(&diagnostics))?;
    if *network_policy == Switch::On {
        return Ok((snapshot, details));
    }
    warn(&owned_by_cni(&snapshot));
    Ok((without_network_policy(&snapshot), details))
}

/// Says what is wrong with objects that are in force all the same: each thing once, with everybody whom it is about.
pub(super) fn warn(diagnostics: &[Diagnostic]) {
    let mut excerpts = Excerpts::default();
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for diagnostic in diagnostics {
        let of = places.entry(&diagnostic.message).or_default();
        let shown = (of.len() < PLACES).then(|| excerpts.of_field(diagnostic));
        of.push(match shown.flatten() {
            Some(excerpt) => format!("{}\n{}", place(diagnostic), indented(&excerpt)),
            None => place(diagnostic),
        });
    }
    for (what, places) in places {
        say!(
            "warning: {}\n  {}",
            Plain(what),
            Plain(&places.join("\n  "))
        );
    }
}

/// Where it is, without what it is.
fn place(diagnostic: &Diagnostic) -> String {
    let place = Diagnostic {
        message: String::new(),
        ..diagnostic.clone()
    };
    place.to_string().trim_end_matches(": ").to_owned()
}

fn failure(diagnostics: &[Diagnostic]) -> Failure {
    let what = match diagnostics {
        [one] => one.message.clone(),
        several => format!("{} things are wrong with the manifests", several.len()),
    };
    let mut excerpts = Excerpts::default();
    let mut place = |index: usize, diagnostic: &Diagnostic| {
        let place = match diagnostics {
            [_] => place(diagnostic),
            _ => diagnostic.to_string(),
        };
        // Nobody reads more.
        let shown = (index < PLACES).then(|| excerpts.of(diagnostic)).flatten();
        match shown {
            Some(excerpt) => format!("{place}\n{}", indented(&excerpt)),
            None => place,
        }
    };
    let places = diagnostics.iter().enumerate();
    places.fold(Failure::new(what), |failure, (index, diagnostic)| {
        failure.at(place(index, diagnostic))
    })
}

/// Below a place, which is indented itself.
fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| format!("    {line}"));
    lines.collect::<Vec<_>>().join("\n")
}
