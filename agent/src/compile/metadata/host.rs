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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compile::Compiler,
        model::{Expiry, MetadataAccess, MetadataFirewall, Origin, Phase, Workloads},
    };

    /// Pods `here` and `there`, with their nodes' networks, and `own` with its own.
    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (name, node, host_network) in [
            ("here", "n1", true),
            ("there", "n2", true),
            ("own", "n1", false),
        ] {
            let key = PodKey {
                namespace: "t".into(),
                name: name.into(),
            };
            let pod = Pod {
                key: key.clone(),
                uid: format!("uid-{name}"),
                node: Some(node.into()),
                host_network,
                phase: Phase::Running,
                ..Pod::default()
            };
            snapshot.pods.insert(key, pod);
        }
        snapshot
    }

    fn grant(ends: i64) -> MetadataAccess {
        MetadataAccess {
            name: "g".into(),
            endpoints: Some(["imds".into()].into()),
            subjects: vec![Workloads::default()],
            annotation_required: false,
            expiry: Expiry(Some(ends)),
            origin: Origin::default(),
        }
    }

    #[test]
    fn pods_of_this_nodes_network_follow_what_grants_say() {
        let mut compiler = Compiler::new(Options {
            node: Some("n1".into()),
            ..Options::default()
        });
        let mut said = |snapshot: &Snapshot| {
            let (desired, _) = compiler.update(snapshot);
            let pods = desired.host_network.iter();
            let pods = pods.map(|(key, pod)| (key.name.clone(), pod.metadata.reach.len()));
            pods.collect::<Vec<_>>()
        };
        let mut snapshot = snapshot();
        assert_eq!(said(&snapshot), [("here".to_owned(), 0)]);
        snapshot.grants.insert("g".into(), grant(100));
        assert_eq!(said(&snapshot), [("here".to_owned(), 1)]);
        snapshot.past = 100;
        assert_eq!(said(&snapshot), [("here".to_owned(), 0)], "it has ended");
        let firewall = MetadataFirewall {
            host_network_granted: true,
            ..MetadataFirewall::default()
        };
        snapshot.firewalls.insert("default".into(), firewall);
        assert_eq!(said(&snapshot), [("here".to_owned(), 4)]);
        snapshot.firewalls.remove("default");
        assert_eq!(said(&snapshot), [("here".to_owned(), 0)]);
        let key = PodKey {
            namespace: "t".into(),
            name: "here".into(),
        };
        let ended = Pod {
            phase: Phase::Succeeded,
            ..snapshot.pods[&key].clone()
        };
        snapshot.pods.insert(key, ended);
        assert_eq!(said(&snapshot), []);
    }
}
