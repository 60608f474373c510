//! Pods of this node that have its network: no interface tells what is theirs, only their cgroup.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{Options, desired::HostPod},
    access, may_differ,
};
use crate::{
    compile::Desired,
    model::{Pod, PodKey, Snapshot},
};

/// The pods of this node's network.
#[derive(Debug, Default)]
pub(in crate::compile) struct HostPods(BTreeSet<PodKey>);

impl HostPods {
    /// Brings what they may reach up to date. Costs what differs, unless it is what grants.
    pub fn update(
        &mut self,
        before: &Snapshot,
        now: &Snapshot,
        desired: &mut Desired,
        options: &Options,
    ) {
        let mut stale = BTreeSet::new();
        for pod in before.pods.differences(&now.pods) {
            let here = pod.new.is_some_and(|pod| is_of_this_node(pod, options));
            if here {
                self.0.insert(pod.key.clone());
            }
            if here || self.0.contains(pod.key) {
                stale.insert(pod.key.clone());
            }
            if !here {
                self.0.remove(pod.key);
            }
        }
        if may_differ(before, now)
            || before
                .namespaces
                .differences(&now.namespaces)
                .next()
                .is_some()
        {
            stale.extend(self.0.iter().cloned());
        }
        for key in stale {
            let pod = now.pods.get(&key).filter(|_| self.0.contains(&key));
            let pod = pod.map(|pod| HostPod {
                uid: pod.uid.clone(),
                cgroup: pod.cgroup_name(),
                metadata: Arc::new(access(pod, now, &desired.metadata, options)),
            });
            match pod {
                Some(pod) => drop(desired.host_network.set(key, pod)),
                None => drop(desired.host_network.remove(&key)),
            }
        }
    }
}

/// True for a pod that runs with the network of this node.
#[must_use]
pub fn is_of_this_node(pod: &Pod, options: &Options) -> bool {
    let here = match (&options.node, &pod.node) {
        (Some(here), Some(there)) => **here == **there,
        (Some(_), None) => false,
        (None, _) => pod.cgroup.is_some(),
    };
    here && pod.host_network && pod.is_running()
}
