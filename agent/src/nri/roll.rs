//! Which sandboxes there are, as the runtime tells it. Pure.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    locate::{Sandbox, Sandboxes},
    model::PodKey,
};

/// The sandboxes, and which of them started under our eyes.
#[derive(Debug, Default)]
pub(super) struct Roll {
    sandboxes: Arc<Sandboxes>,
    /// Ids of sandboxes that were asked about, or told of before.
    known: BTreeSet<String>,
    /// Ids of sandboxes that need not wait for the sources' own word any more.
    admitted: BTreeSet<String>,
    /// The parts of a list that came so far.
    arriving: Vec<(PodKey, Sandbox)>,
}

impl Roll {
    pub fn sandboxes(&self) -> Arc<Sandboxes> {
        Arc::clone(&self.sandboxes)
    }

    /// A part of the list of what runs. After the last one: the pods that started unwatched.
    pub fn list(&mut self, part: Vec<(PodKey, Sandbox)>, more: bool) -> Option<Vec<PodKey>> {
        self.arriving.extend(part);
        if more {
            return None;
        }
        let all = std::mem::take(&mut self.arriving);
        let unwatched = all
            .iter()
            .filter(|(_, sandbox)| !self.known.contains(&sandbox.id))
            .map(|(key, _)| key.clone())
            .collect();
        self.known = all.iter().map(|(_, sandbox)| sandbox.id.clone()).collect();
        self.admitted.retain(|id| self.known.contains(id));
        self.sandboxes = Arc::new(Sandboxes {
            by_pod: all.into_iter().collect(),
            live: true,
        });
        Some(unwatched)
    }

    /// A new sandbox; it takes the place of an earlier one of its pod.
    pub fn runs(&mut self, key: PodKey, sandbox: Sandbox) {
        self.known.insert(sandbox.id.clone());
        Arc::make_mut(&mut self.sandboxes)
            .by_pod
            .insert(key, sandbox);
    }

    /// A sandbox has passed the gate.
    pub fn admit(&mut self, id: &str) {
        self.admitted.insert(id.to_owned());
    }

    /// True if the sandbox has passed the gate.
    pub fn is_admitted(&self, id: &str) -> bool {
        self.admitted.contains(id)
    }

    /// A sandbox has ended. Its pod may have a new one already.
    pub fn ended(&mut self, id: &str) {
        self.known.remove(id);
        self.admitted.remove(id);
        if self
            .sandboxes
            .by_pod
            .values()
            .any(|sandbox| sandbox.id == id)
        {
            let sandboxes = Arc::make_mut(&mut self.sandboxes);
            sandboxes.by_pod.retain(|_, sandbox| sandbox.id != id);
        }
    }

    /// The runtime is away. What it told helps to find pods, and speaks for none any more.
    pub fn lost(&mut self) {
        self.arriving.clear();
        if self.sandboxes.live {
            Arc::make_mut(&mut self.sandboxes).live = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::sandbox::{read, tests::pod},
        *,
    };

    fn sandbox(id: &str, name: &str) -> (PodKey, Sandbox) {
        read(&pod(id, name)).unwrap()
    }

    fn ids(roll: &Roll) -> Vec<&str> {
        let sandboxes = roll.sandboxes.by_pod.values();
        sandboxes.map(|sandbox| sandbox.id.as_str()).collect()
    }

    #[test]
    fn a_list_in_parts_counts_as_a_whole_and_tells_who_started_unwatched() {
        let mut roll = Roll::default();
        assert_eq!(roll.list(vec![sandbox("s1", "a")], true), None);
        assert!(!roll.sandboxes.live && ids(&roll).is_empty());
        let unwatched = roll.list(vec![sandbox("s2", "b")], false).unwrap();
        assert_eq!(unwatched.len(), 2);
        assert!(roll.sandboxes.live);
        assert_eq!(ids(&roll), ["s1", "s2"]);

        let (key, new) = sandbox("s3", "c");
        roll.runs(key, new);
        roll.lost();
        assert!(!roll.sandboxes.live);
        assert_eq!(ids(&roll), ["s1", "s2", "s3"]);
        let list = vec![sandbox("s2", "b"), sandbox("s3", "c"), sandbox("s4", "d")];
        let unwatched = roll.list(list, false).unwrap();
        assert_eq!(unwatched, [sandbox("s4", "d").0]);
        assert_eq!(ids(&roll), ["s2", "s3", "s4"]);
    }

    #[test]
    fn the_end_of_an_earlier_sandbox_does_not_end_its_pods_new_one() {
        let mut roll = Roll::default();
        for id in ["s1", "s2"] {
            let (key, new) = sandbox(id, "a");
            roll.runs(key, new);
        }
        roll.ended("s1");
        assert_eq!(ids(&roll), ["s2"]);
        roll.ended("s2");
        assert!(ids(&roll).is_empty());
    }
}
