//! What is to be outside of the cluster.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use anyhow::Result;

use super::ways::family;
use crate::e2e::{
    cluster::{Cluster, items},
    expect::{self, Pod},
    outsider::World,
    rules::Host,
};

/// What is outside: addresses of the families that pods have, and the ways to the pods.
pub(super) fn world(cluster: &Cluster, pods: &[Pod], hosts: &[Host]) -> Result<World> {
    let families: BTreeSet<&str> = pods
        .iter()
        .flat_map(|pod| pod.addresses.iter().map(|it| expect::family(it)))
        .collect();
    let has = |address: &IpAddr| families.contains(family(*address));
    let mut world = World::default();
    for host in hosts {
        for &address in host.addresses.iter().filter(|it| has(it)) {
            world.addresses.push(address);
            world.serves.extend(
                host.ports()
                    .map(|(by, port)| (by, SocketAddr::new(address, port))),
            );
        }
    }
    for node in items(&cluster.kubectl.json(&["get", "nodes"])?) {
        let texts = |value: &serde_json::Value, field: &str| -> Vec<String> {
            let all = value.as_array().into_iter().flatten();
            all.filter_map(|it| {
                if field.is_empty() {
                    it.as_str()
                } else {
                    it[field].as_str()
                }
            })
            .map(str::to_owned)
            .collect()
        };
        let addresses = texts(&node["status"]["addresses"], "address");
        for network in texts(&node["spec"]["podCIDRs"], "") {
            let by = addresses.iter().filter_map(|it| it.parse::<IpAddr>().ok());
            let by = by
                .into_iter()
                .find(|it| family(*it) == expect::family(&network));
            world.routes.extend(by.map(|by| (network.clone(), by)));
        }
    }
    Ok(world)
}
