//! Waits until a pod is protected.

use std::sync::Arc;

use crate::{admin::Shared, locate::Placed, model::PodKey, run::kernel::Progress};

/// Waits until the pod of this sandbox has its hooks, and tables that were made for it.
pub(super) async fn pass(shared: &Arc<Shared>, key: &PodKey, id: &str) {
    let mut placed = shared.placed.clone();
    let mut progress = shared.kernel.progress();
    loop {
        {
            let placed = placed.borrow_and_update();
            let progress = progress.borrow_and_update();
            if let Some(placed) = &*placed
                && is_protected(placed, &progress, key, id)
            {
                return;
            }
        }
        let more = tokio::select! {
            changed = placed.changed() => changed.is_ok(),
            changed = progress.changed() => changed.is_ok(),
        };
        if !more {
            // The agent is stopping: whoever waits here is told by the time that runs out.
            std::future::pending::<()>().await;
        }
    }
}

/// True if the pod of this sandbox need not wait.
pub(super) fn is_open(shared: &Shared, key: &PodKey, id: &str) -> bool {
    let placed = shared.placed.borrow().clone();
    let progress = shared.kernel.progress();
    let progress = progress.borrow();
    placed.is_some_and(|placed| is_protected(&placed, &progress, key, id))
}

/// True if what is in force has this pod at the interface of this sandbox.
fn is_protected(placed: &Placed, progress: &Progress, key: &PodKey, id: &str) -> bool {
    let seen = placed.sandboxes.by_pod.get(key);
    if seen.is_none_or(|sandbox| sandbox.id != id) {
        return false;
    }
    let (Some(pod), Some(located)) = (
        placed.snapshot.pods.get(key),
        placed.snapshot.local.get(key),
    ) else {
        return false;
    };
    let in_force = progress.in_force.as_ref();
    in_force
        .and_then(|desired| desired.endpoints.get(key))
        .is_some_and(|endpoint| {
            endpoint.uid == pod.uid && endpoint.located.ifindex == located.ifindex
        })
}

/// Why the pod is not protected yet, as far as is known.
pub(super) fn reason(shared: &Shared, key: &PodKey) -> String {
    let placed = shared.placed.borrow().clone();
    let Some(placed) = placed else {
        return "not all sources have synced".to_owned();
    };
    if let Some(reason) = placed.unplaced.get(key) {
        return format!("its interface cannot be found: {reason}");
    }
    let progress = shared.kernel.progress();
    let error = progress.borrow().error.clone();
    error.unwrap_or_else(|| "its tables are still being made".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compile::{Desired, Endpoint},
        locate::{Sandbox, Sandboxes},
        model::{Located, Pod, Snapshot},
    };

    fn key() -> PodKey {
        PodKey {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        }
    }

    fn located(ifindex: u32) -> Located {
        Located {
            ifindex,
            interface: format!("veth{ifindex}"),
            hardware_address: None,
            addresses: Vec::new(),
        }
    }

    fn placed(id: &str, uid: &str, ifindex: u32) -> Placed {
        let pod = Pod {
            key: key(),
            uid: uid.to_owned(),
            ..Pod::default()
        };
        let sandbox = Sandbox {
            id: id.to_owned(),
            ..Sandbox::default()
        };
        Placed {
            snapshot: Arc::new(Snapshot {
                pods: [(key(), pod)].into_iter().collect(),
                local: [(key(), located(ifindex))].into_iter().collect(),
                ..Snapshot::default()
            }),
            sandboxes: Arc::new(Sandboxes {
                by_pod: [(key(), sandbox)].into(),
                live: true,
            }),
            ..Placed::default()
        }
    }

    fn progress(uid: &str, ifindex: u32) -> Progress {
        let endpoint = Endpoint {
            uid: uid.to_owned(),
            located: located(ifindex),
            addresses: Default::default(),
            ingress: None,
            egress: None,
            metadata_granted: false,
            cgroup: String::new(),
        };
        let mut desired = Desired::default();
        desired.endpoints.set(key(), endpoint);
        Progress {
            in_force: Some(Arc::new(desired)),
            ..Progress::default()
        }
    }

    #[test]
    fn only_the_pods_own_record_at_its_own_interface_counts() {
        let is =
            |placed: &Placed, progress: &Progress| is_protected(placed, progress, &key(), "s2");
        assert!(is(&placed("s2", "u1", 7), &progress("u1", 7)));
        // The machine has not been looked at since the sandbox came.
        assert!(!is(&placed("s1", "u1", 7), &progress("u1", 7)));
        // The interface of the sandbox before.
        assert!(!is(&placed("s2", "u1", 8), &progress("u1", 7)));
        // The incarnation before.
        assert!(!is(&placed("s2", "u2", 7), &progress("u1", 7)));
        assert!(!is(&placed("s2", "u1", 7), &Progress::default()));
    }
}
