//! The metadata check: destination only, before anything else can allow.

use super::{Address, Tables};
use crate::{
    V6,
    packet::{Fragment, Packet},
};

/// The grants that the packet's destination asks for, one bit each; 0 if it is no metadata endpoint, or one of its ports
/// that stay open. `destination` is its destination, IPv4 mapped.
#[inline(always)]
pub(super) fn needed<T: Tables, A: Address>(
    tables: &T,
    packet: &Packet<A>,
    destination: &V6,
) -> u64 {
    let mut needed = at(tables, packet, destination);
    if let Some(inner) = packet.destination.embedded() {
        needed |= at(tables, packet, &inner);
    }
    needed
}

#[inline(always)]
fn at<T: Tables, A: Address>(tables: &T, packet: &Packet<A>, address: &V6) -> u64 {
    if !tables.may_be_metadata(address) {
        return 0;
    }
    let Some(word) = tables.metadata(address) else {
        return 0;
    };
    let port = match packet.fragment {
        Fragment::Later => None,
        _ => Some(packet.destination_port),
    };
    if !word.is_of(address) {
        // It was recycled while it was being read: no reason to let the packet pass.
        u64::MAX
    } else if word.is_open(packet.protocol, port) {
        0
    } else {
        word.grant()
    }
}
