//! What a node is like before Ringfence runs there, or while it does: what is in the way, what to mind.
//!
//! [`gather`] looks at the machine and makes [`Facts`]; each finding has a file that judges them and does nothing else.
//!
//! **Invariants.** Nothing is changed. What could not be seen is said, never taken for absent. Every finding says what
//! to do next.

mod bpffs;
mod cgroup;
mod cni;
mod facts;
mod gather;
mod kernel;
mod marks;
mod metadata;
mod name_service;
mod privileges;
mod programs;

use serde::{Deserialize, Serialize};

pub use cni::policy_enforcer;
pub use facts::{
    CniFile, Device, Facts, MarkUser, Mount, Privileges, Program, Release, Rules, Seen, Side,
};
pub use gather::{Look, gather};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Fine,
    /// Ringfence works; something is to be known or to be done.
    Warning,
    /// Ringfence would not enforce what policies say.
    Blocking,
}

impl Level {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Warning => "warning",
            Self::Blocking => "blocking",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at: a word that stays the same from version to version.
    pub check: String,
    /// What was seen.
    pub message: String,
    /// What to do next.
    pub next: String,
}

impl Finding {
    fn new(level: Level, check: &str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            level,
            check: check.to_owned(),
            message: message.into(),
            next: next.into(),
        }
    }

    fn fine(check: &str, message: impl Into<String>) -> Self {
        Self::new(Level::Fine, check, message, "nothing to do")
    }

    fn warning(check: &str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Level::Warning, check, message, next)
    }

    fn blocking(check: &str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Level::Blocking, check, message, next)
    }
}

/// Judges the facts, in the order in which a reader wants to know.
#[must_use]
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let checks: [fn(&Facts) -> Vec<Finding>; 9] = [
        privileges::check,
        kernel::check,
        bpffs::check,
        cgroup::check,
        cni::check,
        programs::check,
        marks::check,
        metadata::check,
        name_service::check,
    ];
    checks.iter().flat_map(|check| check(facts)).collect()
}

/// The worst of them.
#[must_use]
pub fn worst(findings: &[Finding]) -> Level {
    findings
        .iter()
        .map(|finding| finding.level)
        .max()
        .unwrap_or(Level::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_node_has_no_complaints_and_every_finding_says_what_to_do() {
        let good = findings(&Facts::good());
        assert_eq!(worst(&good), Level::Fine, "{good:#?}");
        let bare = findings(&Facts::default());
        assert_eq!(worst(&bare), Level::Blocking, "{bare:#?}");
        for finding in good.iter().chain(&bare) {
            assert!(!finding.message.is_empty() && !finding.next.is_empty());
        }
        assert_eq!(worst(&[]), Level::Fine);
    }
}
