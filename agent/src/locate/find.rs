//! Finds the host side of a pod's interface among what was read. Pure.

use super::netlink::{Link, Stack};
use crate::model::Located;

/// The pod whose namespace holds `inside` and has number `namespace` on the node.
pub(super) fn by_namespace(
    inside: &Stack,
    namespace: i32,
    node: &Stack,
) -> Result<Located, String> {
    let mut pairs: Vec<(&Link, &Link)> = Vec::new();
    let mut others: Vec<&str> = Vec::new();
    for inner in inside.links.values().filter(|link| !link.loopback) {
        let outer = inner
            .peer
            .and_then(|peer| node.links.get(&peer))
            .filter(|outer| outer.peer == Some(inner.index) && outer.peer_netns == Some(namespace));
        match outer {
            Some(outer) => pairs.push((outer, inner)),
            None => others.push(&inner.name),
        }
    }
    let (outer, inner) = match pairs.as_slice() {
        [pair] => *pair,
        [] if others.is_empty() => {
            return Err("its network namespace has no interface yet".to_owned());
        }
        [] => {
            return Err(format!(
                "no interface of its network namespace ({}) has its other end on this node",
                others.join(", ")
            ));
        }
        several => *several
            .iter()
            .find(|(_, inner)| inner.name == "eth0")
            .ok_or_else(|| {
                let names: Vec<&str> = several
                    .iter()
                    .map(|(_, inner)| inner.name.as_str())
                    .collect();
                format!(
                    "several of its interfaces ({}) lead to this node and none is called eth0",
                    names.join(", ")
                )
            })?,
    };
    Ok(Located {
        ifindex: outer.index,
        interface: outer.name.clone(),
        hardware_address: inner.hardware_address,
        addresses: inside
            .addresses
            .get(&inner.index)
            .cloned()
            .unwrap_or_default(),
    })
}

/// The pod whose host-side interface has this name.
pub(super) fn by_interface(name: &str, node: &Stack) -> Result<Located, String> {
    let link = node
        .links
        .values()
        .find(|link| link.name == name)
        .ok_or_else(|| format!("there is no interface {name} yet"))?;
    let kind = link.kind.as_deref();
    let what = if link.loopback {
        "the loopback device"
    } else if !matches!(kind, Some("veth" | "netkit")) {
        kind.unwrap_or("hardware")
    } else if link.peer_netns.is_none() {
        "a pair with both ends on the node"
    } else if node.leading_out.contains(&link.index) {
        "what the node itself sends through"
    } else {
        return Ok(Located {
            ifindex: link.index,
            interface: link.name.clone(),
            hardware_address: None,
            addresses: Vec::new(),
        });
    };
    Err(format!(
        "interface {name} is no pod's but {what}: name the node's end of a pair (veth or netkit) whose other end is in the pod's \
         network namespace"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(links: &[(u32, &str, u32, Option<i32>)]) -> Stack {
        let links = links.iter().map(|&(index, name, peer, peer_netns)| {
            let link = Link {
                index,
                name: name.to_owned(),
                peer: Some(peer),
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

    #[test]
    fn both_ends_must_name_each_other_in_the_right_namespace() {
        let node = stack(&[
            (7, "veth7", 2, Some(3)),
            (8, "veth8", 2, Some(4)),
            (9, "veth9", 3, Some(3)),
        ]);
        let name = |found: Result<Located, String>| found.map(|located| located.interface);

        assert_eq!(
            name(by_namespace(&stack(&[(2, "eth0", 7, Some(0))]), 3, &node)),
            Ok("veth7".to_owned())
        );
        // The same index in another namespace.
        let elsewhere = by_namespace(&stack(&[(2, "eth0", 7, Some(0))]), 4, &node);
        assert!(elsewhere.is_err_and(|reason| reason.contains("(eth0) has its other end")));
        assert!(
            by_namespace(&Stack::default(), 3, &node)
                .is_err_and(|reason| reason.contains("no interface yet"))
        );
    }

    #[test]
    fn of_several_interfaces_eth0_is_the_pods() {
        let node = stack(&[(7, "veth7", 2, Some(3)), (9, "veth9", 3, Some(3))]);
        let found = by_namespace(
            &stack(&[(2, "net1", 7, None), (3, "eth0", 9, None)]),
            3,
            &node,
        );
        assert_eq!(
            found.map(|located| located.interface),
            Ok("veth9".to_owned())
        );
        let found = by_namespace(
            &stack(&[(2, "net1", 7, None), (3, "net2", 9, None)]),
            3,
            &node,
        );
        assert!(found.is_err_and(|reason| reason.contains("net1, net2")));
    }

    #[test]
    fn only_the_nodes_end_of_a_pair_is_a_pods_interface() {
        let device = |name: &str, kind: Option<&str>, peer_netns| Link {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            loopback: name == "lo",
            peer_netns,
            ..Link::default()
        };
        let cases = [
            (device("pod0", Some("veth"), Some(3)), None),
            (device("pod1", Some("netkit"), Some(0)), None),
            (device("eth0", None, None), Some("hardware")),
            (device("lo", None, None), Some("the loopback device")),
            (device("cni0", Some("bridge"), None), Some("bridge")),
            (device("bond0", Some("bond"), None), Some("bond")),
            (device("vxlan0", Some("vxlan"), Some(1)), Some("vxlan")),
            (device("both", Some("veth"), None), Some("both ends")),
            (device("up", Some("veth"), Some(2)), Some("sends through")),
        ];
        let mut node = Stack::default();
        for (index, (link, _)) in (1..).zip(&cases) {
            let link = Link {
                index,
                ..link.clone()
            };
            if link.name == "up" {
                node.leading_out.insert(index);
            }
            node.links.insert(index, link);
        }
        for (link, reason) in cases {
            match (by_interface(&link.name, &node), reason) {
                (Ok(found), None) => assert_eq!(found.interface, link.name),
                (Err(said), Some(reason)) => assert!(said.contains(reason), "{said}"),
                (found, _) => panic!("{}: {found:?}", link.name),
            }
        }
        assert!(by_interface("none", &node).is_err_and(|reason| reason.contains("yet")));
    }
}
