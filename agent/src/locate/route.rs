//! Finds a pod by the node's route to its address, or by the neighbour that answers for it. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    neighbour::Neighbours,
    netlink::{Link, Stack},
};
use crate::model::Located;

/// The pod's interface to which the node has a route of the address' own.
pub(super) fn by_route(addresses: &[IpAddr], node: &Stack) -> Result<Located, String> {
    let devices: BTreeSet<u32> = addresses
        .iter()
        .filter_map(|address| node.host_routes.get(address))
        .flatten()
        .copied()
        .collect();
    one(
        &devices,
        node,
        "no route of its own leads to its address",
        "routes to its address lead to",
    )
}

/// The pod's interface on which a neighbour has the address.
pub(super) fn by_neighbour(
    addresses: &[IpAddr],
    neighbours: &Neighbours,
    node: &Stack,
) -> Result<Located, String> {
    let devices: BTreeSet<u32> = addresses
        .iter()
        .filter_map(|address| neighbours.by_address.get(address))
        .flatten()
        .map(|&(device, _)| device)
        .filter(|device| {
            let kind = node.links.get(device).and_then(|link| link.kind.as_deref());
            kind != Some("bridge")
        })
        .collect();
    one(
        &devices,
        node,
        "no neighbour has its address",
        "neighbours have its address on",
    )
}

/// The only one of these devices, if it can be a pod's.
pub(super) fn one(
    devices: &BTreeSet<u32>,
    node: &Stack,
    none: &str,
    several: &str,
) -> Result<Located, String> {
    let names = || -> Vec<&str> {
        devices
            .iter()
            .filter_map(|device| node.links.get(device))
            .map(|link| link.name.as_str())
            .collect()
    };
    let mut links = devices.iter().filter_map(|device| node.links.get(device));
    let Some(link) = links.next() else {
        return Err(none.to_owned());
    };
    if links.next().is_some() {
        return Err(format!(
            "{several} several devices ({})",
            names().join(", ")
        ));
    }
    if !may_be_a_pods(link, node) {
        return Err(format!(
            "{several} {}, whose other end is in no other network namespace",
            link.name
        ));
    }
    Ok(Located {
        ifindex: link.index,
        interface: link.name.clone(),
        hardware_address: None,
        addresses: Vec::new(),
    })
}

/// True for one end of a pair whose other end is elsewhere, unless the node sends through it what it has no nearer way for.
fn may_be_a_pods(link: &Link, node: &Stack) -> bool {
    !link.loopback
        && link.peer.is_some()
        && link.peer_netns.is_some()
        && !node.leading_out.contains(&link.index)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// (index, name, kind, number of the peer's namespace).
    pub fn node(links: &[(u32, &str, &str, Option<i32>)]) -> Stack {
        let links = links.iter().map(|&(index, name, kind, peer_netns)| {
            let link = Link {
                index,
                name: name.to_owned(),
                kind: Some(kind.to_owned()),
                peer: peer_netns.map(|_| 2),
                peer_netns,
                ..Link::default()
            };
            (index, link)
        });
        Stack {
            links: links.collect(),
            ..Stack::default()
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_device_of_the_addresss_own_route_is_the_pods() {
        let mut node = node(&[
            (7, "veth7", "veth", Some(1)),
            (8, "veth8", "veth", Some(2)),
            (9, "eth0", "veth", Some(3)),
            (10, "dummy0", "dummy", None),
        ]);
        node.leading_out = [9].into();
        node.host_routes = [
            (address("10.0.0.7"), [7].into()),
            (address("fd00::7"), [7].into()),
            (address("fd00::8"), [8].into()),
            (address("10.0.0.9"), [9].into()),
            (address("10.0.0.10"), [10].into()),
            (address("10.0.0.11"), [99].into()),
        ]
        .into();
        let find = |addresses: &[&str]| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|it| address(it)).collect();
            by_route(&addresses, &node).map(|located| located.interface)
        };
        assert_eq!(find(&["10.0.0.7"]), Ok("veth7".to_owned()));
        assert_eq!(find(&["10.0.0.7", "fd00::7"]), Ok("veth7".to_owned()));
        assert!(find(&["10.0.0.7", "fd00::8"]).is_err_and(|it| it.contains("veth7, veth8")));
        assert!(find(&["10.0.0.9"]).is_err_and(|it| it.contains("eth0")));
        assert!(find(&["10.0.0.10"]).is_err_and(|it| it.contains("dummy0")));
        assert!(find(&["10.0.0.11"]).is_err_and(|it| it.contains("no route")));
        assert!(find(&["10.0.0.1"]).is_err_and(|it| it.contains("no route")));
    }

    #[test]
    fn a_neighbour_on_a_pair_is_the_pod_and_one_on_a_bridge_is_not_enough() {
        let node = node(&[(7, "veth7", "veth", Some(1)), (3, "cni0", "bridge", None)]);
        let neighbours = Neighbours {
            by_address: [
                (address("10.0.0.7"), [(7, [2; 6])].into()),
                (address("10.0.0.3"), [(3, [3; 6])].into()),
            ]
            .into(),
            ..Neighbours::default()
        };
        let find = |text| by_neighbour(&[address(text)], &neighbours, &node);
        assert_eq!(find("10.0.0.7").unwrap().interface, "veth7");
        assert!(find("10.0.0.3").is_err_and(|it| it.contains("no neighbour")));
    }
}
