//! Addresses and networks in their one canonical form: an IPv4-mapped IPv6 address is the IPv4 address,
//! and host bits of networks are zero.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Bits of an IPv4-mapped IPv6 address before the IPv4 address.
const MAPPED_BITS: u8 = 96;

/// The canonical form of a network.
pub(super) fn canonical_net(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && let Some(length) = v6.prefix_len().checked_sub(MAPPED_BITS)
        && let Some(v4) = v6.network().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(v4, length)
    {
        return IpNet::V4(v4.trunc());
    }
    net.trunc()
}

/// The first `length` bits of a network's address, as a network; the whole network if it is shorter.
pub(super) fn shortened(net: IpNet, length: u8) -> IpNet {
    let length = length.min(net.prefix_len());
    match net {
        IpNet::V4(v4) => Ipv4Net::new(v4.addr(), length).map_or(net, |it| IpNet::V4(it.trunc())),
        IpNet::V6(v6) => Ipv6Net::new(v6.addr(), length).map_or(net, |it| IpNet::V6(it.trunc())),
    }
}

/// True for an address that means something on one link only.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4 == Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_unspecified(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_networks_become_ipv4_and_host_bits_go() {
        for (net, expect) in [
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3/128", "10.1.2.3/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("fd00::1/64", "fd00::/64"),
        ] {
            assert_eq!(
                canonical_net(net.parse().unwrap()),
                expect.parse().unwrap(),
                "{net}"
            );
        }
    }
}
