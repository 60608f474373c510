//! What the node translates: where egress cannot be judged at the sender.

use std::{collections::BTreeSet, net::IpAddr};

use imbl::OrdSet;

use super::desired::Translated;
use crate::model::Snapshot;

/// Every Service's addresses and ports, node ports, and the host ports of this node's pods.
///
/// A Service without endpoints is among them: what goes there is refused by the node, not by policy.
pub(super) fn translated(snapshot: &Snapshot) -> OrdSet<Translated> {
    let mut all = OrdSet::new();
    for service in snapshot.services.values() {
        for port in &service.ports {
            let protocol = port.protocol;
            all.extend(service.addresses.iter().map(|address| Translated {
                address: Some(address.to_canonical()),
                protocol,
                port: port.port,
            }));
            all.extend(port.node_port.map(|port| Translated {
                address: None,
                protocol,
                port,
            }));
        }
    }
    for key in snapshot.local.keys() {
        let Some(pod) = snapshot.pods.get(key).filter(|pod| pod.is_running()) else {
            continue;
        };
        for port in pod.ports.iter() {
            all.extend(port.host_port.map(|number| Translated {
                address: None,
                protocol: port.protocol,
                port: number,
            }));
        }
    }
    all
}

/// Addresses that the cluster's other nodes listen to, and that are not this one's.
pub(super) fn other_nodes(snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let own: BTreeSet<IpAddr> = snapshot
        .node_addresses
        .iter()
        .map(IpAddr::to_canonical)
        .collect();
    snapshot
        .nodes
        .values()
        .flat_map(|node| &node.addresses)
        .chain(&snapshot.broadcasts)
        .map(IpAddr::to_canonical)
        .filter(|address| !own.contains(address))
        .collect()
}
