//! Pods are found in real network namespaces, also those that come later, move or go. Needs root.
#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod node;
mod sandboxes;
mod unnamed;

use std::{io::Write as _, net::IpAddr, sync::Arc};

use ringfence_agent::{
    locate::{self, Devices, Inputs, Options, Placed, Role, Sandboxes, World},
    model::{Place, Pod, PodKey, Snapshot},
};
use rtnetlink::RouteMessageBuilder;
use tokio::sync::watch;

use node::{Namespace, address_inside, lay, on_a_node};

/// How long a test waits for what must come to pass.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

fn pod(name: &str, place: Option<Place>) -> Pod {
    let key = PodKey {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    };
    Pod {
        key,
        place,
        node: Some("w1".into()),
        addresses: vec!["10.0.0.9".parse().unwrap()],
        ..Pod::default()
    }
}

fn world(pods: Vec<Pod>) -> Arc<World> {
    let pods = pods.into_iter().map(|pod| (pod.key.clone(), pod)).collect();
    let snapshot = Snapshot {
        pods,
        ..Snapshot::default()
    };
    Arc::new(World {
        revisions: Default::default(),
        snapshot: Some(Arc::new(snapshot)),
        diagnostics: Vec::new(),
        recalled: false,
    })
}

struct Followed {
    world: watch::Sender<Arc<World>>,
    sandboxes: watch::Sender<Arc<Sandboxes>>,
    placed: watch::Receiver<Option<Arc<Placed>>>,
    devices: watch::Receiver<Arc<Devices>>,
}

fn options() -> Options {
    Options {
        node: Some("w1".into()),
        netns_prefix: "rf-test-".to_owned(),
        ..Options::default()
    }
}

fn follow(first: Arc<World>) -> Followed {
    follow_with(options(), first)
}

fn follow_with(options: Options, first: Arc<World>) -> Followed {
    let (world, worlds) = watch::channel(first);
    let (placed_sender, placed) = watch::channel(None);
    let (devices_sender, devices) = watch::channel(Arc::new(Devices::default()));
    let (sandboxes_sender, sandboxes) = watch::channel(Arc::default());
    let inputs = Inputs {
        world: worlds,
        sandboxes,
    };
    tokio::spawn(locate::follow(
        options,
        inputs,
        placed_sender,
        devices_sender,
    ));
    Followed {
        world,
        sandboxes: sandboxes_sender,
        placed,
        devices,
    }
}

impl Followed {
    async fn placed(&mut self, fits: impl Fn(&Placed) -> bool) -> Arc<Placed> {
        let there = self
            .placed
            .wait_for(|placed| placed.as_ref().is_some_and(|placed| fits(placed)));
        let there = tokio::time::timeout(PATIENCE, there).await;
        there.expect("it comes to pass").unwrap().clone().unwrap()
    }

    /// What is told of these pods after they have been looked for again.
    async fn after_another_search(&mut self, mut pods: Vec<Pod>) -> Arc<Placed> {
        let marker = Pod {
            addresses: vec!["10.0.0.77".parse().unwrap()],
            ..pod("marker", None)
        };
        let key = marker.key.clone();
        pods.push(marker);
        self.world.send_replace(world(pods));
        self.placed(|placed| placed.unplaced.contains_key(&key))
            .await
    }

    async fn role(&mut self, name: &str, role: Option<Role>) {
        let role_of = |devices: &Devices| {
            devices
                .by_index
                .values()
                .find(|device| device.name == name)
                .map(|device| device.role)
        };
        self.devices
            .wait_for(|devices| role_of(devices) == role)
            .await
            .unwrap();
    }
}

/// True for root; else the test is noted as skipped.
fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root && let Some(path) = std::env::var_os("RINGFENCE_SKIPS") {
        let mut skips = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        writeln!(skips, "{test}: making network namespaces needs root").unwrap();
    }
    root
}

#[test]
fn a_pod_is_found_when_its_namespace_and_its_interface_come_and_is_missed_when_they_go() {
    if !is_root(
        "a_pod_is_found_when_its_namespace_and_its_interface_come_and_is_missed_when_they_go",
    ) {
        return;
    }
    on_a_node(|handle| async move {
        let name = format!("{}-late", std::process::id());
        let late = pod("late", Some(Place::Netns(name.clone())));
        let key = late.key.clone();
        let mut followed = follow(world(vec![late, pod("nowhere", None)]));

        let placed = followed.placed(|placed| placed.unplaced.len() == 2).await;
        assert!(
            placed.unplaced[&key].contains("there is no network namespace /run/netns/rf-test-")
        );
        assert!(placed.diagnostics.iter().any(|diagnostic| {
            diagnostic.object == "Pod/shop/nowhere"
                && diagnostic.message.contains("ringfence.dev/netns")
        }));

        let namespace = Namespace::new("late");
        followed
            .placed(|placed| {
                placed
                    .unplaced
                    .get(&key)
                    .is_some_and(|reason| reason.contains("no interface yet"))
            })
            .await;
        let ifindex = lay(&handle, "veth-late", &namespace, "eth0").await;
        let placed = followed
            .placed(|placed| placed.snapshot.local.contains_key(&key))
            .await;
        let located = &placed.snapshot.local[&key];
        assert_eq!(
            (located.ifindex, located.interface.as_str()),
            (ifindex, "veth-late")
        );
        assert!(located.hardware_address.is_some());
        followed.role("veth-late", Some(Role::Pod)).await;

        // An address inside the namespace is seen although nothing changes out here.
        let address: IpAddr = "10.0.0.9".parse().unwrap();
        address_inside(&namespace, "eth0", address);
        followed
            .placed(|placed| placed.snapshot.local[&key].addresses.contains(&address))
            .await;

        handle.link().del(ifindex).execute().await.unwrap();
        followed
            .placed(|placed| placed.unplaced.contains_key(&key))
            .await;
        followed.role("veth-late", None).await;

        followed.world.send_replace(world(Vec::new()));
        followed
            .placed(|placed| placed.unplaced.is_empty() && placed.diagnostics.is_empty())
            .await;
    });
}

#[test]
fn a_pod_that_is_ending_is_not_told_of_as_one_that_cannot_be_found() {
    if !is_root("a_pod_that_is_ending_is_not_told_of_as_one_that_cannot_be_found") {
        return;
    }
    on_a_node(|handle| async move {
        let namespace = Namespace::new("ending");
        let ifindex = lay(&handle, "veth-ending", &namespace, "eth0").await;
        let address = "10.0.0.9".parse().unwrap();
        address_inside(&namespace, "eth0", address);
        let pods = || {
            vec![Pod {
                terminating: true,
                ..pod("ending", None)
            }]
        };
        let key = pods()[0].key.clone();
        let mut followed = follow(world(pods()));
        followed
            .placed(|placed| placed.snapshot.local.contains_key(&key))
            .await;
        handle.link().del(ifindex).execute().await.unwrap();
        let placed = followed.after_another_search(pods()).await;
        assert!(!placed.snapshot.local.contains_key(&key));
        assert_eq!(placed.unplaced.get(&key), None);
        let told = format!("Pod/{key}");
        assert!(placed.diagnostics.iter().all(|it| it.object != told));
    });
}

#[test]
fn another_nodes_pods_are_not_looked_for_and_two_pods_never_share_an_interface() {
    if !is_root("another_nodes_pods_are_not_looked_for_and_two_pods_never_share_an_interface") {
        return;
    }
    on_a_node(|handle| async move {
        let namespace = Namespace::new("shared");
        let place = || Some(Place::Netns(format!("{}-shared", std::process::id())));
        lay(&handle, "veth-shared", &namespace, "eth0").await;
        let far = Pod {
            node: Some("w2".into()),
            ..pod("far", place())
        };
        let mut followed = follow(world(vec![
            far,
            pod("a", place()),
            pod("b", Some(Place::Interface("veth-shared".to_owned()))),
        ]));
        let placed = followed
            .placed(|placed| !placed.snapshot.local.is_empty())
            .await;
        assert_eq!(
            placed
                .snapshot
                .local
                .keys()
                .map(|key| key.name.as_str())
                .collect::<Vec<_>>(),
            ["a"]
        );
        let reasons: Vec<_> = placed.unplaced.values().map(String::as_str).collect();
        assert_eq!(reasons, ["its interface veth-shared is that of pod shop/a"]);
    });
}

#[test]
fn devices_are_told_apart_by_what_they_are_for() {
    if !is_root("devices_are_told_apart_by_what_they_are_for") {
        return;
    }
    on_a_node(|handle| async move {
        let outside = Namespace::new("outside");
        let mut followed = follow(world(Vec::new()));
        followed.role("lo", Some(Role::Loopback)).await;
        let uplink = lay(&handle, "up0", &outside, "eth0").await;
        // Nothing leads through it yet, so it looks like a pod's.
        followed.role("up0", Some(Role::Pod)).await;
        let gateway = "192.0.2.1".parse().unwrap();
        let route = RouteMessageBuilder::<std::net::Ipv4Addr>::new()
            .gateway(gateway)
            .output_interface(uplink)
            .onlink()
            .build();
        handle
            .address()
            .add(uplink, "192.0.2.2".parse().unwrap(), 24)
            .execute()
            .await
            .unwrap();
        handle.route().add(route).execute().await.unwrap();
        followed.role("up0", Some(Role::Uplink)).await;
        let placed = followed
            .placed(|placed| {
                placed
                    .snapshot
                    .node_addresses
                    .contains(&"192.0.2.2".parse().unwrap())
            })
            .await;
        assert!(placed.snapshot.local.is_empty());

        handle
            .link()
            .add(rtnetlink::LinkBridge::new("br0").build())
            .execute()
            .await
            .unwrap();
        followed.role("br0", Some(Role::Bridge)).await;
        handle
            .link()
            .add(rtnetlink::LinkVxlan::new("vx0", 7).port(4789).build())
            .execute()
            .await
            .unwrap();
        followed.role("vx0", Some(Role::Tunnel)).await;
    });
}
