//! Gives each device its role. Pure.
//!
//! Which kind a device is does not settle it: a veth leads to a pod on most nodes and off the node in a lab.

use std::collections::BTreeSet;

use super::{
    Device, Devices, Role,
    netlink::{Link, Stack},
};

/// Every device's role; `pods` are the indexes of located pods' interfaces.
pub(super) fn classify(stack: &Stack, pods: &BTreeSet<u32>) -> Devices {
    let by_index = stack
        .links
        .values()
        .filter_map(|link| {
            let role = role(link, stack, pods)?;
            Some((
                link.index,
                Device {
                    index: link.index,
                    name: link.name.clone(),
                    role,
                    ethernet: link.ethernet,
                    listens: link.listens,
                },
            ))
        })
        .collect();
    Devices { by_index }
}

fn role(link: &Link, stack: &Stack, pods: &BTreeSet<u32>) -> Option<Role> {
    if link.loopback {
        return Some(Role::Loopback);
    }
    if pods.contains(&link.index) {
        return Some(Role::Pod);
    }
    // What a bond's or team's port carries has passed the bond itself, unless somebody on the node sends there at once.
    let below = link
        .master
        .and_then(|master| stack.links.get(&master))
        .and_then(|master| master.kind.as_deref());
    if matches!(below, Some("bond" | "team")) {
        return Some(Role::Port);
    }
    match link.kind.as_deref() {
        Some("bridge") => Some(Role::Bridge),
        Some(
            "vxlan" | "geneve" | "gre" | "gretap" | "ip6gre" | "ip6gretap" | "ipip" | "ip6tnl"
            | "sit" | "vti" | "vti6" | "wireguard" | "xfrm" | "tun" | "erspan" | "ip6erspan"
            | "gtp" | "bareudp",
        ) => Some(Role::Tunnel),
        Some("dummy" | "ifb" | "nlmon" | "vcan" | "vxcan" | "vrf") => None,
        // A pair's end leads to a pod, unless the node sends through it what it has no nearer way for, or has an
        // address there that is not also on others: a gateway's is on every pod's device.
        Some("veth" | "netkit") if !leads_out(link, stack) => Some(if is_pair(link, stack) {
            Role::Pair
        } else {
            Role::Pod
        }),
        _ => Some(Role::Uplink),
    }
}

/// True if the other end is here too.
fn is_pair(link: &Link, stack: &Stack) -> bool {
    let other = link.peer.filter(|_| link.peer_netns.is_none());
    let other = other.and_then(|index| stack.links.get(&index));
    other.is_some_and(|other| other.peer == Some(link.index) && other.peer_netns.is_none())
}

fn leads_out(link: &Link, stack: &Stack) -> bool {
    let elsewhere = |address| {
        stack
            .global
            .iter()
            .any(|(index, on)| *index != link.index && on.contains(address))
    };
    stack.leading_out.contains(&link.index)
        || stack
            .global
            .get(&link.index)
            .is_some_and(|own| own.iter().any(|address| !elsewhere(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: Option<&str>, master: Option<u32>) -> Link {
        Link {
            index,
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
            loopback: name == "lo",
            master,
            ..Link::default()
        }
    }

    /// An end of a pair.
    fn to(index: u32, name: &str, peer: u32, peer_netns: Option<i32>) -> Link {
        Link {
            peer: Some(peer),
            peer_netns,
            ..link(index, name, Some("veth"), None)
        }
    }

    #[test]
    fn devices_get_their_role_from_what_they_carry() {
        let cases = [
            (link(1, "lo", None, None), Some(Role::Loopback)),
            (link(2, "eth0", None, None), Some(Role::Uplink)),
            (link(3, "cni0", Some("bridge"), None), Some(Role::Bridge)),
            (link(4, "veth-known", Some("veth"), None), Some(Role::Pod)),
            (
                link(5, "veth-unknown", Some("veth"), Some(3)),
                Some(Role::Pod),
            ),
            (link(6, "up", Some("veth"), None), Some(Role::Uplink)),
            (
                link(7, "flannel.1", Some("vxlan"), None),
                Some(Role::Tunnel),
            ),
            (link(8, "kube-ipvs0", Some("dummy"), None), None),
            (link(9, "bond0", Some("bond"), None), Some(Role::Uplink)),
            (link(10, "eth1", None, Some(9)), Some(Role::Port)),
            (link(11, "eth2", None, Some(3)), Some(Role::Uplink)),
            (link(12, "eth0.100", Some("vlan"), None), Some(Role::Uplink)),
            (
                link(13, "with-gateway", Some("veth"), None),
                Some(Role::Pod),
            ),
            (
                link(14, "with-gateway-too", Some("veth"), None),
                Some(Role::Pod),
            ),
            (
                link(15, "with-own-address", Some("veth"), None),
                Some(Role::Uplink),
            ),
            (to(16, "patch", 17, None), Some(Role::Pair)),
            (to(17, "patched", 16, None), Some(Role::Pair)),
            // The other end is elsewhere, and by chance has the index of one here.
            (to(18, "to-a-pod", 16, Some(3)), Some(Role::Pod)),
            // The other end has been moved a moment ago.
            (to(19, "half", 4, None), Some(Role::Pod)),
        ];
        let stack = Stack {
            links: cases
                .iter()
                .map(|(link, _)| (link.index, link.clone()))
                .collect(),
            leading_out: BTreeSet::from([2, 6]),
            global: [(13, "10.0.0.1"), (14, "10.0.0.1"), (15, "192.0.2.1")]
                .map(|(index, address)| (index, BTreeSet::from([address.parse().unwrap()])))
                .into(),
            ..Stack::default()
        };
        let devices = classify(&stack, &BTreeSet::from([4]));
        for (link, role) in cases {
            assert_eq!(
                devices.by_index.get(&link.index).map(|device| device.role),
                role,
                "{}",
                link.name
            );
        }
    }
}
