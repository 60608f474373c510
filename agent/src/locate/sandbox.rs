//! What a container runtime says of the pods that it runs here.
//!
//! A runtime knows a pod's namespace, addresses and labels before the API server knows where the pod is.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::model::{Labels, PodKey};

/// The sandboxes of this node: each holds the network of one pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandboxes {
    /// The latest one of each pod. Pods with the node's network are not among them.
    pub by_pod: BTreeMap<PodKey, Sandbox>,
    /// The runtime tells of changes. Without it these are the sandboxes of before, of which some may be gone.
    pub live: bool,
}

/// A sandbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's name for it.
    pub id: String,
    /// UID of its pod, as the kubelet has it.
    pub uid: String,
    /// Labels of its pod.
    pub labels: Labels,
    /// Annotations of its pod that may count as a request for metadata access.
    pub metadata_requests: Labels,
    /// Addresses, if the runtime tells them.
    pub addresses: Vec<IpAddr>,
    /// Its network namespace.
    pub netns: PathBuf,
    /// Its pod's cgroup, as the kubelet gave it to the runtime.
    pub cgroup: Option<String>,
    /// The kubelet has its pod from a file: the API server's copy has another UID.
    pub is_static: bool,
}

impl Sandbox {
    /// True if this is the sandbox of the pod with this UID.
    #[must_use]
    pub fn is_of(&self, uid: &str) -> bool {
        self.is_static || uid.is_empty() || self.uid == uid
    }

    /// True while there is a file of its network namespace, which its runtime removes with it.
    pub(crate) fn is_there(&self, directories: &[PathBuf]) -> bool {
        candidates(&self.netns, directories)
            .iter()
            .any(|path| path.exists())
    }
}

/// Where a namespace that the runtime calls `path` may be: there, or in one of the directories.
///
/// A container has `/run/netns` of the node, but `/var/run` is its own.
pub(crate) fn candidates(path: &Path, directories: &[PathBuf]) -> Vec<PathBuf> {
    let mut candidates = vec![path.to_owned()];
    if let Some(name) = path.file_name() {
        candidates.extend(directories.iter().map(|directory| directory.join(name)));
    }
    candidates.dedup();
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_looked_for_where_the_runtime_says_and_where_the_node_keeps_them() {
        let found = candidates(
            Path::new("/var/run/netns/cni-1"),
            &["/run/netns".into(), "/var/run/netns".into()],
        );
        let expect = [
            "/var/run/netns/cni-1",
            "/run/netns/cni-1",
            "/var/run/netns/cni-1",
        ];
        assert_eq!(found, expect.map(PathBuf::from));
    }

    #[test]
    fn a_static_pods_sandbox_is_known_by_name_alone() {
        let sandbox = |is_static| Sandbox {
            uid: "u1".to_owned(),
            is_static,
            ..Sandbox::default()
        };
        assert!(sandbox(false).is_of("u1") && !sandbox(false).is_of("u2"));
        assert!(sandbox(false).is_of(""));
        assert!(sandbox(true).is_of("mirror"));
    }
}
