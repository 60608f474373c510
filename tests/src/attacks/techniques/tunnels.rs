//! Tunnels of the node: what a pod puts into them comes out as if another node had sent it.

use std::net::IpAddr;

use anyhow::Result;

use super::{BOTH, PLAIN, RAW, Technique, pod, technique};
use crate::attacks::{
    launch::{Call, Rights},
    place::{Family, NODE, OTHER_NODE, addresses},
    stage::{Stage, Tried},
    standins::GENEVE,
};

pub const TECHNIQUES: &[Technique] = &[
    technique("vxlan", PLAIN, BOTH, |s, f, t| {
        tunnel(s, f, t, "vxlan", NODE[0], 4789)
    }),
    technique("vxlan-flannel-port", PLAIN, BOTH, |s, f, t| {
        tunnel(s, f, t, "vxlan", NODE[0], 8472)
    }),
    technique("vxlan-unusual-port", PLAIN, BOTH, |s, f, t| {
        tunnel(s, f, t, "vxlan", NODE[0], 14_789)
    }),
    technique("vxlan-to-gateway", PLAIN, BOTH, |s, f, t| {
        tunnel(s, f, t, "vxlan", [169, 254, 1, 1].into(), 4789)
    }),
    technique("vxlan-over-ipv6", PLAIN, BOTH, |s, f, t| {
        tunnel(s, f, t, "vxlan", NODE[1], 4790)
    }),
    technique("vxlan-fragments", PLAIN, BOTH, |s, f, t| {
        tunnel(s, f, t, "vxlan-fragments", NODE[0], 4789)
    }),
    technique("vxlan-to-other-node", PLAIN, BOTH, |s, f, t| {
        tunnel(s, f, t, "vxlan", OTHER_NODE, 4789)
    }),
    technique("vxlan-through-service", PLAIN, BOTH, |s, f, t| {
        through_service(s, f, t, NODE[0])
    }),
    technique("vxlan-to-other-node-service", PLAIN, BOTH, |s, f, t| {
        through_service(s, f, t, OTHER_NODE)
    }),
    technique("geneve", PLAIN, BOTH, |s, f, t| {
        tunnel(s, f, t, "geneve", NODE[0], GENEVE)
    }),
    technique("ip-in-ip", RAW, BOTH, |s, f, t| {
        tunnel(s, f, t, "ip-in-ip", NODE[0], 0)
    }),
    technique("ip-in-ip-over-ipv6", RAW, BOTH, |s, f, t| {
        tunnel(s, f, t, "ip-in-ip", NODE[1], 0)
    }),
    technique("gre-over-ipv6", RAW, BOTH, |s, f, t| {
        tunnel(s, f, t, "gre", NODE[1], 0)
    }),
    technique("gre", RAW, BOTH, |s, f, t| {
        tunnel(s, f, t, "gre", NODE[0], 0)
    }),
];

fn tunnel(
    stage: &mut Stage,
    family: Family,
    tried: &mut Tried,
    technique: &str,
    end: IpAddr,
    port: u16,
) -> Result<()> {
    // Only protocols without ports need a right.
    let rights = if port == 0 {
        Rights::NetRaw
    } else {
        Rights::Unprivileged
    };
    let attacker = pod(stage, rights)?;
    let call = Call::new(technique)
        .with("victim", family.of(addresses("a")))
        .into_tunnel(end, port);
    stage.attack(tried, &attacker, family, &call)
}

/// A Service whose endpoint is a node's tunnel.
fn through_service(
    stage: &mut Stage,
    family: Family,
    tried: &mut Tried,
    node: IpAddr,
) -> Result<()> {
    stage.place.rules(&format!(
        "table inet attack\ndelete table inet attack\ntable inet attack {{\n\
         chain before {{ type nat hook prerouting priority dstnat\n\
         ip daddr 10.96.0.81 udp dport 8080 dnat ip to {node}:4789\n}}\n}}\n"
    ))?;
    let result = tunnel(stage, family, tried, "vxlan", [10, 96, 0, 81].into(), 8080)
        .and_then(|()| stage.judge.fence(&stage.place.node()));
    stage.place.on_node("nft delete table inet attack")?;
    result
}
