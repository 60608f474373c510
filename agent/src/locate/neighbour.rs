//! Reads neighbours, and what bridges have learned, into plain values.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use rtnetlink::{
    Handle,
    packet_route::{
        AddressFamily,
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    },
};

/// Who answers for addresses, and behind which ports of bridges they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Neighbours {
    /// (device, hardware address) of each address that has answered.
    pub by_address: BTreeMap<IpAddr, BTreeSet<(u32, [u8; 6])>>,
    /// The port behind which a bridge has learned a hardware address, by (bridge, hardware address).
    pub ports: BTreeMap<(u32, [u8; 6]), u32>,
}

/// Reads the neighbours of the handle's own namespace. Needs a handle that checks strictly.
pub(super) async fn read(handle: &Handle) -> anyhow::Result<Neighbours> {
    let mut found = Neighbours::default();
    let mut all = handle.neighbours().get().execute();
    while let Some(message) = all.try_next().await.context("cannot list neighbours")? {
        if !has_answered(message.header.state) {
            continue;
        }
        let address = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(it)) => {
                    Some(IpAddr::V4(*it))
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(it)) => {
                    Some(IpAddr::V6(*it))
                }
                _ => None,
            });
        if let (Some(address), Some(hardware)) = (address, hardware_address(&message)) {
            let entry = (message.header.ifindex, hardware);
            found.by_address.entry(address).or_default().insert(entry);
        }
    }
    let request = handle.neighbours().get();
    let mut all = request.set_address_family(AddressFamily::Bridge).execute();
    while let Some(message) = all
        .try_next()
        .await
        .context("cannot list what bridges have learned")?
    {
        // Those are the ports' own.
        if message.header.state == NeighbourState::Permanent {
            continue;
        }
        let bridge = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                NeighbourAttribute::Controller(bridge) => Some(*bridge),
                _ => None,
            });
        if let (Some(bridge), Some(hardware)) = (bridge, hardware_address(&message)) {
            found
                .ports
                .insert((bridge, hardware), message.header.ifindex);
        }
    }
    Ok(found)
}

fn has_answered(state: NeighbourState) -> bool {
    matches!(
        state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
    )
}

fn hardware_address(message: &NeighbourMessage) -> Option<[u8; 6]> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        })
}
