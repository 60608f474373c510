//! What manifests say that is allowed and yet is hardly meant.
//!
//! Pure: a [`Snapshot`] and what its manifests say beside it to [`Finding`]s. Each family of findings has its file.
//!
//! **Invariant.** What a flow's verdict would be is asked of [`compile::Asker`], never worked out here.

mod cluster;
mod codes;
mod covered;
mod membership;
mod names;
mod probes;
mod rules;
mod scene;
mod selectors;
mod services;
mod tenants;
mod zones;

use std::collections::BTreeMap;

use serde::Serialize;

pub use self::{codes::*, covered::Denials, membership::membership};
use crate::{
    compile::Asker,
    index::Details,
    model::{Diagnostic, Snapshot},
};

/// Something that is hardly meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is an instance of.
    pub code: &'static Code,
    /// Where it is; its message says what it is.
    pub what: Diagnostic,
    /// What to do about it, if there is more to say than of all of its code.
    pub help: Option<String>,
}

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `ZF` and a number that stays its own.
    pub id: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What it means and what to do.
    pub help: &'static str,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It does something else than it says.
    Error,
    /// It may do something else than is meant.
    Warning,
    /// Good to know.
    Note,
}

impl Level {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What is looked at.
struct Look<'a> {
    snapshot: &'a Snapshot,
    details: &'a Details,
    asker: Asker<'a>,
}

/// All findings, by place.
#[must_use]
pub fn lint(snapshot: &Snapshot, details: &Details) -> Vec<Finding> {
    let look = Look {
        snapshot,
        details,
        asker: Asker::new(snapshot),
    };
    let families: [fn(&Look<'_>) -> Vec<Finding>; 10] = [
        names::find,
        zones::find,
        membership::find,
        tenants::find,
        selectors::find,
        rules::find,
        cluster::find,
        probes::find,
        services::find,
        scene::without_dns,
    ];
    let mut all: Vec<Finding> = families.into_iter().flat_map(|find| find(&look)).collect();
    all.sort_by(|one, other| {
        let key = |it: &Finding| (it.what.clone(), it.code.id);
        key(one).cmp(&key(other))
    });
    all.dedup();
    all
}

/// How many there are of each level.
#[must_use]
pub fn count(findings: &[Finding]) -> BTreeMap<Level, usize> {
    let mut count = BTreeMap::new();
    for finding in findings {
        *count.entry(finding.code.level).or_default() += 1;
    }
    count
}

impl Look<'_> {
    /// A finding at an object's field.
    fn finding(
        &self,
        code: &'static Code,
        object: &str,
        field: &str,
        message: impl Into<String>,
    ) -> Finding {
        let what = Diagnostic {
            message: message.into(),
            ..self.details.place(object, field)
        };
        Finding {
            code,
            what,
            help: None,
        }
    }
}
