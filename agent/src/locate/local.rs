//! Which pods are this node's, and what there is to find them by. Pure.
//!
//! **Invariant.** Where the node's name is known, only what is bound to it is local: a pod that is bound to no node runs nowhere.

use std::collections::BTreeMap;

use super::{Options, sandbox::Sandboxes, search::Sought};
use crate::model::{Objects, Pod, PodKey};

/// Keeps up this node's pods, and what there is to find them by; true if that is not what it was. Costs what differs.
pub(super) fn follow_pods(
    sought: &mut BTreeMap<PodKey, Sought>,
    before: &Objects<PodKey, Pod>,
    now: &Objects<PodKey, Pod>,
    options: &Options,
) -> bool {
    let is_local = |pod: &Pod| match (&options.node, &pod.node) {
        (Some(here), Some(there)) => **here == **there,
        // Bound to no node yet, or to none that is known: it can be nowhere.
        (Some(_), None) => false,
        (None, _) => pod.place.is_some(),
    };
    let mut changed = false;
    for pod in before.differences(now) {
        let new = pod
            .new
            .filter(|pod| pod.is_running() && !pod.host_network && is_local(pod));
        changed |= match new {
            Some(new) => {
                let sandbox = sought
                    .get(pod.key)
                    .and_then(|before| before.sandbox.clone());
                let new = Sought {
                    place: new.place.clone(),
                    sandbox,
                    addresses: new.addresses.clone(),
                    uid: new.uid.clone(),
                    cgroup: new.cgroup_name(),
                    terminating: new.terminating,
                };
                sought.insert(pod.key.clone(), new.clone()) != Some(new)
            }
            None => sought.remove(pod.key).is_some(),
        };
    }
    changed
}

/// Keeps up which namespaces the container runtime has given these pods; true if that is not what it was.
pub(super) fn follow_sandboxes(
    sought: &mut BTreeMap<PodKey, Sought>,
    pods: &Objects<PodKey, Pod>,
    sandboxes: &Sandboxes,
) -> bool {
    let mut changed = false;
    for (key, sought) in sought {
        let uid = pods.get(key).map_or("", |pod| pod.uid.as_str());
        let sandbox = sandboxes
            .by_pod
            .get(key)
            .filter(|sandbox| sandbox.is_of(uid))
            .map(|sandbox| sandbox.netns.clone());
        changed |= sought.sandbox != sandbox;
        sought.sandbox = sandbox;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Place;

    /// Names of the pods that are looked for on node `here`.
    fn sought(here: Option<&str>, pods: &[(&str, Option<&str>, bool)]) -> Vec<String> {
        let pods = pods.iter().map(|&(name, node, says)| Pod {
            key: PodKey {
                namespace: "t".to_owned(),
                name: name.to_owned(),
            },
            node: node.map(Into::into),
            place: says.then(|| Place::Interface("eth0".to_owned())),
            ..Pod::default()
        });
        let now = pods.map(|pod| (pod.key.clone(), pod)).collect();
        let options = Options {
            node: here.map(str::to_owned),
            ..Options::default()
        };
        let mut sought = BTreeMap::new();
        follow_pods(&mut sought, &Objects::default(), &now, &options);
        sought.into_keys().map(|key| key.name).collect()
    }

    #[test]
    fn a_pod_of_no_node_is_no_known_nodes_whatever_it_says() {
        let pods = [
            ("bound", Some("n1"), false),
            ("far", Some("n2"), true),
            ("free", None, true),
            ("silent", None, false),
        ];
        assert_eq!(sought(Some("n1"), &pods), ["bound"]);
        assert_eq!(sought(None, &pods), ["far", "free"]);
    }
}
