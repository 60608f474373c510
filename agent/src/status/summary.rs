//! What is to be said of one object: pure, from what the agent that writes knows and what all agents report.
//!
//! **Invariant.** `Programmed` is true only where every node that should have this very version says that its kernel has it.

mod aspects;

use std::collections::BTreeMap;

use super::{
    condition::{Said, Truth},
    fleet::{Realized, Roll},
};
use crate::{
    api::version_print,
    compile::Census,
    lint::Denials,
    model::{Diagnostic, Snapshot},
    watch::{Kind, ObjectKey, Versions},
};

/// As many of the things that are wrong are said.
const SHOWN: usize = 3;
/// The condition that says whether a version can be used.
const ACCEPTED: &str = "Accepted";
/// The reason of what cannot be said of a version that cannot be used.
const NOT_ACCEPTED: &str = "NotAccepted";

/// What the agent that writes knows.
pub(super) struct View<'a> {
    pub snapshot: &'a Snapshot,
    /// What is wrong, by object.
    pub findings: &'a BTreeMap<String, Vec<Diagnostic>>,
    pub census: &'a BTreeMap<String, Census>,
    pub nodes: &'a Roll<'a>,
    pub denials: &'a Denials<'a>,
    /// Zones are enforced at nodes themselves too.
    pub host_enforced: bool,
}

/// What is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub said: Vec<Said>,
    pub realized: Realized,
    /// Rules that count, of kinds that have rules.
    pub rules: Option<usize>,
    /// Of a zone.
    pub members: Option<Census>,
}

impl Summary {
    /// True if every node that should have it has it.
    pub const fn is_everywhere(&self) -> bool {
        self.realized.desired > 0 && self.realized.realized == self.realized.desired
    }

    /// True if this version can be used at all.
    pub fn is_usable(&self) -> bool {
        let mut said = self.said.iter();
        said.any(|it| it.kind == ACCEPTED && it.truth == Truth::Yes)
    }
}

/// Sums up; `young` if nodes had hardly time to see this version.
pub(super) fn summarize(
    key: &ObjectKey,
    versions: &Versions,
    view: &View<'_>,
    young: bool,
) -> Summary {
    let kind = key.kind.as_str();
    let latest = &versions.latest;
    let print = version_print(kind, &key.name, &latest.uid, latest.generation);
    let realized = view.nodes.realized(&print);
    let accepted = accepted(key, versions, view);
    let usable = accepted.truth == Truth::Yes;
    let programmed = programmed(versions, usable, &realized, young);

    let resolved = aspects::resolved(key, view, usable);
    let mut said = vec![accepted];
    said.extend(resolved);
    let enforcing = aspects::enforcing(key, view, usable, &programmed);
    said.push(programmed);
    said.insert(0, ready(&said));
    said.push(enforcing);
    let members = match key.kind {
        Kind::SecurityZone => {
            let members = view.census.get(&key.name).cloned().unwrap_or_default();
            said.extend(aspects::membership(&members));
            Some(members)
        }
        _ => None,
    };
    said.extend(aspects::expired(key, view));
    said.extend(aspects::effective(key, view));
    Summary {
        said,
        realized,
        rules: aspects::rules(key, view),
        members,
    }
}

fn accepted(key: &ObjectKey, versions: &Versions, view: &View<'_>) -> Said {
    const KIND: &str = ACCEPTED;
    if versions.accepted.as_ref() == Some(&versions.latest) {
        return Said::new(
            KIND,
            Truth::Yes,
            "Accepted",
            aspects::warning(key, view.snapshot),
        );
    }
    let none = Vec::new();
    let found = view.findings.get(&key.to_string()).unwrap_or(&none);
    let wrong: Vec<&Diagnostic> = found.iter().filter(|it| !it.field.is_empty()).collect();
    let reason = if wrong
        .iter()
        .any(|it| it.reason() == Diagnostic::NOT_SUPPORTED)
    {
        Diagnostic::NOT_SUPPORTED
    } else {
        "Invalid"
    };
    let shown = wrong.iter().take(SHOWN);
    let mut words: Vec<String> = shown
        .map(|it| format!("{}: {}", it.field, it.message))
        .collect();
    if wrong.len() > SHOWN {
        words.push(format!("and {} more", wrong.len() - SHOWN));
    }
    // What is in force instead.
    let whole = found.iter().filter(|it| it.field.is_empty());
    words.extend(whole.map(|it| it.message.clone()));
    Said::new(KIND, Truth::No, reason, words.join("; "))
}

fn programmed(versions: &Versions, usable: bool, realized: &Realized, young: bool) -> Said {
    let said = |truth, reason, message: String| Said::new("Programmed", truth, reason, message);
    let Realized {
        desired,
        realized,
        waiting,
        failed,
    } = realized;
    if !usable {
        let message = versions.accepted.as_ref().map_or_else(
            || "no version of it is in force".to_owned(),
            |before| format!("generation {} of it stays in force", before.generation),
        );
        return said(Truth::No, NOT_ACCEPTED, message);
    }
    if *desired == 0 {
        return said(
            Truth::Unknown,
            "NodesPending",
            "no node has reported yet".to_owned(),
        );
    }
    let count = format!("{realized}/{desired}");
    if realized == desired {
        return said(Truth::Yes, "Programmed", count);
    }
    if let Some((node, error)) = failed {
        let message = format!("{count}, waiting: {waiting}; {node}: {error}");
        return said(Truth::No, "ProgrammingFailed", message);
    }
    let truth = if young && *realized == 0 {
        Truth::Unknown
    } else {
        Truth::No
    };
    said(
        truth,
        "NodesPending",
        format!("{count}, waiting: {waiting}"),
    )
}

/// The sum: what fails first, else what is not known yet.
fn ready(said: &[Said]) -> Said {
    let first = |truth| said.iter().find(|it| it.truth == truth);
    let failing = first(Truth::No).or_else(|| first(Truth::Unknown));
    match failing {
        None => Said::new("Ready", Truth::Yes, "Ready", ""),
        Some(it) => {
            let message = format!("{}: {}", it.kind, it.message);
            Said::new("Ready", it.truth, it.reason, message)
        }
    }
}

#[cfg(test)]
mod tests;
