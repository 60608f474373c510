//! How long pods wait until they are enforced.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{locate::Placed, model::PodKey};

/// A pod of this node, and not another one of its name.
type Incarnation = (PodKey, String);

/// Since when pods wait.
#[derive(Debug, Default)]
pub struct Waits {
    /// `None` for those that are not measured, or not any more.
    since: BTreeMap<Incarnation, Option<Instant>>,
    /// Something has been seen already.
    begun: bool,
}

impl Waits {
    /// This is where pods are: those that are new wait from `now` on. What was there from the beginning did not come
    /// under this agent's eyes, and says nothing.
    pub fn placed(&mut self, placed: &Placed, now: Instant) {
        let before = std::mem::take(&mut self.since);
        let local = placed.snapshot.local.keys().chain(placed.unplaced.keys());
        for key in local {
            let uid = placed.snapshot.pods.get(key).map(|pod| pod.uid.clone());
            let pod = (key.clone(), uid.unwrap_or_default());
            let since = match before.get(&pod) {
                Some(since) => *since,
                None => self.begun.then_some(now),
            };
            self.since.insert(pod, since);
        }
        self.begun = true;
    }

    /// What was compiled from this has come into force `at` a time, this long after it was told: how long each of
    /// its pods that waited has done so.
    pub fn in_force(&mut self, of: &Placed, at: Instant, since_told: Duration) -> Vec<Duration> {
        let mut took = Vec::new();
        for key in of.snapshot.local.keys() {
            let uid = of.snapshot.pods.get(key).map(|pod| pod.uid.clone());
            let waiting = self.since.get_mut(&(key.clone(), uid.unwrap_or_default()));
            if let Some(since) = waiting.and_then(Option::take) {
                // Where it was seen late, or at once with its being in force, the state's own time counts.
                took.push(at.saturating_duration_since(since).max(since_told));
            }
        }
        took
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Located, Pod, Snapshot};

    const SECOND: Duration = Duration::from_secs(1);

    fn key(name: &str) -> PodKey {
        PodKey {
            namespace: "t".to_owned(),
            name: name.to_owned(),
        }
    }

    /// (name, UID, found).
    fn placed(pods: &[(&str, &str, bool)]) -> Placed {
        let mut snapshot = Snapshot::default();
        let mut unplaced = BTreeMap::new();
        for &(name, uid, found) in pods {
            let pod = Pod {
                key: key(name),
                uid: uid.to_owned(),
                ..Pod::default()
            };
            snapshot.pods.insert(key(name), pod);
            if found {
                let located = Located {
                    ifindex: 7,
                    interface: "veth7".to_owned(),
                    hardware_address: None,
                    addresses: Vec::new(),
                };
                snapshot.local.insert(key(name), located);
            } else {
                unplaced.insert(key(name), "lost".to_owned());
            }
        }
        Placed {
            snapshot: Arc::new(snapshot),
            unplaced,
            ..Placed::default()
        }
    }

    #[test]
    fn a_pod_that_comes_waits_until_it_is_in_force_and_counts_once() {
        let start = Instant::now();
        let mut waits = Waits::default();
        let old = placed(&[("old", "1", true)]);
        waits.placed(&old, start);
        assert!(waits.in_force(&old, start + SECOND, SECOND).is_empty());

        // It is not found at first: that is a part of its wait.
        let lost = placed(&[("old", "1", true), ("new", "2", false)]);
        waits.placed(&lost, start + 2 * SECOND);
        assert!(waits.in_force(&lost, start + 3 * SECOND, SECOND).is_empty());
        let found = placed(&[("old", "1", true), ("new", "2", true)]);
        waits.placed(&found, start + 4 * SECOND);
        let took = waits.in_force(&found, start + 5 * SECOND, SECOND);
        assert_eq!(took, [3 * SECOND]);
        let again = waits.in_force(&found, start + 6 * SECOND, SECOND);
        assert!(again.is_empty());
    }

    #[test]
    fn another_pod_of_the_name_waits_anew_and_one_that_has_gone_does_not() {
        let start = Instant::now();
        let mut waits = Waits::default();
        waits.placed(&placed(&[]), start);
        let first = placed(&[("a", "1", true)]);
        waits.placed(&first, start);
        let second = placed(&[("a", "2", true)]);
        waits.placed(&second, start + SECOND);
        // What is in force now is of the one that is no more.
        assert!(
            waits
                .in_force(&first, start + 2 * SECOND, SECOND)
                .is_empty()
        );
        let took = waits.in_force(&second, start + 2 * SECOND, 3 * SECOND);
        assert_eq!(took, [3 * SECOND]);
        waits.placed(&placed(&[]), start + 4 * SECOND);
        assert!(waits.since.is_empty());
    }
}
