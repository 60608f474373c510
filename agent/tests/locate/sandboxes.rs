//! Pods that only a container runtime tells of, and runtimes that go away.

use std::sync::Arc;

use ringfence_agent::{
    locate::{Sandbox, Sandboxes},
    model::{Pod, PodKey},
};

use super::{
    follow, is_root,
    node::{Namespace, address_inside, lay, on_a_node},
    pod, world,
};

/// What a runtime tells of a pod with this namespace.
fn told(key: &PodKey, namespace: &Namespace, live: bool) -> Arc<Sandboxes> {
    let sandbox = Sandbox {
        id: "s1".to_owned(),
        uid: "u1".to_owned(),
        netns: namespace.path(),
        ..Sandbox::default()
    };
    Arc::new(Sandboxes {
        by_pod: [(key.clone(), sandbox)].into(),
        live,
    })
}

/// The pod as the API server has it while it has no container, if it has it.
fn known(to_sources: bool) -> Vec<Pod> {
    let pod = Pod {
        uid: "u1".to_owned(),
        addresses: Vec::new(),
        ..pod("starting", None)
    };
    to_sources.then_some(pod).into_iter().collect()
}

#[test]
fn a_pod_that_only_has_a_sandbox_stays_while_the_runtime_is_away_and_no_longer_than_its_network() {
    let name = "a_pod_that_only_has_a_sandbox_stays_while_the_runtime_is_away_and_no_longer_than_its_network";
    if !is_root(name) {
        return;
    }
    for to_sources in [false, true] {
        on_a_node(move |handle| async move {
            let namespace = Namespace::new("starting");
            let ifindex = lay(&handle, "veth-starting", &namespace, "eth0").await;
            let address = "10.0.0.9".parse().unwrap();
            address_inside(&namespace, "eth0", address);
            let key = pod("starting", None).key;
            let mut followed = follow(world(known(to_sources)));
            for live in [true, false] {
                followed
                    .sandboxes
                    .send_replace(told(&key, &namespace, live));
                let placed = followed
                    .placed(|placed| {
                        placed.sandboxes.live == live && !placed.sandboxes.by_pod.is_empty()
                    })
                    .await;
                let located = placed.snapshot.local.get(&key);
                let located = located.unwrap_or_else(|| panic!("{live} {:?}", placed.unplaced));
                assert_eq!(located.ifindex, ifindex);
                assert!(located.addresses.contains(&address));
                assert!(placed.snapshot.pods.get(&key).is_some());
            }
            drop(namespace);
            followed
                .placed(|placed| {
                    let is_known = placed.snapshot.pods.get(&key).is_some();
                    placed.snapshot.local.is_empty() && is_known == to_sources
                })
                .await;
        });
    }
}
