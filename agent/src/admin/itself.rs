//! What the agent itself may reach of the metadata services, as `status` tells it.

use std::path::Path;

use super::Shared;
use crate::{
    cgroup2,
    locate::Placed,
    model::{Pod, PodKey},
};

/// Whether it may, and by what.
pub(super) async fn access(shared: &Shared, placed: Option<&Placed>) -> String {
    let Some(root) = shared.config.cgroup_root.clone() else {
        return "reaches metadata: the pods' cgroups are not known, so nothing on this node but a pod's device is asked for a grant"
            .to_owned();
    };
    let own = shared.config.pod.clone();
    let pod = own.as_ref().zip(placed);
    let pod = pod.and_then(|(own, placed)| placed.snapshot.pods.get(own).cloned());
    // It looks through as many directories as there are cgroups of pods.
    let looked = tokio::task::spawn_blocking(move || told(&root, own.as_ref(), pod.as_ref())).await;
    looked.unwrap_or_else(|error| format!("not known: {error}"))
}

fn told(root: &Path, own: Option<&PodKey>, pod: Option<&Pod>) -> String {
    match (own, pod) {
        (Some(own), Some(pod)) => {
            match cgroup2::pod_directory(root, &pod.cgroup_name(), &pod.uid) {
                Some(found) => format!(
                    "reaches metadata as pod {own}, by its cgroup {}",
                    found.display()
                ),
                None => format!(
                    "does not reach metadata: no cgroup of its pod {own} is below {}",
                    root.display()
                ),
            }
        }
        (Some(own), None) => {
            format!("does not reach metadata: its pod {own} (--pod) is not known yet")
        }
        (None, _) if cgroup2::is_below(root) => format!(
            "does not reach metadata: it runs below {} and is not told as which pod: --pod NAMESPACE/NAME",
            root.display()
        ),
        (None, _) => format!(
            "reaches metadata: it runs in no pod's cgroup, and what is outside of {} needs no grant",
            root.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use super::*;

    #[test]
    fn it_is_told_by_its_pods_cgroup_or_by_being_in_none() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("kubepods");
        fs::create_dir_all(root.join("burstable/pod1-2")).unwrap();
        let own = PodKey {
            namespace: "ringfence-system".into(),
            name: "ringfence-x".into(),
        };
        let pod = |uid: &str| Pod {
            key: own.clone(),
            uid: uid.into(),
            ..Pod::default()
        };
        let says = |own, pod: Option<Pod>| told(&root, own, pod.as_ref());
        let found = says(Some(&own), Some(pod("1-2")));
        assert!(
            found.starts_with("reaches metadata as pod ringfence-system/ringfence-x"),
            "{found}"
        );
        assert!(found.ends_with("kubepods/burstable/pod1-2"), "{found}");
        for found in [says(Some(&own), Some(pod("3-4"))), says(Some(&own), None)] {
            assert!(found.starts_with("does not reach metadata: "), "{found}");
        }
        let outside = says(None, None);
        assert!(
            outside.starts_with("reaches metadata: it runs in no pod's"),
            "{outside}"
        );
        let processes = format!("1\n{}\n", process::id());
        fs::write(root.join("burstable/pod1-2/cgroup.procs"), processes).unwrap();
        let below = says(None, None);
        assert!(below.contains("is not told as which pod"), "{below}");
    }
}
