//! Pods with the node's network: no device of their own stands between them and the wire.

use anyhow::Result;

use super::{BOTH, HOST, HOST_RAW, Technique, V6, technique};
use crate::attacks::{
    launch::{Attacker, Call, Rights},
    place::{Family, LINK_LOCAL, addresses},
    stage::{Stage, Tried},
};

pub const TECHNIQUES: &[Technique] = &[
    technique("host-tcp", HOST, BOTH, |s, f, t| plainly(s, f, t, "tcp")),
    technique("host-tcp-multipath", HOST, BOTH, |s, f, t| plainly(s, f, t, "tcp-multipath")),
    technique("host-tcp-device", HOST, BOTH, |s, f, t| plainly(s, f, t, "tcp-device")),
    technique("host-udp", HOST, BOTH, |s, f, t| plainly(s, f, t, "udp")),
    technique("host-udp-fragments", HOST, BOTH, |s, f, t| plainly(s, f, t, "udp-fragments")),
    technique("host-udp-device", HOST, BOTH, |s, f, t| plainly(s, f, t, "udp-device")),
    technique("host-ping", HOST, BOTH, |s, f, t| plainly(s, f, t, "ping")),
    technique("host-link-local", HOST, V6, link_local),
    technique("host-raw-header", HOST_RAW, BOTH, |s, f, t| rawly(s, f, t, "raw-header")),
    technique("host-packet", HOST_RAW, BOTH, |s, f, t| rawly(s, f, t, "packet")),
    technique("host-packet-spoofed", HOST_RAW, BOTH, |s, f, t| rawly(s, f, t, "packet-spoofed")),
    technique("host-marked-at-uplink", HOST_RAW, BOTH, marked_at_uplink),
    technique("host-marked-at-loopback", HOST_RAW, BOTH, marked_at_loopback),
    technique("host-unqueued-at-loopback", HOST_RAW, BOTH, unqueued_at_loopback),
    Technique {
        limit: Some(
            "a packet socket of the node's own network that goes past the device's queue \
             (PACKET_QDISC_BYPASS) goes past every hook that the kernel has on this way out",
        ),
        ..technique("host-unqueued-at-uplink", HOST_RAW, BOTH, unqueued_at_uplink)
    },
];

/// Marks that may mean something: all ones; the proof of a grant, alone and with the places of pods.
fn marks() -> impl Iterator<Item = u32> {
    let proof = 0x4000_0000;
    let places = (1..=16_u32).map(|place| place << 16);
    [u32::MAX, proof, proof | 0x3fff_0000]
        .into_iter()
        .chain(places.clone())
        .chain(places.map(move |place| proof | place))
}

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
        stage.attack(tried, &attacker, family, &Call::new(technique).to(LINK_LOCAL))?;
    }
    Ok(())
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
    stage.attack(tried, &attacker, family, &Call::new("packet-unqueued").with("mark", 0))
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
    let marks: Vec<String> = marks().map(|mark| format!("{mark:x}")).collect();
    let call = Call::new(technique)
        .with("victim", family.of(addresses("a")))
        .with("mark", marks.join(","));
    stage.attack(tried, attacker, family, &call)
}
