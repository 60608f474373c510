//! The metadata check: destination only, before anything else can allow.

use super::{Address, Outcome, Tables};
use crate::{
    V6, bits,
    cell::Verdict,
    endpoint::EndpointRecord,
    event::Reason,
    metadata::{Grants, PortKey, embedded_by, halves, whole},
    packet::{Fragment, Packet, tcp},
    protocol,
};

/// What a packet asks of an address: its protocol in bits 0-7, its port in 8-23, bit 24 if it has one to look at. As one word,
/// for it is handed to functions of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked(pub u64);

impl Asked {
    const HAS_PORT: u64 = 1 << 24;

    /// Of a packet with this protocol, and of a later fragment without port.
    #[must_use]
    #[inline(always)]
    pub const fn new(protocol: u8, port: Option<u16>) -> Self {
        match port {
            Some(port) => Self(Self::HAS_PORT | (port as u64) << 8 | protocol as u64),
            None => Self(protocol as u64),
        }
    }

    /// What this packet asks.
    #[must_use]
    #[inline(always)]
    pub fn of<A>(packet: &Packet<A>) -> Self {
        let port = match packet.fragment {
            Fragment::Later => None,
            _ => Some(packet.destination_port),
        };
        Self::new(packet.protocol, port)
    }

    #[inline(always)]
    const fn protocol(self) -> u8 {
        bits::u8_at(self.0, 0)
    }

    #[inline(always)]
    const fn port(self) -> Option<u16> {
        if self.0 & Self::HAS_PORT == 0 {
            None
        } else {
            Some(bits::u16_at(self.0, 8))
        }
    }
}

/// The metadata endpoints that the packet's destination is, one bit each as in [`crate::metadata::Grants::ask`]; 0 if it is none, or one of
/// its ports that stay open. `destination` is its destination, IPv4 mapped.
#[inline(always)]
pub(super) fn needed<T: Tables, A: Address>(
    tables: &T,
    packet: &Packet<A>,
    destination: &V6,
) -> u32 {
    let asked = Asked::of(packet);
    let mut needed = 0;
    let (first, second) = halves(destination);
    if tables.may_be_metadata(destination) {
        needed |= tables.endpoint_at(first, second, asked);
    }
    if let Some(inner) = packet.destination.embedded()
        && tables.may_be_metadata(&inner)
    {
        let (first, second) = halves(&inner);
        needed |= tables.endpoint_at(first, second, asked);
    }
    if tables.config().nat64[0].bytes != 0 && A::IS_V6 {
        needed |= tables.endpoint_behind(first, second, asked);
    }
    needed
}

/// What becomes, at its pod's device, of a packet to these endpoints that has got so far: without a grant it has in audit. Whatever else
/// denies it does, and of what passes is told as soon as it opens a flow, or answers one that the metadata service has opened.
#[inline(always)]
pub(super) fn audited<A>(
    record: &EndpointRecord,
    packet: &Packet<A>,
    needed: u32,
    outcome: Outcome,
) -> Outcome {
    let lacks = needed & !Grants(record.grants).ask() != 0;
    if !lacks || matches!(outcome.verdict, Verdict::Deny) {
        return outcome;
    }
    let told = match outcome.reason {
        Reason::Established => false,
        Reason::Reply => packet.protocol != protocol::TCP || packet.tcp_flags & tcp::SYN != 0,
        _ => true,
    };
    Outcome {
        stamp: outcome.stamp,
        ..Outcome::audited(told)
    }
}

/// The second half of an IPv4 address's mapped form, without the address.
const MAPPED: u64 = 0xffff_0000_0000;

/// The metadata endpoint at the address with these halves (IPv4 mapped) of which this is asked, as one bit.
#[must_use]
#[inline(always)]
pub fn endpoint_at<T: Tables>(tables: &T, first: u64, second: u64, asked: Asked) -> u32 {
    let address = &whole(first, second);
    let Some(word) = tables.metadata(address) else {
        return 0;
    };
    if !word.is_of(address) {
        // It was recycled while it was being read: no reason to let the packet pass.
        return u32::MAX;
    }
    if word.is_open(asked.protocol(), asked.port()) {
        return 0;
    }
    if word.list() != 0
        && let Some(port) = asked.port()
    {
        let protocol = asked.protocol();
        let has_ports = matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
        let key = PortKey {
            list: word.list(),
            port: if has_ports { port } else { 0 },
            protocol,
            _pad: [0; 3],
        };
        if !tables.is_metadata_port(&key) {
            return 0;
        }
    }
    word.endpoint()
}

/// The metadata endpoints behind the IPv6 address with these halves by the configured prefixes of NAT64.
#[must_use]
#[inline(always)]
pub fn endpoint_behind<T: Tables>(tables: &T, first: u64, second: u64, asked: Asked) -> u32 {
    let mut needed = 0;
    for prefix in &tables.config().nat64 {
        if let Some(inner) = embedded_by(prefix, first, second) {
            needed |= tables.endpoint_at(0, MAPPED | u64::from(inner), asked);
        }
    }
    needed
}
