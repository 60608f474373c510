//! Pods and agents that come and go. These change the place for good, so they are the last.

use std::fs;

use anyhow::{Context as _, Result};
use ringfence_agent::lab::inside_netns;

use super::{BOTH, HOST, PLAIN, RAW, Technique, pod, technique};
use crate::attacks::{
    launch::{Attacker, Call, Rights},
    place::{Family, NODE, Place, addresses, run},
    stage::{Stage, Tried},
};

pub const TECHNIQUES: &[Technique] = &[
    technique("grant-revoked", "granted before", BOTH, grant_revoked),
    technique("address-reused", PLAIN, BOTH, address_reused),
    technique("agent-killed", PLAIN, BOTH, agent_killed),
    technique("agent-killed-raw", RAW, BOTH, agent_killed_raw),
    technique("agent-killed-host", HOST, BOTH, agent_killed_host),
    technique("started-meanwhile", PLAIN, BOTH, started_meanwhile),
    technique("started-meanwhile-raw", RAW, BOTH, started_meanwhile_raw),
    technique(
        "started-meanwhile-on-bridge",
        RAW,
        BOTH,
        started_meanwhile_on_bridge,
    ),
];

/// A granted pod loses its grant while it holds connections.
fn grant_revoked(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    stage.grant("e", true);
    let attacker = Attacker::pod(&stage.place, "e", Rights::Unprivileged)?;
    let mut held = Vec::new();
    for technique in ["tcp-held", "udp-held"] {
        if let Some(running) = stage.held_now(&attacker, family, technique)? {
            held.push(running);
        }
    }
    stage.grant("e", false);
    anyhow::ensure!(held.len() == 2, "a granted pod does not connect");
    for (attempt, running) in held {
        stage.let_go(tried, attempt, running)?;
    }
    stage.attack(tried, &attacker, family, &Call::new("udp"))
}

/// A granted pod is deleted, and another one that is not granted gets its address.
fn address_reused(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    if stage.pods.iter().any(|(pod, _, _)| pod == "e") {
        let (heir, device) = (stage.place.netns("f"), Place::device("f"));
        stage.pods.retain(|(pod, _, _)| pod != "e" && pod != "f");
        stage.pods.push(("f".to_owned(), "e".to_owned(), false));
        stage
            .place
            .on_node(&format!("ip link del {}", Place::device("e")))?;
        for (address, bits) in addresses("e").into_iter().zip([32, 128]) {
            let nodad = if bits == 128 { " nodad" } else { "" };
            run(
                &heir,
                &format!("ip addr add {address}/{bits} dev eth0{nodad}"),
            )?;
            stage
                .place
                .on_node(&format!("ip route replace {address}/{bits} dev {device}"))?;
        }
        for (address, bits) in addresses("f").into_iter().zip([32, 128]) {
            run(&heir, &format!("ip addr del {address}/{bits} dev eth0"))?;
        }
        stage.apply();
    }
    let attacker = |rights| -> Result<Attacker> {
        Ok(Attacker::pod(&stage.place, "f", rights)?.with_addresses(addresses("e")))
    };
    for technique in ["tcp", "udp"] {
        stage.attack(
            tried,
            &attacker(Rights::Unprivileged)?,
            family,
            &Call::new(technique),
        )?;
    }
    stage.attack(
        tried,
        &attacker(Rights::NetRaw)?,
        family,
        &Call::new("packet"),
    )
}

/// Kills the agent, if it is there.
fn kill(stage: &mut Stage) {
    if let Some(agent) = &mut stage.agent
        && agent.is_running()
    {
        agent.kill();
    }
}

fn agent_killed(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    kill(stage);
    let attacker = pod(stage, Rights::Unprivileged)?;
    for technique in ["tcp", "udp", "tcp-device", "cgroup-nested"] {
        stage.attack(tried, &attacker, family, &Call::new(technique))?;
    }
    let call = Call::new("vxlan").into_tunnel(NODE[0], 4789);
    stage.attack(tried, &attacker, family, &call)
}

fn agent_killed_raw(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    kill(stage);
    let attacker = pod(stage, Rights::NetRaw)?;
    let victim = family.of(addresses("a"));
    for technique in ["packet", "packet-spoofed"] {
        let call = Call::new(technique).with("victim", victim);
        stage.attack(tried, &attacker, family, &call)?;
    }
    Ok(())
}

fn agent_killed_host(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    kill(stage);
    let attacker = Attacker::host(&stage.place, Rights::Unprivileged)?;
    for technique in ["tcp", "udp"] {
        stage.attack(tried, &attacker, family, &Call::new(technique))?;
    }
    Ok(())
}

/// A pod that no agent has ever heard of: its link and its cgroup came while none was there.
const LATE: &str = "late";
const LATE_ADDRESSES: [std::net::IpAddr; 2] = [
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 244, 9, 99)),
    std::net::IpAddr::V6(std::net::Ipv6Addr::new(
        0xfd00, 0x10, 0x244, 9, 0, 0, 0, 0x99,
    )),
];

fn late(stage: &mut Stage, rights: Rights) -> Result<Attacker> {
    kill(stage);
    let place = &stage.place;
    let netns = place.netns(LATE);
    if !place.cgroup(LATE)?.exists() {
        let node = place.node();
        place.on_node(&format!("ip netns add {netns}"))?;
        place.on_node(&format!(
            "ip link add {LATE} type veth peer name eth0 netns {netns}"
        ))?;
        place.on_node(&format!("ip link set {LATE} up"))?;
        place.on_node(&format!("ip addr add 169.254.1.1/32 dev {LATE} scope link"))?;
        place.on_node(&format!("ip addr add fe80::1/64 dev {LATE} nodad"))?;
        run(&netns, "ip link set lo up")?;
        run(&netns, "ip link set eth0 up")?;
        for (address, bits) in LATE_ADDRESSES.into_iter().zip([32, 128]) {
            let nodad = if bits == 128 { " nodad" } else { "" };
            run(
                &netns,
                &format!("ip addr add {address}/{bits} dev eth0{nodad}"),
            )?;
            run(&node, &format!("ip route add {address}/{bits} dev {LATE}"))?;
        }
        run(
            &netns,
            "ip route add default via 169.254.1.1 dev eth0 onlink",
        )?;
        run(&netns, "ip route add default via fe80::1 dev eth0")?;
        inside_netns(&netns, || {
            fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")
                .context("cannot let everybody ping")
        })?;
        place.make_cgroup(LATE)?;
    }
    let next_hop = place.hardware(&place.node(), LATE)?;
    Ok(Attacker::pod(place, "b", rights)?
        .in_netns(netns)
        .in_cgroup(place.cgroup(LATE)?)
        .with_addresses(LATE_ADDRESSES)
        .at("eth0", &next_hop))
}

fn started_meanwhile(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let attacker = late(stage, Rights::Unprivileged)?;
    for technique in ["tcp", "udp", "ping"] {
        stage.attack(tried, &attacker, family, &Call::new(technique))?;
    }
    let call = Call::new("vxlan").into_tunnel(NODE[0], 4789);
    stage.attack(tried, &attacker, family, &call)
}

/// The same at a bridge where a granted pod is, with that pod's addresses, IP and hardware, for its own.
fn started_meanwhile_on_bridge(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let attacker = late(stage, Rights::NetRaw)?;
    let place = &stage.place;
    place.on_node(&format!("ip link set {LATE} master cni0"))?;
    let bridge = place.hardware(&place.node(), "cni0")?;
    let attacker = attacker.at("eth0", &bridge);
    for technique in ["packet", "packet-spoofed", "packet-marked"] {
        let call = Call::new(technique)
            .with("victim", family.of(addresses("c")))
            .with("mark", super::marks());
        stage.attack(tried, &attacker, family, &call)?;
    }
    stage.judge.fence(&place.node())?;
    place.on_node(&format!("ip link set {LATE} nomaster"))?;
    Ok(())
}

fn started_meanwhile_raw(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let attacker = late(stage, Rights::NetRaw)?;
    for technique in ["packet", "packet-spoofed"] {
        let call = Call::new(technique).with("victim", family.of(addresses("a")));
        stage.attack(tried, &attacker, family, &call)?;
    }
    Ok(())
}
