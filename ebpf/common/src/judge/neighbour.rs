//! ARP (RFC 826), neighbour discovery (RFC 4861) and multicast listener discovery (RFC 2710, RFC 3810):
//! what must work under default deny, and whom a pod may speak for.

use super::{Context, Outcome};
use crate::{
    Hook, V6,
    endpoint::{EndpointRecord, flags},
    event::Reason,
    packet::{self, Bytes, Fragment, Packet},
    protocol,
};

const LISTENER_QUERY: u8 = 130;
const LISTENER_REPORT: u8 = 131;
const LISTENER_DONE: u8 = 132;
const LISTENER_REPORT_2: u8 = 143;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;
const UNSPECIFIED: V6 = [0; 16];

/// True for `fe80::/10`.
#[inline(always)]
pub(super) const fn is_link_local(address: &V6) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

/// True for neighbour discovery and multicast listener discovery.
#[inline(always)]
pub(super) fn is_neighbour_message(packet: &Packet<V6>) -> bool {
    packet.protocol == protocol::ICMPV6
        && packet.fragment != Fragment::Later
        && matches!(packet.icmp_type, 130..=137 | 143)
}

/// Judges an ARP packet: from a pod, the sender must be the pod.
#[inline(always)]
pub(super) fn arp<B: Bytes + ?Sized>(
    bytes: &B,
    offset: usize,
    context: &Context,
    record: &EndpointRecord,
) -> Outcome {
    let sender = match packet::arp(bytes, offset) {
        Ok(sender) => sender,
        Err(reason) => return Outcome::deny(reason),
    };
    let own_address = sender.address == [0; 4] || super::Address::is_own(&sender.address, record);
    let own_hardware =
        record.flags & flags::HARDWARE_ADDRESS == 0 || sender.hardware == record.hardware_address;
    if matches!(context.hook, Hook::FromPod) && !(own_address && own_hardware) {
        return Outcome::deny(Reason::NeighbourForged);
    }
    Outcome::allow(Reason::Neighbour)
}

/// Judges neighbour and listener discovery; `None` for any other packet.
#[inline(always)]
pub(super) fn discovery<B: Bytes + ?Sized>(
    bytes: &B,
    context: &Context,
    record: &EndpointRecord,
    packet: &Packet<V6>,
) -> Option<Outcome> {
    if !is_neighbour_message(packet) {
        return None;
    }
    if !matches!(packet.icmp_type, ROUTER_SOLICITATION..=REDIRECT) {
        return listener(bytes, context, record, packet);
    }
    // RFC 4861 section 6.1 and 7.1: from the link itself; RFC 6980: never in fragments.
    if packet.hop_limit != 255 || packet.fragment != Fragment::Whole {
        return Some(Outcome::deny(Reason::NeighbourForged));
    }
    if !matches!(context.hook, Hook::FromPod) {
        return Some(Outcome::allow(Reason::Neighbour));
    }
    Some(match speaks_for_itself(bytes, record, packet) {
        Ok(true) => Outcome::allow(Reason::Neighbour),
        Ok(false) => Outcome::deny(Reason::NeighbourForged),
        Err(reason) => Outcome::deny(reason),
    })
}

/// True if a pod's solicitation or advertisement has only the pod's own addresses as sender.
#[inline(always)]
fn speaks_for_itself<B: Bytes + ?Sized>(
    bytes: &B,
    record: &EndpointRecord,
    packet: &Packet<V6>,
) -> Result<bool, Reason> {
    let skip = match packet.icmp_type {
        ROUTER_ADVERTISEMENT | REDIRECT => return Ok(false),
        ROUTER_SOLICITATION => 0,
        _ => 16,
    };
    if !stays_on_the_link(bytes, packet)? {
        return Ok(false);
    }
    let unspecified = packet.source == UNSPECIFIED;
    if !unspecified && !is_own(&packet.source, record) {
        return Ok(false);
    }
    // What a pod claims (an advertisement, or a probe for a duplicate of an address it is choosing) must be its own.
    let claims = packet.icmp_type == NEIGHBOUR_ADVERTISEMENT
        || packet.icmp_type == NEIGHBOUR_SOLICITATION && unspecified;
    if claims && !is_own(packet::nd_target(bytes, packet)?, record) {
        return Ok(false);
    }
    if record.flags & flags::HARDWARE_ADDRESS == 0 {
        return Ok(true);
    }
    packet::neighbour_options_are(bytes, packet, skip, &record.hardware_address)
}

/// Judges multicast listener discovery: link-local, one hop. A pod may say what it listens to and be asked; what others
/// listen to it need not hear, so policy decides.
#[inline(always)]
fn listener<B: Bytes + ?Sized>(
    bytes: &B,
    context: &Context,
    record: &EndpointRecord,
    packet: &Packet<V6>,
) -> Option<Outcome> {
    let allowed = if matches!(context.hook, Hook::FromPod) {
        (packet.source == UNSPECIFIED || is_own(&packet.source, record))
            && is_report(packet)
            && goes_where_reports_go(bytes, packet)
    } else if packet.icmp_type == LISTENER_QUERY {
        is_link_local(&packet.source)
    } else {
        return None;
    };
    Some(if allowed && packet.hop_limit == 1 {
        Outcome::allow(Reason::Neighbour)
    } else {
        Outcome::deny(Reason::NeighbourForged)
    })
}

/// A version 1 report goes to its group, whatever that is, and all others to the link's routers.
#[inline(always)]
fn goes_where_reports_go<B: Bytes + ?Sized>(bytes: &B, packet: &Packet<V6>) -> bool {
    if packet.icmp_type != LISTENER_REPORT {
        return is_link_multicast(&packet.destination);
    }
    packet.destination[0] == 0xff
        && matches!(packet::nd_target(bytes, packet), Ok(group) if *group == packet.destination)
}

/// True for the endpoint's addresses, and for the link-local address that its hardware address makes (RFC 4291, appendix A).
#[inline(always)]
pub(super) fn is_own(address: &V6, record: &EndpointRecord) -> bool {
    if super::Address::is_own(address, record) {
        return true;
    }
    let [a, b, c, d, e, f] = record.hardware_address;
    record.flags & flags::HARDWARE_ADDRESS != 0
        && *address
            == [
                0xfe,
                0x80,
                0,
                0,
                0,
                0,
                0,
                0,
                a ^ 2,
                b,
                c,
                0xff,
                0xfe,
                d,
                e,
                f,
            ]
}

/// True for what a listener says: that it is one or no more (RFC 2710), or all of its groups (RFC 3810). Queries are a
/// router's.
#[inline(always)]
pub(super) const fn is_report(packet: &Packet<V6>) -> bool {
    let whole = packet.protocol == protocol::ICMPV6 && matches!(packet.fragment, Fragment::Whole);
    match packet.icmp_type {
        LISTENER_REPORT | LISTENER_DONE => whole && packet.end - packet.transport == 24,
        LISTENER_REPORT_2 => whole,
        _ => false,
    }
}

/// True for `ff02::/16`.
#[inline(always)]
const fn is_link_multicast(address: &V6) -> bool {
    address[0] == 0xff && address[1] == 0x02
}

/// True if a pod's message cannot be a letter to somebody far away. Hop limit 255 is enough to travel, so what goes to a
/// global address (a neighbour whose reachability is confirmed, RFC 4861 section 7.3) has nothing in it but its target
/// and one link-layer address.
#[inline(always)]
fn stays_on_the_link<B: Bytes + ?Sized>(bytes: &B, packet: &Packet<V6>) -> Result<bool, Reason> {
    if is_link_multicast(&packet.destination) || is_link_local(&packet.destination) {
        return Ok(true);
    }
    let length = packet.end - packet.transport;
    Ok(match packet.icmp_type {
        NEIGHBOUR_SOLICITATION => {
            (length == 24 || length == 32)
                && *packet::nd_target(bytes, packet)? == packet.destination
        }
        NEIGHBOUR_ADVERTISEMENT => length == 24 || length == 32,
        _ => false,
    })
}
