//! The metadata check: destination only, before anything else can allow.

use super::{Address, Tables};
use crate::{
    V6,
    endpoint::EndpointRecord,
    packet::{Fragment, Packet},
};

/// True if the packet goes to a metadata endpoint that the pod was not granted. `destination` is its destination, IPv4
/// mapped.
#[inline(always)]
pub(super) fn denies<T: Tables, A: Address>(
    tables: &T,
    record: &EndpointRecord,
    packet: &Packet<A>,
    destination: &V6,
) -> bool {
    if denied_at(tables, record, packet, destination) {
        return true;
    }
    match packet.destination.embedded() {
        Some(inner) => denied_at(tables, record, packet, &inner),
        None => false,
    }
}

#[inline(always)]
fn denied_at<T: Tables, A: Address>(
    tables: &T,
    record: &EndpointRecord,
    packet: &Packet<A>,
    address: &V6,
) -> bool {
    if !tables.may_be_metadata(address) {
        return false;
    }
    let Some(word) = tables.metadata(address) else {
        return false;
    };
    let port = match packet.fragment {
        Fragment::Later => None,
        _ => Some(packet.destination_port),
    };
    // A word that is not this address's was recycled while it was being read: no reason to let the packet pass.
    !(word.is_of(address) && (word.is_open(packet.protocol, port) || word.granted(record.grants)))
}
