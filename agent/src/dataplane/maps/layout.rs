//! Plain values as keys and values of maps, and back.

use std::net::{IpAddr, Ipv6Addr};

use ringfence_common::{
    V6,
    catalogue::NameEntry,
    service::{ANY_NODE_ADDRESS, ServiceKey},
};

use crate::{compile::Translated, dataplane::KernelError, model::Protocol};

/// A translated destination as a key of `SERVICES`.
#[must_use]
pub fn service_key(translated: &Translated) -> ServiceKey {
    ServiceKey {
        address: translated.address.map_or(ANY_NODE_ADDRESS, mapped),
        port: translated.port,
        protocol: translated.protocol.number(),
        _pad: 0,
    }
}

/// The translated destination behind a key of `SERVICES`; `None` for a protocol that no Service has.
#[must_use]
pub fn translated(key: &ServiceKey) -> Option<Translated> {
    Some(Translated {
        address: (key.address != ANY_NODE_ADDRESS).then(|| unmapped(key.address)),
        protocol: Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.number() == key.protocol)?,
        port: key.port,
    })
}

/// An address as a key of family-less maps.
#[must_use]
pub fn mapped(address: IpAddr) -> V6 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The address behind a key of family-less maps.
#[must_use]
pub fn unmapped(address: V6) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(address)).to_canonical()
}

pub(in crate::dataplane) fn named(name: &str) -> Result<NameEntry, KernelError> {
    NameEntry::new(name).ok_or_else(|| {
        KernelError::Other(format!(
            "the name `{name}` is longer than {} bytes",
            ringfence_common::catalogue::NAME_BYTES
        ))
    })
}
