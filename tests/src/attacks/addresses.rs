//! Who has which address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The service's addresses, as it is reached: its own, and those that translators beyond the node would lead to it.
pub const SERVICE: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    NAT64,
    IpAddr::V6(Ipv6Addr::new(
        0x2002, 0xa9fe, 0xa9fe, 0, 0, 0, 0xa9fe, 0xa9fe,
    )),
    LINK_LOCAL,
];
/// The first within the well-known prefix of NAT64.
pub const NAT64: IpAddr = IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xa9fe, 0xa9fe));
/// The first as an address of the link.
pub const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe));
/// The first behind a prefix of NAT64 that the agent is told of.
pub const CONFIGURED_NAT64: IpAddr =
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0xa9fe, 0xa9fe));
/// That prefix.
pub const NAT64_PREFIX: &str = "2001:db8:64::/96";
/// Azure's, which is a resolver as well.
pub const AZURE: IpAddr = IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16));
/// Google Cloud's over IPv6, which is a resolver and a time server as well.
pub const GOOGLE: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254));
/// Metadata services of other clouds.
pub const OTHER_CLOUDS: [IpAddr; 10] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 252)),
    AZURE,
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 0, 23)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 42, 42)),
    GOOGLE,
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
];
/// Neighbours of theirs that are no metadata service and must stay reachable.
pub const OPEN: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 20, 10)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 253)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 123)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253)),
];
/// Another node of the cluster: what a pod sends into a tunnel of it comes out there.
pub const OTHER_NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 9, 2));

/// True for an address at which an arrival counts.
#[must_use]
pub fn is_service(address: IpAddr) -> bool {
    SERVICE.contains(&address)
        || OTHER_CLOUDS.contains(&address)
        || address == CONFIGURED_NAT64
        || address == OTHER_NODE
}

/// A host beside the service, which everybody may talk to.
pub const FENCE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// The node's addresses.
pub const NODE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 0, 9, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1)),
];
/// The bridge's addresses.
pub const BRIDGE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 244, 9, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0x244, 9, 0, 0, 0, 0xfe)),
];
/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: &'static [Self] = &[Self::V4, Self::V6];

    /// The address of a pair that is of this family.
    #[must_use]
    pub fn of(self, pair: [IpAddr; 2]) -> IpAddr {
        pair[usize::from(self == Self::V6)]
    }

    /// The service's address.
    #[must_use]
    pub fn service(self) -> IpAddr {
        self.of([SERVICE[0], SERVICE[1]])
    }
}
