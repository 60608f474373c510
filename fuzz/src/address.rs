//! What an address is, and what it leads to.

use std::net::{IpAddr, Ipv6Addr};

use crate::world::{Peer, peer};

/// What an IPv6 address leads to.
pub(crate) fn forms(of: IpAddr) -> Vec<IpAddr> {
    let mut forms = vec![of];
    if let IpAddr::V6(six) = of {
        let segments = six.segments();
        let low = || Ipv6Addr::from(u128::from(six) & 0xffff_ffff | 0xffff_0000_0000);
        if let Some(four) = six.to_ipv4() {
            forms.push(four.into());
        }
        let found = match segments {
            [0x64, 0xff9b, 0, 0, 0, 0, ..] => low().to_ipv4_mapped(),
            [0x2002, high, low, ..] => Some((u32::from(high) << 16 | u32::from(low)).into()),
            _ => None,
        };
        forms.extend(found.map(IpAddr::V4));
    }
    forms
}

/// The same address, a mapped one as what it maps.
pub(crate) fn canonical(of: IpAddr) -> IpAddr {
    of.to_canonical()
}

/// True for where a node's tunnel device listens: its address, and everybody's.
pub(crate) fn is_opened_by_nodes(of: IpAddr) -> bool {
    let many = match canonical(of) {
        IpAddr::V4(v4) => v4.octets()[0] >= 224,
        IpAddr::V6(v6) => v6.is_multicast(),
    };
    many || peer(canonical(of)) == Peer::Node
}

pub(crate) fn is_own(of: IpAddr) -> bool {
    peer(of) == Peer::Own
}
