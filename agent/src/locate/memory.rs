//! Where pods were found before, and how long that counts. Pure.
//!
//! Much of what a pod is found by is learned and forgotten again (neighbours, ports of bridges), or is ambiguous for a while:
//! that a pod is not found once more does not say that it has moved.
//!
//! **Invariants.** A pod stays where it was found while it is the same pod, its interface is the same end of the same pair, and
//! nobody has a stronger claim on it. What says that the pod is elsewhere (another place, another sandbox) ends that at once.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    claims::{self, Claim, Proof},
    netlink::Stack,
    search::Sought,
};
use crate::model::{Located, Place, PodKey};

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
    /// Each pod's interface, or why there is none.
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
    ) -> Found {
        self.look_after(sought, node);
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
                Err(reason) => {
                    by_pod.insert(key, Err(reason));
                }
            }
        }
        Found { by_pod, incomplete }
    }

    /// Forgets who is another pod or elsewhere by now, and whose interface has gone or is somebody else's.
    fn look_after(&mut self, sought: &BTreeMap<PodKey, Sought>, node: &Stack) {
        self.by_pod.retain(|key, known| {
            End::of(known.located.ifindex, node) == Some(known.end)
                && sought.get(key).is_some_and(|pod| known.is_of(pod))
        });
    }

    /// The claims of before that still count.
    fn kept(&self, sought: &BTreeMap<PodKey, Sought>, node: &Stack) -> BTreeMap<PodKey, Claim> {
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
        self.by_pod.iter().filter_map(claim).collect()
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
        };
        self.by_pod.insert(key.clone(), known);
    }
}

#[cfg(test)]
mod tests;
