//! Reads links, addresses and routes of one network namespace into plain values.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, anyhow};
use futures::{StreamExt as _, TryStreamExt as _};
use ipnet::{Ipv4Net, Ipv6Net};
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_core::{DefaultNla, NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressMessage, AddressScope},
        link::{
            InfoBareUdp, InfoData, InfoGeneve, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo,
            LinkLayerType, LinkMessage,
        },
        nsid::{NsidAttribute, NsidMessage},
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    },
};

/// `IFLA_TARGET_NETNSID` of `linux/if_link.h`.
const IFLA_TARGET_NETNSID: u16 = 46;

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
    /// The UDP port at which it opens packets, if it is a tunnel that does.
    pub listens: Option<u16>,
}

/// One namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stack {
    pub links: BTreeMap<u32, Link>,
    pub addresses: BTreeMap<u32, Vec<IpAddr>>,
    /// Broadcast addresses of its networks.
    pub broadcasts: BTreeSet<IpAddr>,
    /// Addresses of the routers of the node's networks, which it listens to where it forwards.
    pub anycast: BTreeSet<IpAddr>,
    /// Those that the node uses towards everybody: no link-local ones, and none that only gateways have.
    pub global: BTreeMap<u32, BTreeSet<IpAddr>>,
    /// Devices with a default route, or any route through a gateway.
    pub leading_out: BTreeSet<u32>,
    /// Devices of routes to one address without a gateway.
    pub host_routes: BTreeMap<IpAddr, BTreeSet<u32>>,
}

/// Reads the namespace that the handle's socket belongs to, with its routes.
pub(super) async fn read(handle: &Handle) -> anyhow::Result<Stack> {
    let mut stack = read_inside(handle, None).await?;
    for request in [
        RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(),
        RouteMessageBuilder::<std::net::Ipv6Addr>::new().build(),
    ] {
        let mut routes = handle.route().get(request).execute();
        while let Some(route) = routes.try_next().await.context("cannot list routes")? {
            leading_out(&route, &mut stack.leading_out);
            if let Some((address, device)) = host_route(&route) {
                stack.host_routes.entry(address).or_default().insert(device);
            }
        }
    }
    Ok(stack)
}

/// Reads links and addresses of the namespace that has this number here; `None`: of the handle's own.
///
/// Asking about another namespace takes CAP_NET_ADMIN only (entering it would take CAP_SYS_ADMIN), and a handle that
/// checks strictly: else the kernel ignores the question's restriction and answers about its own.
pub(super) async fn read_inside(handle: &Handle, namespace: Option<i32>) -> anyhow::Result<Stack> {
    let mut stack = Stack::default();
    let mut request = handle.link().get();
    if let Some(namespace) = namespace {
        let number = namespace.to_ne_bytes().to_vec();
        let target = LinkAttribute::Other(DefaultNla::new(IFLA_TARGET_NETNSID, number));
        request.message_mut().attributes.push(target);
    }
    let mut links = request.execute();
    while let Some(message) = links.try_next().await.context("cannot list interfaces")? {
        let link = link(&message);
        stack.links.insert(link.index, link);
    }
    let mut request = handle.address().get();
    if let Some(namespace) = namespace {
        let target = AddressAttribute::TargetNetNsId(namespace);
        request.message_mut().attributes.push(target);
    }
    let mut addresses = request.execute();
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
        if let Some(address) = address {
            stack.broadcasts.extend(broadcasts(&message, address));
            stack.anycast.extend(anycast(&message, address));
        }
        if message.header.scope == AddressScope::Universe {
            stack.global.entry(index).or_default().extend(address);
        }
    }
    for addresses in stack.addresses.values_mut() {
        addresses.sort_unstable();
        addresses.dedup();
    }
    Ok(stack)
}

/// What Linux takes for a broadcast to a network: the address that says so, and the network's last one, said or not.
fn broadcasts(message: &AddressMessage, address: IpAddr) -> impl Iterator<Item = IpAddr> + '_ {
    let said = message.attributes.iter().filter_map(|it| match it {
        AddressAttribute::Broadcast(address) => Some(IpAddr::V4(*address)),
        _ => None,
    });
    let last = match address {
        IpAddr::V4(address) if message.header.prefix_len < 31 => {
            Ipv4Net::new(address, message.header.prefix_len).ok()
        }
        _ => None,
    };
    said.chain(last.map(|net| IpAddr::V4(net.broadcast())))
}

/// What Linux, where it forwards, takes for an address of every router of a network (RFC 4291, 2.6.1).
fn anycast(message: &AddressMessage, address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V6(address)
            if message.header.prefix_len < 127 && !address.is_unicast_link_local() =>
        {
            let net = Ipv6Net::new(address, message.header.prefix_len).ok()?;
            Some(IpAddr::V6(net.network()))
        }
        _ => None,
    }
}

/// The UDP port at which a tunnel listens.
fn listens(data: &InfoData) -> Option<u16> {
    match data {
        InfoData::Vxlan(said) => said.iter().find_map(|it| match it {
            InfoVxlan::Port(port) => Some(*port),
            _ => None,
        }),
        InfoData::Geneve(said) => said.iter().find_map(|it| match it {
            InfoGeneve::Port(port) => Some(*port),
            _ => None,
        }),
        InfoData::BareUdp(said) => said.iter().find_map(|it| match it {
            InfoBareUdp::Port(port) => Some(*port),
            _ => None,
        }),
        _ => None,
    }
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
                    match info {
                        LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
                        LinkInfo::Data(data) => link.listens = listens(data),
                        _ => {}
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

/// The address and the device of a route to one address that needs no gateway.
fn host_route(route: &RouteMessage) -> Option<(IpAddr, u32)> {
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    let mut address = None;
    let mut device = None;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(to)) => {
                address = Some(IpAddr::V4(*to));
            }
            RouteAttribute::Destination(RouteAddress::Inet6(to)) => {
                address = Some(IpAddr::V6(*to));
            }
            RouteAttribute::Oif(index) => device = Some(*index),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) | RouteAttribute::MultiPath(_) => {
                return None;
            }
            _ => {}
        }
    }
    let address = address?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    (route.header.destination_prefix_length == whole).then_some((address, device?))
}

/// The number that the handle's namespace has for another one; it is given one if it has none.
pub(super) async fn number_of(
    handle: &mut Handle,
    namespace: BorrowedFd<'_>,
) -> anyhow::Result<Option<i32>> {
    if let Some(number) = namespace_id(handle, namespace).await? {
        return Ok(Some(number));
    }
    let mut message = NsidMessage::default();
    message.attributes = vec![
        NsidAttribute::Fd(u32::try_from(namespace.as_raw_fd())?),
        // Any that is free.
        NsidAttribute::Id(-1),
    ];
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewNsId(message));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let mut answers = handle.request(request)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer.payload
            && error.code.is_some()
            && error.raw_code() != -libc::EEXIST
        {
            return Err(anyhow!(error.to_io())).context("cannot give the namespace a number");
        }
    }
    namespace_id(handle, namespace).await
}

/// The number that the handle's namespace has for another one; `None` if it has none.
async fn namespace_id(
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
