//! Reading manifests for verbs that work offline.

use std::path::PathBuf;

use super::failure::Failure;
use crate::{
    index,
    model::{Diagnostic, Snapshot},
    watch,
};

/// Reads them all, or says everything that is wrong with them.
pub(super) fn load(files: &[PathBuf]) -> Result<Snapshot, Failure> {
    index::load(files, watch::Options::default()).map_err(|diagnostics| failure(&diagnostics))
}

fn failure(diagnostics: &[Diagnostic]) -> Failure {
    let what = match diagnostics {
        [one] => one.message.clone(),
        several => format!("{} things are wrong with the manifests", several.len()),
    };
    let place = |diagnostic: &Diagnostic| match diagnostics {
        [_] => Diagnostic {
            message: String::new(),
            ..diagnostic.clone()
        }
        .to_string()
        .trim_end_matches(": ")
        .to_owned(),
        _ => diagnostic.to_string(),
    };
    diagnostics
        .iter()
        .fold(Failure::new(what), |failure, diagnostic| {
            failure.at(place(diagnostic))
        })
}
