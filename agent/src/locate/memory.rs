//! Where pods were found before, and how long that counts. Pure.
//!
//! Much of what a pod is found by is learned and forgotten again (neighbours, ports of bridges), or is ambiguous for a while:
//! that a pod is not found once more does not say that it has moved.
//!
//! **Invariants.** A pod stays where it was found while it is the same pod, its interface is the same end of the same pair, and
//! nobody has a stronger claim on it. What says that the pod is elsewhere (another place, another sandbox) ends that at once.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    claims::{self, Claim, Proof},
    netlink::Stack,
    search::Sought,
};
use crate::model::{Located, Place, PodKey};

/// A pod that ends loses its interface before anybody says so. One that is there longer without it is told of.
pub(super) const ENDING: Duration = Duration::from_secs(5);

/// Where each pod was found last.
#[derive(Debug, Default)]
pub(super) struct Memory {
    by_pod: BTreeMap<PodKey, Known>,
}

/// Where a pod was found last, and by what.
#[derive(Debug)]
struct Known {
    uid: String,
    place: Option<Place>,
    sandbox: Option<PathBuf>,
    located: Located,
    proof: Proof,
    end: End,
    /// Since when there is no such interface.
    gone: Option<Instant>,
}

/// What makes an interface the one that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    peer: Option<u32>,
    peer_netns: Option<i32>,
    leads_out: bool,
}

impl End {
    fn of(ifindex: u32, node: &Stack) -> Option<Self> {
        node.links.get(&ifindex).map(|link| Self {
            peer: link.peer,
            peer_netns: link.peer_netns,
            leads_out: node.leading_out.contains(&ifindex),
        })
    }
}

impl Known {
    /// True while nothing says that the pod is another one or elsewhere.
    fn is_of(&self, pod: &Sought) -> bool {
        let moved = pod.sandbox.is_some() && self.sandbox.is_some() && pod.sandbox != self.sandbox;
        self.uid == pod.uid && self.place == pod.place && !moved
    }
}

/// Where pods are, as of one round.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Each pod's interface, or why there is none. Pods that are ending are not among them.
    pub by_pod: BTreeMap<PodKey, Result<Located, String>>,
    /// Somebody was not found, or not found again.
    pub incomplete: bool,
}

impl Memory {
    /// Decides where these pods are by what was found of them `now` and before.
    pub fn settle(
        &mut self,
        claims: BTreeMap<PodKey, Result<Claim, String>>,
        sought: &BTreeMap<PodKey, Sought>,
        node: &Stack,
        now: Instant,
    ) -> Found {
        self.look_after(sought, node, now);
        let kept = self.kept(sought, node);
        let held: BTreeMap<u32, PodKey> = kept
            .iter()
            .map(|(key, claim)| (claim.located.ifindex, key.clone()))
            .collect();
        for (key, reason) in &claims {
            if let (Err(reason), true) = (reason, kept.contains_key(key)) {
                tracing::debug!(pod = %key, reason, "not found again; it stays where it was");
            }
        }
        let mut incomplete = claims.values().any(Result::is_err);
        let settled = claims::settle(claims, kept, &held);
        incomplete |= settled.values().any(Result::is_err);
        let mut by_pod = BTreeMap::new();
        for (key, result) in settled {
            let Some(pod) = sought.get(&key) else {
                continue;
            };
            match result {
                Ok(claim) => {
                    self.note(&key, pod, &claim, node);
                    by_pod.insert(key, Ok(claim.located));
                }
                Err(reason) if self.is_ending(&key, pod, now) => {
                    tracing::debug!(pod = %key, reason, "its interface has gone; it is ending");
                }
                Err(reason) => {
                    by_pod.insert(key, Err(reason));
                }
            }
        }
        Found { by_pod, incomplete }
    }

    /// Forgets who is another pod or elsewhere by now, and whose interface is somebody else's; notes whose has gone.
    fn look_after(&mut self, sought: &BTreeMap<PodKey, Sought>, node: &Stack, now: Instant) {
        self.by_pod.retain(|key, known| {
            match End::of(known.located.ifindex, node) {
                Some(end) if known.gone.is_some() || end != known.end => return false,
                Some(_) => {}
                None => {
                    known.gone.get_or_insert(now);
                }
            }
            sought.get(key).is_some_and(|pod| known.is_of(pod))
        });
    }

    /// The claims of before that still count.
    fn kept(&self, sought: &BTreeMap<PodKey, Sought>, node: &Stack) -> BTreeMap<PodKey, Claim> {
        let is_there = |(_, known): &(&PodKey, &Known)| known.gone.is_none();
        let claim = |(key, known): (&PodKey, &Known)| {
            let link = node.links.get(&known.located.ifindex)?;
            let located = Located {
                // Interfaces are renamed.
                interface: link.name.clone(),
                ..known.located.clone()
            };
            let claim = Claim {
                located,
                proof: known.proof,
                terminating: sought.get(key)?.terminating,
            };
            Some((key.clone(), claim))
        };
        self.by_pod
            .iter()
            .filter(is_there)
            .filter_map(claim)
            .collect()
    }

    fn note(&mut self, key: &PodKey, pod: &Sought, claim: &Claim, node: &Stack) {
        let Some(end) = End::of(claim.located.ifindex, node) else {
            return;
        };
        let before = self.by_pod.remove(key);
        let sandbox = pod
            .sandbox
            .clone()
            .or_else(|| before.and_then(|before| before.sandbox));
        let known = Known {
            uid: pod.uid.clone(),
            place: pod.place.clone(),
            sandbox,
            located: claim.located.clone(),
            proof: claim.proof,
            end,
            gone: None,
        };
        self.by_pod.insert(key.clone(), known);
    }

    /// True for a pod whose interface has gone: for good if it is told to go, else for a moment.
    fn is_ending(&self, key: &PodKey, pod: &Sought, now: Instant) -> bool {
        let gone = self.by_pod.get(key).and_then(|known| known.gone);
        gone.is_some_and(|gone| pod.terminating || now.duration_since(gone) < ENDING)
    }
}

#[cfg(test)]
mod tests;
