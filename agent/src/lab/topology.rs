//! Links, addresses and routes of a lab, as a CNI that routes would lay them (Calico's way):
//!
//! ```text
//!   pod namespace          node's namespace           outside's namespace
//!  ┌──────────────┐      ┌──────────────────┐        ┌──────────────────┐
//!  │ eth0 /32 /128 ├──────┤ p0-web-1  uplink0 ├────────┤ eth0              │
//!  └──────────────┘      │ p1-db-0           │        │ every outside host│
//!                        └──────────────────┘        └──────────────────┘
//! ```
//!
//! Each link's node side has 169.254.1.1 and fe80::1, which is the other side's gateway; the node routes
//! each address to its link. No bridge, no proxy ARP, no duplicate address detection: an address can be used
//! as soon as it is there.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        address::{AddressHeaderFlags, AddressScope},
        link::{InfoData, InfoVeth},
        route::RouteScope,
    },
};
use tokio::runtime;

use super::netns;

/// The gateway of pods and outside.
const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The same for IPv6.
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// The node's device towards outside.
const UPLINK: &str = "uplink0";
/// The other side's device, in pods and outside.
const INNER: &str = "eth0";
/// The longest name of a device.
const NAME_LIMIT: usize = 15;

/// One link from the node to another namespace.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Name of its node side.
    pub(super) name: String,
    /// Namespace of its other side.
    pub(super) netns: String,
    /// Addresses of the other side.
    pub(super) addresses: Vec<IpAddr>,
}

impl Link {
    /// The link of a pod: its device on the node is named by its number and, as far as it fits, its name.
    pub(super) fn of_pod(number: usize, name: &str, netns: String, addresses: Vec<IpAddr>) -> Self {
        let mut device = format!("p{number}-{name}");
        // Pods' names are ASCII, and a name that is not must not split a character.
        while device.len() > NAME_LIMIT {
            device.pop();
        }
        Self {
            name: device,
            netns,
            addresses,
        }
    }

    /// The link to outside.
    pub(super) fn uplink(netns: String, addresses: Vec<IpAddr>) -> Self {
        Self {
            name: UPLINK.to_owned(),
            netns,
            addresses,
        }
    }
}

/// Lays all links of a node. The namespaces are there and empty.
pub(super) fn lay(node: &str, node_addresses: &[IpAddr], links: &[Link]) -> Result<()> {
    netns::inside(node, || {
        netns::set_parameter("net/ipv4/ip_forward", "1")?;
        netns::set_parameter("net/ipv6/conf/all/forwarding", "1")?;
        run(async |handle| {
            up(handle, index(handle, "lo").await?).await?;
            for link in links {
                node_side(handle, link, node_addresses)
                    .await
                    .with_context(|| {
                        format!(
                            "cannot lay {} to the network namespace {}",
                            link.name, link.netns
                        )
                    })?;
            }
            Ok(())
        })
    })?;
    for link in links {
        netns::inside(&link.netns, || {
            run(async |handle| inner_side(handle, link).await)
        })
        .with_context(|| format!("cannot set up the network namespace {}", link.netns))?;
    }
    Ok(())
}

/// Parameters that every namespace of a lab has, set before it has devices so that they inherit them.
pub(super) fn prepare() -> Result<()> {
    for scope in ["all", "default"] {
        netns::set_parameter(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
        netns::set_parameter(&format!("net/ipv4/conf/{scope}/send_redirects"), "0")?;
        // Both are asked: an address skips detection only if neither wants it.
        netns::set_parameter(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
        netns::set_parameter(&format!("net/ipv6/conf/{scope}/accept_ra"), "0")?;
        netns::set_parameter(&format!("net/ipv6/conf/{scope}/router_solicitations"), "0")?;
        netns::set_parameter(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "0")?;
    }
    // Many probes at once to closed UDP ports: each must hear that its port is closed.
    netns::set_parameter("net/ipv4/icmp_ratelimit", "0")?;
    netns::set_parameter("net/ipv6/icmp/ratelimit", "0")?;
    // One's own since Linux 6.13, the machine's before, where it is left alone.
    netns::set_parameter_if_present("net/ipv4/icmp_msgs_per_sec", "100000")?;
    netns::set_parameter_if_present("net/ipv4/icmp_msgs_burst", "100000")
}

/// Makes a link and, on the node, its gateway addresses and the routes into it.
async fn node_side(handle: &Handle, link: &Link, node_addresses: &[IpAddr]) -> Result<()> {
    let other = netns::open(&link.netns)?;
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(INNER)
        .setns_by_fd(other.as_raw_fd())
        .build();
    let veth = LinkVeth::new(&link.name, INNER)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .up()
        .build();
    handle
        .link()
        .add(veth)
        .execute()
        .await
        .context("cannot make a veth pair")?;
    let index = index(handle, &link.name).await?;

    let mut gateway = handle.address().add(index, GATEWAY_V4.into(), 32);
    // Of the link's scope, so that the node never takes it as its own address towards others.
    gateway.message_mut().header.scope = AddressScope::Link;
    gateway
        .execute()
        .await
        .context("cannot set the IPv4 gateway address")?;
    add_address(handle, index, GATEWAY_V6.into(), 64).await?;
    if link.name == UPLINK {
        for &address in node_addresses {
            add_address(handle, index, address, full_length(address)).await?;
        }
    }
    for &address in &link.addresses {
        let message = match address {
            IpAddr::V4(address) => {
                let route = RouteMessageBuilder::<Ipv4Addr>::new()
                    .destination_prefix(address, 32)
                    .output_interface(index)
                    .scope(RouteScope::Link);
                let own = node_addresses.iter().find_map(|own| {
                    if let IpAddr::V4(own) = own {
                        Some(*own)
                    } else {
                        None
                    }
                });
                own.into_iter()
                    .fold(route, RouteMessageBuilder::<Ipv4Addr>::pref_source)
                    .build()
            }
            IpAddr::V6(address) => {
                let route = RouteMessageBuilder::<Ipv6Addr>::new()
                    .destination_prefix(address, 128)
                    .output_interface(index);
                let own = node_addresses.iter().find_map(|own| {
                    if let IpAddr::V6(own) = own {
                        Some(*own)
                    } else {
                        None
                    }
                });
                own.into_iter()
                    .fold(route, RouteMessageBuilder::<Ipv6Addr>::pref_source)
                    .build()
            }
        };
        handle
            .route()
            .add(message)
            .execute()
            .await
            .with_context(|| format!("cannot route {address}"))?;
    }
    Ok(())
}

/// Addresses and default routes of a pod, or of outside.
async fn inner_side(handle: &Handle, link: &Link) -> Result<()> {
    up(handle, index(handle, "lo").await?).await?;
    let index = index(handle, INNER).await?;
    up(handle, index).await?;
    for &address in &link.addresses {
        add_address(handle, index, address, full_length(address)).await?;
    }
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new()
        .gateway(GATEWAY_V4)
        .output_interface(index)
        .onlink()
        .build();
    handle
        .route()
        .add(v4)
        .execute()
        .await
        .context("cannot set the IPv4 default route")?;
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new()
        .gateway(GATEWAY_V6)
        .output_interface(index)
        .build();
    handle
        .route()
        .add(v6)
        .execute()
        .await
        .context("cannot set the IPv6 default route")
}

async fn add_address(handle: &Handle, index: u32, address: IpAddr, prefix: u8) -> Result<()> {
    let mut request = handle.address().add(index, address, prefix);
    if address.is_ipv6() {
        // Without it the address is tentative, and no source, until the other side is up.
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    }
    request
        .execute()
        .await
        .with_context(|| format!("cannot set the address {address}"))
}

const fn full_length(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

async fn index(handle: &Handle, name: &str) -> Result<u32> {
    let mut links = handle.link().get().match_name(name).execute();
    let link = links
        .try_next()
        .await
        .with_context(|| format!("cannot look up the device {name}"))?;
    Ok(link
        .with_context(|| format!("no device {name}"))?
        .header
        .index)
}

async fn up(handle: &Handle, index: u32) -> Result<()> {
    let message = LinkMessageBuilder::<LinkUnspec>::new()
        .index(index)
        .up()
        .build();
    handle
        .link()
        .set(message)
        .execute()
        .await
        .with_context(|| format!("cannot set device {index} up"))
}

/// Talks netlink in the calling thread's namespace.
fn run<T>(work: impl AsyncFnOnce(&Handle) -> Result<T>) -> Result<T> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(async {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("cannot open a netlink socket")?;
        let connection = tokio::spawn(connection);
        let result = work(&handle).await;
        connection.abort();
        result
    })
}

#[cfg(test)]
mod tests {
    use super::Link;

    #[test]
    fn names_of_devices_fit() {
        for (number, name, expect) in [
            (0, "web", "p0-web"),
            (12, "web-version1-abcdef", "p12-web-version"),
            (1, "ééééééééé", "p1-éééééé"),
        ] {
            assert_eq!(
                Link::of_pod(number, name, String::new(), Vec::new()).name,
                expect
            );
        }
    }
}
