//! Finds a pod by the port of a bridge behind which its hardware address was learned. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use super::{neighbour::Neighbours, netlink::Stack, route};
use crate::model::Located;

/// The port behind which the bridge has learned the hardware address that a neighbour on the bridge has.
pub(super) fn by_port(
    addresses: &[IpAddr],
    neighbours: &Neighbours,
    node: &Stack,
) -> Result<Located, String> {
    let on_bridges: BTreeSet<(u32, [u8; 6])> = addresses
        .iter()
        .filter_map(|address| neighbours.by_address.get(address))
        .flatten()
        .copied()
        .filter(|(device, _)| {
            let kind = node.links.get(device).and_then(|link| link.kind.as_deref());
            kind == Some("bridge")
        })
        .collect();
    if on_bridges.is_empty() {
        return Err("no neighbour on a bridge has its address".to_owned());
    }
    let ports: BTreeSet<u32> = on_bridges
        .iter()
        .filter_map(|learned| neighbours.ports.get(learned))
        .copied()
        // A port that has left the bridge may be anybody's by now.
        .filter(|port| {
            let master = node.links.get(port).and_then(|link| link.master);
            on_bridges.iter().any(|&(bridge, _)| master == Some(bridge))
        })
        .collect();
    route::one(
        &ports,
        node,
        "no port of the bridge has learned its hardware address",
        "its hardware address is behind",
    )
}

#[cfg(test)]
mod tests {
    use super::{super::route::tests::node, *};

    #[test]
    fn the_port_that_has_learned_the_neighbours_hardware_address_is_the_pods() {
        let mut node = node(&[
            (3, "cni0", "bridge", None),
            (7, "veth7", "veth", Some(1)),
            (8, "veth8", "veth", Some(2)),
            (9, "eth1", "", None),
        ]);
        for (port, master) in [(7, 3), (8, 4), (9, 3)] {
            node.links.get_mut(&port).unwrap().master = Some(master);
        }
        let address = |text: &str| -> IpAddr { text.parse().unwrap() };
        let neighbours = Neighbours {
            by_address: [
                (address("10.0.0.7"), [(3, [7; 6])].into()),
                (address("10.0.0.8"), [(3, [8; 6])].into()),
                (address("10.0.0.9"), [(3, [9; 6])].into()),
                (address("10.0.0.10"), [(3, [10; 6])].into()),
                (address("10.0.0.11"), [(7, [7; 6])].into()),
            ]
            .into(),
            ports: [((3, [7; 6]), 7), ((3, [8; 6]), 8), ((3, [9; 6]), 9)].into(),
        };
        let find =
            |text| by_port(&[address(text)], &neighbours, &node).map(|located| located.interface);
        assert_eq!(find("10.0.0.7"), Ok("veth7".to_owned()));
        assert!(
            find("10.0.0.8").is_err_and(|it| it.contains("no port")),
            "another bridge's"
        );
        assert!(
            find("10.0.0.9").is_err_and(|it| it.contains("eth1")),
            "no pod's"
        );
        assert!(
            find("10.0.0.10").is_err_and(|it| it.contains("no port")),
            "not learned"
        );
        assert!(
            find("10.0.0.11").is_err_and(|it| it.contains("on a bridge")),
            "no bridge"
        );
    }
}
