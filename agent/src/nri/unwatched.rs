//! Counts the pods that started while the runtime asked nobody.

use std::{sync::Arc, time::Duration};

use crate::{
    admin::Shared,
    locate::{Placed, Sandboxes},
    model::PodKey,
    run::kernel::Inherited,
};

/// How long it may take until these pods are found: the sources may be away.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until these pods are found, then counts those that no earlier agent had guarded.
pub(super) async fn count(shared: Arc<Shared>, pods: Vec<PodKey>, listed: Arc<Sandboxes>) {
    let mut inherited = shared.kernel.inherited();
    let inherited = loop {
        if let Some(inherited) = &*inherited.borrow_and_update() {
            break Arc::clone(inherited);
        }
        if inherited.changed().await.is_err() {
            return;
        }
    };
    let mut placed = shared.placed.clone();
    let all_found = |placed: &Option<Arc<Placed>>| {
        placed.as_ref().is_some_and(|placed| {
            Arc::ptr_eq(&placed.sandboxes, &listed)
                || pods
                    .iter()
                    .all(|pod| placed.snapshot.local.contains_key(pod))
        })
    };
    // Whoever was not found by then was not guarded either.
    drop(tokio::time::timeout(PATIENCE, placed.wait_for(all_found)).await);
    let placed = placed.borrow().clone().unwrap_or_default();
    let unwatched = select(&pods, &placed, &inherited);
    shared.lasting.nri.unwatched(unwatched.len());
    for pod in unwatched {
        tracing::warn!(%pod, "started before the container runtime asked, or while it did not; it is taken over");
    }
}

/// Those that no earlier agent had guarded at the interface that they have.
fn select<'a>(pods: &'a [PodKey], placed: &Placed, inherited: &Inherited) -> Vec<&'a PodKey> {
    let is_inherited = |pod: &PodKey| {
        let located = placed.snapshot.local.get(pod);
        located.is_some_and(|located| inherited.contains(&(pod.to_string(), located.ifindex)))
    };
    pods.iter().filter(|pod| !is_inherited(pod)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Located, Snapshot};

    #[test]
    fn only_a_pod_that_was_guarded_at_its_interface_of_now_was_watched() {
        let key = |name: &str| PodKey {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        };
        let located = |ifindex| Located {
            ifindex,
            interface: format!("veth{ifindex}"),
            hardware_address: None,
            addresses: Vec::new(),
        };
        let placed = Placed {
            snapshot: Arc::new(Snapshot {
                local: [(key("kept"), located(7)), (key("anew"), located(9))]
                    .into_iter()
                    .collect(),
                ..Snapshot::default()
            }),
            ..Placed::default()
        };
        let inherited = [("shop/kept", 7), ("shop/anew", 8), ("shop/lost", 10)];
        let inherited: Inherited = Arc::new(inherited.map(|(pod, at)| (pod.to_owned(), at)).into());
        let pods = ["kept", "anew", "lost", "new"].map(key);
        let expect = [&pods[1], &pods[2], &pods[3]];
        assert_eq!(select(&pods, &placed, &inherited), expect);
    }
}
