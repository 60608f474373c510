//! Reads neighbours, and what bridges have learned, into plain values.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use rtnetlink::{
    Handle,
    packet_route::{
        AddressFamily,
        neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
        route::{RouteAttribute, RouteMessage},
    },
};

use super::netlink::Stack;

/// The port for what nobody needs (RFC 863).
const DISCARD: u16 = 9;

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

/// Makes the node ask on its bridges who has these addresses: the answers are there when it looks again.
///
/// Nobody is a neighbour before the node has something for him. An empty datagram for the port `discard` is as little as
/// can be; it is sent only where the way to the address begins at a bridge.
pub(super) async fn ask(handle: &Handle, addresses: &[IpAddr], node: &Stack) {
    for &address in addresses {
        let Some(device) = way(handle, address).await else {
            continue;
        };
        let kind = node
            .links
            .get(&device)
            .and_then(|link| link.kind.as_deref());
        if kind != Some("bridge") {
            continue;
        }
        let unspecified: IpAddr = if address.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let sent = UdpSocket::bind((unspecified, 0))
            .and_then(|socket| socket.send_to(&[], (address, DISCARD)));
        if let Err(error) = sent {
            tracing::debug!(%address, %error, "cannot ask who has it");
        }
    }
}

/// The device at which the node's way to this address begins, if that needs no gateway.
async fn way(handle: &Handle, address: IpAddr) -> Option<u32> {
    // The builder fills in what a strict question must leave empty.
    let mut request = RouteMessage::default();
    (
        request.header.address_family,
        request.header.destination_prefix_length,
    ) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    let destination = RouteAttribute::Destination(address.into());
    request.attributes.push(destination);
    let mut answers = std::pin::pin!(handle.route().get(request).execute());
    let route = answers.try_next().await.ok()??;
    let mut device = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => device = Some(*index),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => return None,
            _ => {}
        }
    }
    device
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
