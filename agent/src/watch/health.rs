//! How current each kind is: what a source that reads from far away says about itself.
//!
//! **Invariant.** A kind counts as current from what was last heard of it, never from there being no error:
//! silence ages.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::Kind;

/// How current each kind is. Empty for a source that reads files.
#[derive(Debug, Default)]
pub struct Health {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    kinds: BTreeMap<Kind, KindHealth>,
    recalled: Option<SystemTime>,
}

/// How current a kind is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KindHealth {
    /// All of its objects have been read.
    pub synced: bool,
    /// When the source last gave proof that nothing is missing.
    pub heard: Option<SystemTime>,
    /// Requests that failed.
    pub errors: u64,
    /// What is wrong now.
    pub trouble: Option<String>,
}

impl Health {
    /// The source will tell of these kinds.
    pub fn expect(&self, kinds: &[Kind]) {
        let mut inner = self.lock();
        for &kind in kinds {
            inner.kinds.entry(kind).or_default();
        }
    }

    /// There was proof that nothing of this kind is missing.
    pub fn heard(&self, kind: Kind) {
        let mut inner = self.lock();
        let health = inner.kinds.entry(kind).or_default();
        health.heard = Some(SystemTime::now());
        health.trouble = None;
    }

    /// All objects of this kind have been read.
    pub fn synced(&self, kind: Kind) {
        self.lock().kinds.entry(kind).or_default().synced = true;
        self.heard(kind);
    }

    /// A request failed and will be tried again; `None`: in the ordinary course of things.
    pub fn failed(&self, kind: Kind, trouble: Option<String>) {
        let mut inner = self.lock();
        let health = inner.kinds.entry(kind).or_default();
        health.errors += 1;
        if trouble.is_some() {
            health.trouble = trouble;
        }
    }

    /// The state in force was recalled from disk; it was written then.
    pub fn recalled(&self, written: SystemTime) {
        self.lock().recalled = Some(written);
    }

    /// When the state was written that was recalled from disk, and the kinds for which it still holds.
    #[must_use]
    pub fn from_disk(&self) -> Option<(SystemTime, Vec<Kind>)> {
        let inner = self.lock();
        let written = inner.recalled?;
        let kinds = inner.kinds.iter().filter(|(_, health)| !health.synced);
        let kinds: Vec<Kind> = kinds.map(|(kind, _)| *kind).collect();
        (!kinds.is_empty()).then_some((written, kinds))
    }

    /// True if all kinds that the source tells of have been read.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.lock().kinds.values().all(|health| health.synced)
    }

    /// All of it.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<Kind, KindHealth> {
        self.lock().kinds.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is one assignment: there is nothing half-done to fear.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_from_disk_is_told_until_the_last_kind_was_read() {
        let health = Health::default();
        health.expect(&[Kind::Pod, Kind::NetworkPolicy]);
        assert_eq!(health.from_disk(), None);
        health.recalled(SystemTime::UNIX_EPOCH);
        health.synced(Kind::Pod);
        let left = vec![Kind::NetworkPolicy];
        assert_eq!(health.from_disk(), Some((SystemTime::UNIX_EPOCH, left)));
        assert!(!health.is_synced());
        health.synced(Kind::NetworkPolicy);
        assert_eq!(health.from_disk(), None);
        assert!(health.is_synced());
    }

    #[test]
    fn trouble_lasts_until_something_is_heard() {
        let health = Health::default();
        health.failed(Kind::Pod, Some("refused".to_owned()));
        health.failed(Kind::Pod, None);
        let pod = health.kinds()[&Kind::Pod].clone();
        assert_eq!(
            (pod.errors, pod.trouble.as_deref(), pod.heard),
            (2, Some("refused"), None)
        );
        health.heard(Kind::Pod);
        let pod = health.kinds()[&Kind::Pod].clone();
        assert!(pod.trouble.is_none() && pod.heard.is_some() && pod.errors == 2);
    }
}
