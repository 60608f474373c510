//! Whose word about places counts.
//!
//! Who may create pods in a cluster is not who runs its nodes. The annotations that say where a pod is (its network
//! namespace, its device, its cgroup) would let any author of a pod put another pod's device, or the node's own, under
//! policies of their choice.

use super::{Batch, Event, Object, Read};
use crate::model::PLACE_ANNOTATIONS;

/// Whether objects of the Kubernetes API may say where pods are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Places {
    /// They may not: what they say is dropped.
    #[default]
    Ignored,
    /// They may: whoever creates pods also runs the nodes, as in tests and labs.
    Trusted,
}

// === impl Places ===

impl Places {
    /// Drops from what was read what it may not say.
    pub(super) fn hold_to(self, batch: &mut Batch) {
        for event in batch {
            if let Event::Apply(read) = event {
                self.hold(read);
            }
        }
    }

    fn hold(self, read: &mut Read) {
        if self == Self::Ignored
            && let Object::Pod(pod) = &mut read.object
            && let Some(annotations) = &mut pod.metadata.annotations
        {
            annotations.retain(|key, _| !PLACE_ANNOTATIONS.contains(&key.as_str()));
        }
    }
}
