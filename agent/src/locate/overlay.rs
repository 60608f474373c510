//! Lays what the container runtime says over what the sources say. Pure.
//!
//! A pod's sandbox is there before the API server knows its address, often before this agent's watch has told of the
//! pod at all: then the sandbox's labels and addresses make one. A runtime that is away takes back nothing: what it told
//! counts for as long as the sandbox's network namespace is there.

use std::net::IpAddr;

use super::sandbox::{Sandbox, Sandboxes};
use crate::model::{Phase, Pod, Snapshot};

/// The sources' state with the sandboxes' pods; `node` is this one's name, `is_there` tells of a sandbox whether its network is.
pub(super) fn lay(
    snapshot: &Snapshot,
    sandboxes: &Sandboxes,
    node: Option<&str>,
    is_there: impl Fn(&Sandbox) -> bool,
) -> Snapshot {
    let mut laid = snapshot.clone();
    for (key, sandbox) in &sandboxes.by_pod {
        // What was true before the connection broke may have ended since.
        if !sandboxes.live && !is_there(sandbox) {
            continue;
        }
        let pod = match snapshot.pods.get(key) {
            Some(pod) if sandbox.is_of(&pod.uid) => refined(pod, sandbox),
            // It has moved, and what is left of it here ends soon.
            Some(pod) if pod.node.is_some() && pod.node.as_deref() != node => None,
            // The watch lags behind: this is a pod that came after the one it knows, or that it knows not yet.
            _ => Some(made(sandbox, key.clone(), node)),
        };
        if let Some(pod) = pod {
            laid.pods.insert(key.clone(), pod);
        }
    }
    laid
}

/// The pod with what its sandbox knows better, if there is any such thing.
fn refined(pod: &Pod, sandbox: &Sandbox) -> Option<Pod> {
    // A pod whose sandbox was made anew has its old addresses in the status for a while.
    let addresses = addresses(&sandbox.addresses, &pod.addresses);
    let cgroup = pod.cgroup.clone().or_else(|| sandbox.cgroup.clone());
    if addresses == pod.addresses && cgroup == pod.cgroup {
        return None;
    }
    Some(Pod {
        addresses,
        cgroup,
        ..pod.clone()
    })
}

fn addresses(sandbox: &[IpAddr], status: &[IpAddr]) -> Vec<IpAddr> {
    let same =
        sandbox.len() == status.len() && sandbox.iter().all(|address| status.contains(address));
    if sandbox.is_empty() || same {
        status.to_vec()
    } else {
        sandbox.to_vec()
    }
}

/// The pod of a sandbox that no source knows. Its named ports and service account are not known yet.
fn made(sandbox: &Sandbox, key: crate::model::PodKey, node: Option<&str>) -> Pod {
    Pod {
        key,
        uid: sandbox.uid.clone(),
        labels: sandbox.labels.clone(),
        addresses: sandbox.addresses.clone(),
        phase: Phase::Pending,
        node: node.map(Into::into),
        service_account: "default".into(),
        cgroup: sandbox.cgroup.clone(),
        metadata_requests: sandbox.metadata_requests.clone(),
        ..Pod::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PodKey;

    fn key() -> PodKey {
        PodKey {
            namespace: "shop".to_owned(),
            name: "web-0".to_owned(),
        }
    }

    fn snapshot(uid: &str, addresses: &[&str]) -> Snapshot {
        let pod = Pod {
            key: key(),
            uid: uid.to_owned(),
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
            service_account: "web".into(),
            ..Pod::default()
        };
        Snapshot {
            pods: [(key(), pod)].into_iter().collect(),
            ..Snapshot::default()
        }
    }

    fn sandboxes(addresses: &[&str]) -> Sandboxes {
        let mut sandbox = Sandbox {
            uid: "u1".to_owned(),
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
            ..Sandbox::default()
        };
        sandbox.labels.insert("app".to_owned(), "web".to_owned());
        Sandboxes {
            by_pod: [(key(), sandbox)].into(),
            live: true,
        }
    }

    fn laid(snapshot: &Snapshot, sandboxes: &Sandboxes) -> Pod {
        let laid = lay(snapshot, sandboxes, Some("w1"), |_| true);
        laid.pods.get(&key()).unwrap().clone()
    }

    #[test]
    fn a_pod_that_no_source_knows_has_its_sandboxes_labels_and_addresses() {
        for before in [Snapshot::default(), snapshot("u0", &["10.0.0.9"])] {
            let pod = laid(&before, &sandboxes(&["10.0.0.1"]));
            assert_eq!(pod.uid, "u1");
            assert_eq!(pod.labels.get("app"), Some("web"));
            assert_eq!(pod.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
            assert_eq!(pod.node.as_deref(), Some("w1"));
        }
    }

    #[test]
    fn a_pod_that_the_source_knows_gets_its_sandboxes_addresses_only() {
        for (status, sandbox, expect) in [
            (&[][..], &["10.0.0.1"][..], &["10.0.0.1"][..]),
            (&["10.0.0.9"], &["10.0.0.1"], &["10.0.0.1"]),
            (&["10.0.0.9"], &[], &["10.0.0.9"]),
            (
                &["fd00::1", "10.0.0.1"],
                &["10.0.0.1", "fd00::1"],
                &["fd00::1", "10.0.0.1"],
            ),
        ] {
            let pod = laid(&snapshot("u1", status), &sandboxes(sandbox));
            assert_eq!(&*pod.service_account, "web");
            let expect: Vec<IpAddr> = expect.iter().map(|it| it.parse().unwrap()).collect();
            assert_eq!(pod.addresses, expect, "{status:?} {sandbox:?}");
        }
    }

    #[test]
    fn a_pod_that_runs_elsewhere_by_now_is_not_overlaid_by_what_is_left_of_it_here() {
        let mut before = snapshot("u2", &["10.9.0.9"]);
        let mut pod = before.pods.get(&key()).unwrap().clone();
        pod.node = Some("w2".into());
        before.pods.insert(key(), pod.clone());
        assert_eq!(laid(&before, &sandboxes(&["10.0.0.1"])), pod);
    }

    #[test]
    fn without_the_runtime_a_sandbox_counts_while_its_network_is_there() {
        let away = Sandboxes {
            live: false,
            ..sandboxes(&["10.0.0.1"])
        };
        let knowing = [
            Snapshot::default(),
            snapshot("u1", &[]),
            snapshot("u0", &["10.0.0.9"]),
        ];
        for before in knowing {
            let lay = |there| lay(&before, &away, Some("w1"), |_| there);
            let pod = lay(true).pods.get(&key()).unwrap().clone();
            assert_eq!(pod.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
            assert_eq!(pod.uid, "u1");
            assert_eq!(lay(false), before);
        }
    }
}
