//! Reads links, addresses and routes of one network namespace into plain values.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, anyhow};
use futures::{StreamExt as _, TryStreamExt as _};
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressScope},
        link::{LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage},
        nsid::{NsidAttribute, NsidMessage},
        route::{RouteAttribute, RouteMessage, RouteType},
    },
};

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    /// Kind, such as `veth`; `None` for hardware.
    pub kind: Option<String>,
    pub loopback: bool,
    /// Its packets have an Ethernet header.
    pub ethernet: bool,
    pub hardware_address: Option<[u8; 6]>,
    /// Index of the other end of a pair, or of the device below.
    pub peer: Option<u32>,
    /// Number of the namespace in which `peer` counts; `None`: this one.
    pub peer_netns: Option<i32>,
    /// Index of the bridge or bond that it belongs to.
    pub master: Option<u32>,
}

/// One namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stack {
    pub links: BTreeMap<u32, Link>,
    pub addresses: BTreeMap<u32, Vec<IpAddr>>,
    /// Those that the node uses towards everybody: no link-local ones, and none that only gateways have.
    pub global: BTreeMap<u32, BTreeSet<IpAddr>>,
    /// Devices with a default route, or any route through a gateway.
    pub leading_out: BTreeSet<u32>,
}

/// Reads the namespace that the handle's socket belongs to.
pub(super) async fn read(handle: &Handle, routes: bool) -> anyhow::Result<Stack> {
    let mut stack = Stack::default();
    let mut links = handle.link().get().execute();
    while let Some(message) = links.try_next().await.context("cannot list interfaces")? {
        let link = link(&message);
        stack.links.insert(link.index, link);
    }
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses
        .try_next()
        .await
        .context("cannot list addresses")?
    {
        let local = message
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            });
        // On point-to-point links the other attribute is the peer's address; on all others IPv6 has only that one.
        let address = local.or_else(|| {
            message
                .attributes
                .iter()
                .find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => Some(*address),
                    _ => None,
                })
        });
        let index = message.header.index;
        stack.addresses.entry(index).or_default().extend(address);
        if message.header.scope == AddressScope::Universe {
            stack.global.entry(index).or_default().extend(address);
        }
    }
    for addresses in stack.addresses.values_mut() {
        addresses.sort_unstable();
        addresses.dedup();
    }
    if routes {
        for request in [
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
        ] {
            let mut routes = handle.route().get(request).execute();
            while let Some(route) = routes.try_next().await.context("cannot list routes")? {
                leading_out(&route, &mut stack.leading_out);
            }
        }
    }
    Ok(stack)
}

fn link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        loopback: message.header.flags.contains(LinkFlags::Loopback),
        ethernet: matches!(
            message.header.link_layer_type,
            LinkLayerType::Ether | LinkLayerType::Loopback
        ),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) => {
                link.hardware_address = bytes.as_slice().try_into().ok()
            }
            LinkAttribute::Link(index) => link.peer = Some(*index),
            LinkAttribute::LinkNetNsId(id) => link.peer_netns = Some(*id),
            LinkAttribute::Controller(index) => link.master = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = Some(kind.to_string());
                    }
                }
            }
            _ => {}
        }
    }
    link
}

fn leading_out(route: &RouteMessage, devices: &mut BTreeSet<u32>) {
    if route.header.kind != RouteType::Unicast {
        return;
    }
    let default = route.header.destination_prefix_length == 0;
    let gateway = route.attributes.iter().any(|attribute| {
        matches!(
            attribute,
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_)
        )
    });
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) if default || gateway => {
                devices.insert(*index);
            }
            RouteAttribute::MultiPath(hops) => {
                devices.extend(hops.iter().map(|hop| hop.interface_index));
            }
            _ => {}
        }
    }
}

/// The number that the handle's namespace has for another one; `None` if it has none.
pub(super) async fn namespace_id(
    handle: &mut Handle,
    namespace: BorrowedFd<'_>,
) -> anyhow::Result<Option<i32>> {
    let mut message = NsidMessage::default();
    message
        .attributes
        .push(NsidAttribute::Fd(u32::try_from(namespace.as_raw_fd())?));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(message));
    request.header.flags = NLM_F_REQUEST;
    let mut answers = handle.request(request)?;
    while let Some(answer) = answers.next().await {
        match answer.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(message)) => {
                let id = message
                    .attributes
                    .iter()
                    .find_map(|attribute| match attribute {
                        NsidAttribute::Id(id) => Some(*id),
                        _ => None,
                    });
                return Ok(id.filter(|id| *id >= 0));
            }
            NetlinkPayload::Error(error) if error.code.is_some() => {
                return Err(anyhow!(error.to_io())).context("cannot read the namespace's number");
            }
            _ => {}
        }
    }
    Ok(None)
}
