//! Pods that do not say where they are: found by what the node shows of them.

use std::process::Command;

use ringfence_agent::{locate::Options, model::Pod};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use super::{
    follow, follow_with, is_root,
    node::{Namespace, address_inside, index, lay, on_a_node, up_inside},
    options, pod, world,
};

/// Only what the node itself knows leads to pods.
fn without_directories() -> Options {
    Options {
        netns_directories: Vec::new(),
        ..options()
    }
}

#[test]
fn a_pod_that_says_nothing_is_found_by_the_namespace_that_holds_its_address_and_one_that_ended_is_not()
 {
    let name = "a_pod_that_says_nothing_is_found_by_the_namespace_that_holds_its_address_and_one_that_ended_is_not";
    if !is_root(name) {
        return;
    }
    on_a_node(|handle| async move {
        let (one, two) = (Namespace::new("holds"), Namespace::new("holds-not"));
        lay(&handle, "veth-one", &one, "eth0").await;
        lay(&handle, "veth-two", &two, "eth0").await;
        let old = Pod {
            terminating: true,
            ..pod("a-old", None)
        };
        let elsewhere = Pod {
            addresses: vec!["10.0.0.77".parse().unwrap()],
            ..pod("lost", None)
        };
        let mut followed = follow(world(vec![old, pod("b-new", None), elsewhere]));
        followed.placed(|placed| placed.unplaced.len() == 3).await;
        address_inside(&one, "eth0", "10.0.0.9".parse().unwrap());
        let placed = followed
            .placed(|placed| !placed.snapshot.local.is_empty())
            .await;
        let found: Vec<_> = placed
            .snapshot
            .local
            .iter()
            .map(|(key, located)| (key.name.as_str(), located.interface.as_str()))
            .collect();
        assert_eq!(found, [("b-new", "veth-one")]);
        let reasons: Vec<&String> = placed.unplaced.values().collect();
        assert_eq!(
            reasons[0],
            "its interface veth-one is that of pod shop/b-new"
        );
        for way in [
            "no container runtime",
            "holds its address",
            "--pod-processes off",
            "no route",
            "no neighbour has",
            "no neighbour on a bridge",
        ] {
            assert!(reasons[1].contains(way), "{way}: {}", reasons[1]);
        }
    });
}

#[test]
fn a_pod_that_says_nothing_is_found_by_the_nodes_route_and_stays_without_it() {
    if !is_root("a_pod_that_says_nothing_is_found_by_the_nodes_route_and_stays_without_it") {
        return;
    }
    on_a_node(|handle| async move {
        let namespace = Namespace::new("routed");
        let ifindex = lay(&handle, "veth-routed", &namespace, "eth0").await;
        let mut followed = follow_with(without_directories(), world(vec![pod("routed", None)]));
        let key = pod("routed", None).key;
        followed
            .placed(|placed| placed.unplaced.contains_key(&key))
            .await;
        let route = || {
            RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .destination_prefix("10.0.0.9".parse().unwrap(), 32)
                .output_interface(ifindex)
                .build()
        };
        handle.route().add(route()).execute().await.unwrap();
        let placed = followed
            .placed(|placed| placed.snapshot.local.contains_key(&key))
            .await;
        assert_eq!(placed.snapshot.local[&key].ifindex, ifindex);
        handle.route().del(route()).execute().await.unwrap();
        let placed = followed.after_another_search(vec![pod("routed", None)]);
        assert_eq!(placed.await.snapshot.local[&key].ifindex, ifindex);
        handle.link().del(ifindex).execute().await.unwrap();
        followed
            .placed(|placed| placed.unplaced.contains_key(&key))
            .await;
    });
}

#[test]
fn a_pod_that_says_nothing_is_found_behind_its_port_of_a_bridge() {
    if !is_root("a_pod_that_says_nothing_is_found_behind_its_port_of_a_bridge") {
        return;
    }
    on_a_node(|handle| async move {
        let (namespace, other) = (Namespace::new("bridged"), Namespace::new("beside"));
        handle
            .link()
            .add(rtnetlink::LinkBridge::new("br0").up().build())
            .execute()
            .await
            .unwrap();
        let bridge = index("br0");
        handle
            .address()
            .add(bridge, "10.0.0.1".parse().unwrap(), 24)
            .execute()
            .await
            .unwrap();
        let beside = lay(&handle, "veth-beside", &other, "eth0").await;
        let ifindex = lay(&handle, "veth-bridged", &namespace, "eth0").await;
        for port in [beside, ifindex] {
            let link = LinkMessageBuilder::<LinkUnspec>::new()
                .index(port)
                .controller(bridge)
                .up()
                .build();
            handle.link().set(link).execute().await.unwrap();
        }
        up_inside(&namespace, "eth0");
        address_inside(&namespace, "eth0", "10.0.0.9".parse().unwrap());
        let key = pod("bridged", None).key;
        let mut followed = follow_with(without_directories(), world(vec![pod("bridged", None)]));
        let placed = followed
            .placed(|placed| placed.snapshot.local.contains_key(&key))
            .await;
        assert_eq!(placed.snapshot.local[&key].ifindex, ifindex);

        // The bridge forgets the pod, and learns nothing of it any more.
        tell_bridge("link set dev veth-bridged learning off");
        tell_bridge("fdb flush dev br0 brport veth-bridged dynamic");
        let placed = followed.after_another_search(vec![pod("bridged", None)]);
        let placed = placed.await;
        assert_eq!(placed.unplaced.get(&key), None);
        assert_eq!(placed.snapshot.local[&key].ifindex, ifindex);
    });
}

/// Tells the node's bridge something.
fn tell_bridge(words: &str) {
    let told = Command::new("bridge").args(words.split(' ')).status();
    assert!(told.unwrap().success(), "bridge {words}");
}

#[test]
fn a_pod_stays_where_it_was_found_while_several_namespaces_hold_its_address() {
    if !is_root("a_pod_stays_where_it_was_found_while_several_namespaces_hold_its_address") {
        return;
    }
    on_a_node(|handle| async move {
        let (one, two) = (Namespace::new("has"), Namespace::new("claims"));
        let ifindex = lay(&handle, "veth-has", &one, "eth0").await;
        lay(&handle, "veth-claims", &two, "eth0").await;
        let address = "10.0.0.9".parse().unwrap();
        address_inside(&one, "eth0", address);
        let key = pod("first", None).key;
        let mut followed = follow(world(vec![pod("first", None)]));
        followed
            .placed(|placed| placed.snapshot.local.contains_key(&key))
            .await;
        address_inside(&two, "eth0", address);
        let second = pod("second", None);
        followed
            .world
            .send_replace(world(vec![pod("first", None), second.clone()]));
        let placed = followed
            .placed(|placed| {
                let reason = placed.unplaced.get(&second.key);
                reason.is_some_and(|reason| reason.contains("several network namespaces"))
            })
            .await;
        assert_eq!(placed.unplaced.get(&key), None);
        assert_eq!(placed.snapshot.local[&key].ifindex, ifindex);
    });
}
