//! Pods with the node's network: no device of their own stands between them and the wire.

use anyhow::Result;

use super::{BOTH, HOST, HOST_RAW, Technique, V6, technique};
use crate::attacks::{
    launch::{Attacker, Call, Rights},
    place::{Family, LINK_LOCAL, addresses, parameter},
    stage::{Stage, Tried},
};

pub const TECHNIQUES: &[Technique] = &[
    technique("host-tcp", HOST, BOTH, |s, f, t| plainly(s, f, t, "tcp")),
    technique("host-tcp-multipath", HOST, BOTH, |s, f, t| {
        plainly(s, f, t, "tcp-multipath")
    }),
    technique("host-tcp-device", HOST, BOTH, |s, f, t| {
        plainly(s, f, t, "tcp-device")
    }),
    technique("host-udp", HOST, BOTH, |s, f, t| plainly(s, f, t, "udp")),
    technique("host-udp-fragments", HOST, BOTH, |s, f, t| {
        plainly(s, f, t, "udp-fragments")
    }),
    technique("host-udp-device", HOST, BOTH, |s, f, t| {
        plainly(s, f, t, "udp-device")
    }),
    technique("host-ping", HOST, BOTH, |s, f, t| plainly(s, f, t, "ping")),
    technique("host-link-local", HOST, V6, link_local),
    technique("host-raw-header", HOST_RAW, BOTH, |s, f, t| {
        rawly(s, f, t, "raw-header")
    }),
    technique("host-packet", HOST_RAW, BOTH, |s, f, t| {
        rawly(s, f, t, "packet")
    }),
    technique("host-packet-spoofed", HOST_RAW, BOTH, |s, f, t| {
        rawly(s, f, t, "packet-spoofed")
    }),
    technique("host-tcp-marked", HOST_RAW, BOTH, |s, f, t| {
        marked_sockets(s, f, t, "tcp-marked")
    }),
    technique("host-udp-marked", HOST_RAW, BOTH, |s, f, t| {
        marked_sockets(s, f, t, "udp-marked")
    }),
    technique("host-raw-header-marked", HOST_RAW, BOTH, |s, f, t| {
        marked_sockets(s, f, t, "raw-header-marked")
    }),
    technique("host-at-bridge", HOST_RAW, BOTH, at_bridge),
    technique("host-new-uplink", HOST_RAW, BOTH, new_uplink),
    technique("host-marked-at-uplink", HOST_RAW, BOTH, marked_at_uplink),
    technique(
        "host-marked-at-loopback",
        HOST_RAW,
        BOTH,
        marked_at_loopback,
    ),
    technique(
        "host-unqueued-at-loopback",
        HOST_RAW,
        BOTH,
        unqueued_at_loopback,
    ),
    Technique {
        limit: Some(
            "a packet socket of the node's own network that goes past the device's queue \
             (PACKET_QDISC_BYPASS) goes past every hook that the kernel has on this way out",
        ),
        ..technique(
            "host-unqueued-at-uplink",
            HOST_RAW,
            BOTH,
            unqueued_at_uplink,
        )
    },
];

fn plainly(stage: &Stage, family: Family, tried: &mut Tried, call: &str) -> Result<()> {
    let attacker = Attacker::host(&stage.place, Rights::Unprivileged)?;
    stage.attack(tried, &attacker, family, &Call::new(call))
}

fn rawly(stage: &Stage, family: Family, tried: &mut Tried, call: &str) -> Result<()> {
    let attacker = Attacker::host(&stage.place, Rights::NetRaw)?;
    let call = Call::new(call).with("victim", family.of(addresses("a")));
    stage.attack(tried, &attacker, family, &call)
}

/// The service's address of the link, which some clouds have.
fn link_local(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let attacker = Attacker::host(&stage.place, Rights::Unprivileged)?;
    for technique in ["tcp", "udp"] {
        stage.attack(
            tried,
            &attacker,
            family,
            &Call::new(technique).to(LINK_LOCAL),
        )?;
    }
    Ok(())
}

fn marked_sockets(stage: &Stage, family: Family, tried: &mut Tried, call: &str) -> Result<()> {
    let attacker = Attacker::host(&stage.place, Rights::NetRaw)?;
    with_marks(stage, family, tried, &attacker, call)
}

/// At the bridge of pods, as if a granted pod of it had sent it: to the bridge's own address, which routes. A device's way out
/// is not its way in, so that nothing arrives, with or without an agent; a pair of devices does lead in again.
fn at_bridge(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let place = &stage.place;
    place.on_node("ip link add loop0 type veth peer name loop1")?;
    let result = (|| {
        parameter(&place.node(), "net/ipv4/conf/loop1/rp_filter", "0")?;
        place.on_node("ip link set loop1 master cni0")?;
        place.on_node("ip link set loop0 up")?;
        place.on_node("ip link set loop1 up")?;
        stage.guards("loop0", "to_inner")?;
        let bridge = place.hardware(&place.node(), "cni0")?;
        let attacker = Attacker::host(place, Rights::NetRaw)?
            .at("loop0", &bridge)
            .with_addresses(addresses("c"));
        with_marks(stage, family, tried, &attacker, "packet-marked")?;
        stage.judge.fence(&place.node())
    })();
    place.on_node("ip link del loop0")?;
    result
}

/// By a device that leads off the node and that was not there when the agent started.
fn new_uplink(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let place = &stage.place;
    let outside = place.netns("outside");
    place.on_node(&format!(
        "ip link add uplink1 type veth peer name eth1 netns {outside}"
    ))?;
    let result = (|| {
        place.run(&outside, "ip link set eth1 up")?;
        place.on_node("ip link set uplink1 up")?;
        place.on_node("ip addr add 192.168.88.1/24 dev uplink1")?;
        let guarded = stage.guards("uplink1", "to_host");
        let next_hop = place.hardware(&outside, "eth1")?;
        let attacker = Attacker::host(place, Rights::NetRaw)?.at("uplink1", &next_hop);
        for technique in ["packet", "packet-spoofed"] {
            let call = Call::new(technique).with("victim", family.of(addresses("a")));
            stage.attack(tried, &attacker, family, &call)?;
        }
        guarded?;
        stage.judge.fence(&place.node())
    })();
    place.on_node("ip link del uplink1")?;
    result
}

fn marked_at_uplink(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let attacker = Attacker::host(&stage.place, Rights::NetRaw)?;
    with_marks(stage, family, tried, &attacker, "packet-marked")
}

/// At the loopback device, where what is sent comes in again and is routed on. The source is a granted pod's or a stranger's:
/// what the node's own address says would not be believed.
fn marked_at_loopback(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let attacker = at_loopback(stage)?;
    with_marks(stage, family, tried, &attacker, "packet-marked")
}

fn unqueued_at_loopback(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let attacker = at_loopback(stage)?;
    with_marks(stage, family, tried, &attacker, "packet-unqueued")
}

fn unqueued_at_uplink(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let attacker = Attacker::host(&stage.place, Rights::NetRaw)?;
    stage.attack(
        tried,
        &attacker,
        family,
        &Call::new("packet-unqueued").with("mark", 0),
    )
}

fn at_loopback(stage: &Stage) -> Result<Attacker> {
    Ok(Attacker::host(&stage.place, Rights::NetRaw)?
        .at("lo", "00:00:00:00:00:00")
        .with_addresses(addresses("a")))
}

fn with_marks(
    stage: &Stage,
    family: Family,
    tried: &mut Tried,
    attacker: &Attacker,
    technique: &str,
) -> Result<()> {
    let call = Call::new(technique)
        .with("victim", family.of(addresses("a")))
        .with("mark", super::marks());
    stage.attack(tried, attacker, family, &call)
}
