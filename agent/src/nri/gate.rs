//! Waits until a pod is protected.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{admin::Shared, locate::Placed, model::PodKey, run::kernel::Progress};

/// How long a pod waits for the sources' own word while what is in force is what was last known, of whatever age.
const OWN_WORD: Duration = Duration::from_secs(3);

/// By whose word a pod is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The sources'.
    Own,
    /// What was last known of theirs.
    Recalled,
}

/// Waits until the pod of this sandbox has its hooks, and tables that were made for it: by the sources' own word, or,
/// after a part of `patience`, by what was last known.
pub(super) async fn pass(
    mut placed: watch::Receiver<Option<Arc<Placed>>>,
    mut progress: watch::Receiver<Progress>,
    key: &PodKey,
    id: &str,
    patience: Duration,
) -> Word {
    let start = Instant::now();
    // Not all of it: the pod is to start protected, and a runtime throws out who is late.
    let own_word_until = start + OWN_WORD.min(patience * 3 / 4);
    loop {
        {
            let placed = placed.borrow_and_update();
            let progress = progress.borrow_and_update();
            if let Some(placed) = &*placed
                && let Some(word) = protected_by(placed, &progress, key, id)
                && (word == Word::Own || Instant::now() >= own_word_until)
            {
                return word;
            }
        }
        let more = tokio::select! {
            changed = placed.changed() => changed.is_ok(),
            changed = progress.changed() => changed.is_ok(),
            () = sleep_until(own_word_until), if Instant::now() < own_word_until => true,
        };
        if !more {
            // The agent is stopping: whoever waits here is told by the time that runs out.
            std::future::pending::<()>().await;
        }
    }
}

/// By whose word the pod of this sandbox is protected now, if it is.
pub(super) fn now(shared: &Shared, key: &PodKey, id: &str) -> Option<Word> {
    let placed = shared.placed.borrow().clone();
    let progress = shared.kernel.progress();
    let progress = progress.borrow();
    protected_by(&*placed?, &progress, key, id)
}

fn protected_by(placed: &Placed, progress: &Progress, key: &PodKey, id: &str) -> Option<Word> {
    let recalled = progress.of.as_ref()?.recalled;
    is_protected(placed, progress, key, id).then_some(if recalled {
        Word::Recalled
    } else {
        Word::Own
    })
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
    use std::task::Poll;

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
            metadata: Arc::default(),
            encapsulates: false,
            cgroup: String::new(),
        };
        let mut desired = Desired::default();
        desired.endpoints.set(key(), endpoint);
        Progress {
            in_force: Some(Arc::new(desired)),
            ..Progress::default()
        }
    }

    fn recalled(recalled: bool) -> Progress {
        Progress {
            of: Some(Arc::new(Placed {
                recalled,
                ..Placed::default()
            })),
            ..progress("u1", 7)
        }
    }

    #[tokio::test]
    async fn what_was_last_known_opens_only_when_the_sources_stay_silent() {
        let (_sources, places) = watch::channel(Some(Arc::new(placed("s2", "u1", 7))));
        let (kernel, progress) = watch::channel(recalled(true));
        let key = key();
        let pass = |patience| pass(places.clone(), progress.clone(), &key, "s2", patience);
        let mut waiting = std::pin::pin!(pass(Duration::from_secs(3600)));
        assert_eq!(futures::poll!(&mut waiting), Poll::Pending);
        // It falls back in good time for who does not wait for long.
        assert_eq!(pass(Duration::from_millis(40)).await, Word::Recalled);
        kernel.send_replace(recalled(false));
        assert_eq!(futures::poll!(&mut waiting), Poll::Ready(Word::Own));
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
