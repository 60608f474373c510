//! The metadata firewall behind pods' own devices: what leaves the node, what ends in one of its sockets, what goes over its `lo`,
//! and what the sockets of pods send.
//!
//! Each of these layers denies without knowing any pod; what is known is who may pass. The destination is read from the IP header
//! alone, for that is all that nearly every packet is asked.
//!
//! **Invariant:** a forwarded packet passes by the device that it came in by, or by a mark that only a pod's own hook can have
//! written; a packet of this machine by its socket's cgroup, whatever its mark says. Its source address proves nothing.

use super::{Address as _, Asked, Context, Outcome, Seen, Tables, sender};
use crate::{
    Hook, V4, V6, bits,
    cell::Verdict,
    event::Reason,
    mark::Stamp,
    metadata::{Grants, halves, layers},
    packet::{self, Bytes, Fragment, tcp},
    protocol,
};

/// Index of `lo`, in every network namespace.
pub const LOOPBACK: u32 = 1;

/// Who on this machine sends a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Socket(pub u64);

impl Socket {
    /// No socket: what the kernel says by itself, or has forgotten who said it.
    pub const NOBODY: Self = Self(0);
    /// One outside of the pods' cgroups, or any where these are not known.
    pub const NODE: Self = Self(u64::MAX);

    /// True if it is one below the pods' cgroups, and the rest is the id of its cgroup: its pod's if that is known, else its own.
    #[must_use]
    #[inline(always)]
    pub const fn is_of_pods(self) -> bool {
        self.0 != Self::NOBODY.0 && self.0 != Self::NODE.0
    }
}

/// What the IP header says of where a packet goes.
struct Target {
    source: V6,
    destination: V6,
    protocol: u8,
    fragment: Fragment,
    /// Where the transport header begins.
    transport: usize,
    /// Why what stands between that and the IP header cannot be read: then the ports are not known, and where it goes in the end
    /// may not be either.
    unread: Option<Reason>,
}

/// Asks about one packet at one of these hooks. The outcome's stamp says nothing, and what is an event is for [`tell`].
///
/// `layer3` is as for [`super::leaving`].
#[inline(always)]
pub fn firewall<T: Tables, B: Bytes + ?Sized>(
    tables: &T,
    bytes: &B,
    context: &Context,
    layer3: Option<u16>,
) -> Outcome {
    let passed = Outcome::allow(Reason::PassedOn);
    if !tables.config().has_layer(layer(context.hook)) {
        return passed;
    }
    match target(bytes, layer3) {
        Ok(None) => passed,
        Ok(Some(target)) => {
            let outcome = weigh(tables, bytes, context, &target);
            if let Some(reason) = target.unread
                && matches!(outcome.verdict, Verdict::Allow)
                && is_refused_unread(tables, context)
            {
                return Outcome::deny(reason);
            }
            if outcome.is_audited() && !outcome.is_event() {
                tables.count(context.hook, &outcome);
            }
            outcome
        }
        Err(reason) if is_refused_unread(tables, context) => Outcome::deny(reason),
        Err(_) => passed,
    }
}

/// Counts an event and tells of it. It reads the packet once more: the kernel's stack has no room for doing both at once.
#[inline(always)]
pub fn tell<T: Tables, B: Bytes + ?Sized>(
    tables: &T,
    bytes: &B,
    context: &Context,
    layer3: Option<u16>,
    outcome: &Outcome,
) {
    let seen = match target(bytes, layer3) {
        Ok(Some(target)) => {
            let (source_port, destination_port) = ports(bytes, &target).unwrap_or((0, 0));
            Seen {
                source: target.source,
                destination: target.destination,
                source_port,
                destination_port,
                protocol: target.protocol,
            }
        }
        _ => Seen::default(),
    };
    tables.report(context, outcome.about, outcome, &seen);
}

const fn layer(hook: Hook) -> u32 {
    match hook {
        Hook::Lo => layers::LO,
        Hook::SocketPackets => layers::SOCKET_PACKETS,
        _ => layers::TO_HOST,
    }
}

/// Where a packet goes, as far as that is told by its IP header; `None` for what is no IP.
#[inline(always)]
fn target<B: Bytes + ?Sized>(bytes: &B, layer3: Option<u16>) -> Result<Option<Target>, Reason> {
    let (ethertype, offset) = match layer3 {
        Some(ethertype) => (ethertype, 0),
        None => {
            let frame = packet::frame(bytes)?;
            (frame.ethertype, frame.offset)
        }
    };
    match ethertype {
        packet::ETH_IPV4 => v4(bytes, offset).map(Some),
        packet::ETH_IPV6 => v6(bytes, offset).map(Some),
        _ => Ok(None),
    }
}

#[inline(always)]
fn v4<B: Bytes + ?Sized>(bytes: &B, offset: usize) -> Result<Target, Reason> {
    let head: &[u8; 20] = bytes.window(offset).ok_or(Reason::Truncated)?;
    let header = usize::from(head[0] & 0x0f) * 4;
    let routed = header > 20 && bytes.source_routed(offset + 20, offset + header);
    let source: V4 = [head[12], head[13], head[14], head[15]];
    let destination: V4 = [head[16], head[17], head[18], head[19]];
    let later = u16::from_be_bytes([head[6], head[7]]) & 0x1fff != 0;
    Ok(Target {
        source: source.mapped(),
        destination: destination.mapped(),
        protocol: head[9],
        fragment: if later || header < 20 || routed {
            Fragment::Later
        } else {
            Fragment::Whole
        },
        transport: offset + header,
        unread: if routed {
            Some(Reason::Extensions)
        } else {
            None
        },
    })
}

#[inline(always)]
fn v6<B: Bytes + ?Sized>(bytes: &B, offset: usize) -> Result<Target, Reason> {
    let head: &[u8; 40] = bytes.window(offset).ok_or(Reason::Truncated)?;
    // A routing header names where it goes in the end; a chain may be longer than is read here.
    let (protocol, fragment, transport, unread) =
        match packet::extensions(bytes, head[6], offset + 40, bytes.len()) {
            Ok(chain) => (chain.protocol, chain.fragment, chain.offset, None),
            Err(reason) => (head[6], Fragment::Later, offset + 40, Some(reason)),
        };
    Ok(Target {
        source: packet::address(head, 8),
        destination: packet::address(head, 24),
        protocol,
        fragment,
        transport,
        unread,
    })
}

#[inline(always)]
fn weigh<T: Tables, B: Bytes + ?Sized>(
    tables: &T,
    bytes: &B,
    context: &Context,
    target: &Target,
) -> Outcome {
    let passed = Outcome::allow(Reason::PassedOn);
    let inner = target.destination.embedded();
    let has_prefixes = tables.config().nat64[0].bytes != 0;
    if !tables.may_be_metadata(&target.destination)
        && !inner.is_some_and(|inner| tables.may_be_metadata(&inner))
        && !has_prefixes
    {
        return passed;
    }
    let asked = Asked::new(
        target.protocol,
        ports(bytes, target).map(|(_, destination)| destination),
    );
    let (first, second) = halves(&target.destination);
    let mut needed = tables.endpoint_at(first, second, asked);
    if has_prefixes {
        needed |= tables.endpoint_behind(first, second, asked);
    }
    if let Some(inner) = inner {
        let (first, second) = halves(&inner);
        needed |= tables.endpoint_at(first, second, asked);
    }
    if needed == 0 {
        return passed;
    }
    // Sockets of pods' own namespaces come by here as well: what they receive has entered the pod.
    if matches!(context.hook, Hook::ToNode)
        && tables.config().mark.stamp(context.mark) == Stamp::NONE
        && !tables.is_node(&target.destination)
    {
        return passed;
    }
    let (allowed, about) = allowed(tables, context);
    let lacks = needed & !allowed != 0;
    let outcome = if lacks && !tables.config().is_metadata_audited() {
        Outcome::deny(Reason::Metadata)
    } else if matches!(context.hook, Hook::SocketPackets)
        && !is_within_rate(tables, tables.socket().0)
    {
        Outcome::deny(Reason::MetadataRate)
    } else if lacks {
        Outcome::audited(begins(bytes, target) && !was_told(tables, context))
    } else {
        return passed;
    };
    Outcome { about, ..outcome }
}

/// True if a flow may begin with this packet: in audit it is told of once. There are no connections here, so of other protocols than
/// TCP it is every packet; of fragments it is the first.
#[inline(always)]
fn begins<B: Bytes + ?Sized>(bytes: &B, target: &Target) -> bool {
    if target.fragment == Fragment::Later {
        return target.unread.is_some();
    }
    if target.protocol != protocol::TCP {
        return true;
    }
    let head: Option<&[u8; 14]> = bytes.window(target.transport);
    head.is_none_or(|head| head[13] & tcp::SYN != 0)
}

/// True if a hook before this one has told of it: a pod's own, or that of its sockets. What comes in from outside or over `lo` was
/// marked by somebody else.
#[inline(always)]
fn was_told<T: Tables>(tables: &T, context: &Context) -> bool {
    !matches!(context.hook, Hook::SocketPackets)
        && tables.config().mark.is_told(context.mark)
        && context.ingress != LOOPBACK
        && !tables.is_uplink(context.ingress)
}

/// Source and destination port; of a protocol without ports zeros, of a later fragment none.
#[inline(always)]
fn ports<B: Bytes + ?Sized>(bytes: &B, target: &Target) -> Option<(u16, u16)> {
    if target.fragment == Fragment::Later {
        return None;
    }
    match target.protocol {
        protocol::TCP | protocol::UDP | protocol::SCTP => {
            let head: &[u8; 4] = bytes.window(target.transport)?;
            Some((
                u16::from_be_bytes([head[0], head[1]]),
                u16::from_be_bytes([head[2], head[3]]),
            ))
        }
        _ => Some((0, 0)),
    }
}

/// The endpoints that the packet's sender may reach (a socket below the pods' cgroups: ask for), and the number of the pod that it
/// is known to be, else 0.
#[inline(always)]
fn allowed<T: Tables>(tables: &T, context: &Context) -> (u32, u32) {
    match context.hook {
        Hook::SocketPackets => match tables.socket() {
            // Whatever else it is: this hook is below the pods' cgroups.
            Socket::NODE => (0, 0),
            socket => (of_socket(tables, socket).ask(), 0),
        },
        // A process of the node: what it may send over `lo` was asked there.
        Hook::ToNode if context.ingress == LOOPBACK => (u32::MAX, 0),
        Hook::ToHost | Hook::Lo if context.generated_here() => {
            (of_socket(tables, tables.socket()).reach(), 0)
        }
        _ => of_device(tables, context),
    }
}

#[inline(always)]
fn of_socket<T: Tables>(tables: &T, socket: Socket) -> Grants {
    match socket {
        Socket::NOBODY => Grants::NONE,
        Socket::NODE => Grants::ALL,
        Socket(cgroup) => tables.grants_of(cgroup),
    }
}

/// What the sender of a forwarded packet may reach, by the device that it came in by, else by its mark: that is a pod's own hook's
/// unless the packet came in from outside, or over `lo`, where a process of the node may have written it.
#[inline(always)]
fn of_device<T: Tables>(tables: &T, context: &Context) -> (u32, u32) {
    if let Some(record) = tables.record(tables.endpoint(context.ingress).slot()) {
        return (Grants(record.grants).reach(), record.endpoint);
    }
    let stamp = tables.config().mark.stamp(context.mark);
    if !stamp.is_source() {
        return (0, 0);
    }
    let about = sender::number(tables, stamp);
    if context.ingress == 0 || context.ingress == LOOPBACK || tables.is_uplink(context.ingress) {
        return (0, about);
    }
    (sender::grants(tables, stamp.0).reach(), about)
}

/// What cannot be read may be for a metadata endpoint: a pod's socket may not send it. What is only forwarded is judged where its
/// sender is.
#[inline(always)]
fn is_refused_unread<T: Tables>(tables: &T, context: &Context) -> bool {
    let generated = match context.hook {
        Hook::SocketPackets => true,
        Hook::ToNode => false,
        _ => context.generated_here(),
    };
    generated && tables.socket().is_of_pods()
}

/// Value of `METADATA_RATES`: bits 0-31 the packets that were sent in a tick, 32-63 the tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateWord(pub u64);

impl RateWord {
    /// One packet in this tick.
    #[must_use]
    #[inline(always)]
    pub const fn first(now: u32) -> Self {
        Self((now as u64) << 32 | 1)
    }

    /// The word after one more packet; `None` if the tick has had its packets.
    #[must_use]
    #[inline(always)]
    pub const fn next(self, now: u32, limit: u32) -> Option<Self> {
        if bits::u32_at(self.0, 32) != now {
            Some(Self::first(now))
        } else if bits::u32_at(self.0, 0) >= limit {
            None
        } else {
            Some(Self(self.0 + 1))
        }
    }
}

/// The sender of what an endpoint sends, as a key of `METADATA_RATES`: cgroups' ids are smaller.
#[inline(always)]
pub(super) const fn rate_key(endpoint: u32) -> u64 {
    1 << 63 | endpoint as u64
}

/// True if the sender may send one more packet to a metadata endpoint, and counts it.
#[inline(always)]
pub(super) fn is_within_rate<T: Tables>(tables: &T, sender: u64) -> bool {
    let limit = tables.config().metadata_packets_per_tick;
    limit == 0 || tables.take_metadata_packet(sender, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_has_its_packets_and_the_next_one_others() {
        let mut word = RateWord::first(7);
        for _ in 0..2 {
            word = word.next(7, 3).expect("one of three");
        }
        assert_eq!(word.next(7, 3), None);
        assert_eq!(word.next(8, 3), Some(RateWord::first(8)));
        assert_eq!(
            RateWord::first(u32::MAX).next(0, 3),
            Some(RateWord::first(0))
        );
    }

    #[test]
    fn an_endpoint_is_no_cgroup() {
        assert!(rate_key(0) != 0 && rate_key(u32::MAX) != Socket::NODE.0);
        assert!(Socket(rate_key(3)).is_of_pods() && !Socket::NODE.is_of_pods());
    }
}
