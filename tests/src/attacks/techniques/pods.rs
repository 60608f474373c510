//! What a pod does by itself: sockets, packets of its own making, its neighbours, further interfaces, its place.

use std::net::IpAddr;

use anyhow::Result;
use ringfence_agent::lab::names;

use super::{BOTH, PLAIN, RAW, Technique, V4, V6, plainly, pod, rawly, technique};
use crate::attacks::{
    launch::{Attacker, Call, Rights},
    place::{
        AZURE, BRIDGE, CONFIGURED_NAT64, FENCE, Family, OTHER_CLOUDS, SERVICE, addresses, parameter,
    },
    stage::{Stage, Tried, family_of},
};

pub const TECHNIQUES: &[Technique] = &[
    technique("tcp", PLAIN, BOTH, |s, f, t| plainly(s, f, t, "tcp")),
    technique("tcp-mapped", PLAIN, V4, |s, f, t| {
        plainly(s, f, t, "tcp-mapped")
    }),
    technique("tcp-fast-open", PLAIN, BOTH, |s, f, t| {
        plainly(s, f, t, "tcp-fast-open")
    }),
    technique("tcp-multipath", PLAIN, BOTH, |s, f, t| {
        plainly(s, f, t, "tcp-multipath")
    }),
    technique("tcp-options", PLAIN, V4, |s, f, t| {
        plainly(s, f, t, "tcp-options")
    }),
    technique("tcp-device", PLAIN, BOTH, |s, f, t| {
        plainly(s, f, t, "tcp-device")
    }),
    technique("udp", PLAIN, BOTH, |s, f, t| plainly(s, f, t, "udp")),
    technique("udp-connected", PLAIN, BOTH, |s, f, t| {
        plainly(s, f, t, "udp-connected")
    }),
    technique("udp-mapped", PLAIN, V4, |s, f, t| {
        plainly(s, f, t, "udp-mapped")
    }),
    technique("tcp-source-route", RAW, V4, |s, f, t| {
        rawly(s, f, t, "tcp-source-route")
    }),
    technique("udp-source-route", RAW, V4, |s, f, t| {
        rawly(s, f, t, "udp-source-route")
    }),
    technique("udp-mapped-connected", PLAIN, V4, |s, f, t| {
        plainly(s, f, t, "udp-mapped-connected")
    }),
    technique("udp-connected-elsewhere", PLAIN, V4, |s, f, t| {
        by_way_of(s, f, t, "udp-elsewhere", FENCE.into())
    }),
    technique("udp-fragments", PLAIN, BOTH, |s, f, t| {
        plainly(s, f, t, "udp-fragments")
    }),
    technique("udp-options", PLAIN, V4, |s, f, t| {
        plainly(s, f, t, "udp-options")
    }),
    technique("udp-device", PLAIN, BOTH, |s, f, t| {
        plainly(s, f, t, "udp-device")
    }),
    technique("udp-lite", PLAIN, BOTH, |s, f, t| {
        plainly(s, f, t, "udp-lite")
    }),
    technique("ping", PLAIN, BOTH, |s, f, t| plainly(s, f, t, "ping")),
    technique("nat64-beyond", PLAIN, V6, |s, f, t| {
        embedded(s, f, t, SERVICE[2])
    }),
    technique("6to4-beyond", PLAIN, V6, |s, f, t| {
        embedded(s, f, t, SERVICE[3])
    }),
    technique("nat64-configured-beyond", PLAIN, V6, |s, f, t| {
        embedded(s, f, t, CONFIGURED_NAT64)
    }),
    technique("other-clouds", PLAIN, BOTH, other_clouds),
    technique("before-attach", PLAIN, BOTH, before_attach),
    technique("cgroup-nested", PLAIN, BOTH, |s, f, t| {
        in_child(s, f, t, "cgroup-nested")
    }),
    technique("cgroup-threaded", PLAIN, BOTH, |s, f, t| {
        in_child(s, f, t, "cgroup-threaded")
    }),
    technique("cgroup-namespace", PLAIN, BOTH, |s, f, t| {
        in_child(s, f, t, "cgroup-namespace")
    }),
    technique("cgroup-left", "its cgroup's master", BOTH, cgroup_left),
    technique("user-namespace", PLAIN, BOTH, |s, f, t| {
        plainly(s, f, t, "user-namespace")
    }),
    technique("second-interface", PLAIN, BOTH, second_interface),
    technique(
        "second-interface-beside",
        PLAIN,
        BOTH,
        second_interface_beside,
    ),
    technique("raw-echo", RAW, BOTH, |s, f, t| rawly(s, f, t, "raw-echo")),
    technique("raw-header", RAW, BOTH, |s, f, t| {
        rawly(s, f, t, "raw-header")
    }),
    technique("packet", RAW, BOTH, |s, f, t| rawly(s, f, t, "packet")),
    technique("packet-spoofed", RAW, BOTH, |s, f, t| {
        rawly(s, f, t, "packet-spoofed")
    }),
    technique("packet-options", RAW, V4, |s, f, t| {
        rawly(s, f, t, "packet-options")
    }),
    technique("packet-tiny-fragments", RAW, BOTH, |s, f, t| {
        rawly(s, f, t, "packet-tiny-fragments")
    }),
    technique("packet-later-fragment", RAW, BOTH, |s, f, t| {
        rawly(s, f, t, "packet-later-fragment")
    }),
    technique("packet-priority-tag", RAW, BOTH, |s, f, t| {
        rawly(s, f, t, "packet-priority-tag")
    }),
    technique("packet-bad-checksum", RAW, BOTH, |s, f, t| {
        rawly(s, f, t, "packet-bad-checksum")
    }),
    technique("packet-unqueued", RAW, BOTH, |s, f, t| {
        rawly(s, f, t, "packet-unqueued")
    }),
    technique("packet-segmented", RAW, BOTH, |s, f, t| {
        rawly(s, f, t, "packet-segmented")
    }),
    technique("packet-marked", RAW, BOTH, marked),
    technique("extension-hop-by-hop", RAW, V6, |s, f, t| {
        rawly(s, f, t, "extension-hop-by-hop")
    }),
    technique("extension-destination", RAW, V6, |s, f, t| {
        rawly(s, f, t, "extension-destination")
    }),
    technique("extension-atomic-fragment", RAW, V6, |s, f, t| {
        rawly(s, f, t, "extension-atomic-fragment")
    }),
    technique("extension-routing", RAW, V6, |s, f, t| {
        rawly(s, f, t, "extension-routing")
    }),
    technique("extension-chain", RAW, V6, |s, f, t| {
        rawly(s, f, t, "extension-chain")
    }),
    technique("source-route-loose", RAW, V4, |s, f, t| {
        rawly(s, f, t, "source-route-loose")
    }),
    technique("source-route-strict", RAW, V4, |s, f, t| {
        rawly(s, f, t, "source-route-strict")
    }),
    technique("segment-routing", RAW, V6, |s, f, t| {
        rawly(s, f, t, "segment-routing")
    }),
    technique("neighbour-takeover", RAW, BOTH, takeover),
    technique("gateway-takeover", RAW, BOTH, gateway_takeover),
    technique("router-advertisement", RAW, V6, router_advertisement),
];

/// To an address in which a translator beyond the node finds the service's.
fn embedded(stage: &mut Stage, family: Family, tried: &mut Tried, to: IpAddr) -> Result<()> {
    let attacker = pod(stage, Rights::Unprivileged)?;
    for technique in ["tcp", "udp"] {
        stage.attack(tried, &attacker, family, &Call::new(technique).to(to))?;
    }
    Ok(())
}

/// With an address that everybody may talk to as a help.
fn by_way_of(
    stage: &mut Stage,
    family: Family,
    tried: &mut Tried,
    call: &str,
    via: IpAddr,
) -> Result<()> {
    let attacker = pod(stage, Rights::Unprivileged)?;
    stage.attack(tried, &attacker, family, &Call::new(call).with("via", via))
}

/// The metadata services of other clouds than the one whose addresses all other techniques take.
fn other_clouds(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let attacker = pod(stage, Rights::Unprivileged)?;
    for to in OTHER_CLOUDS
        .into_iter()
        .filter(|to| family_of(*to) == family)
    {
        // Only the ports of its own protocol are Azure's secrets.
        let transports: &[&str] = if to == AZURE {
            &["tcp"]
        } else {
            &["tcp", "udp"]
        };
        for technique in transports {
            stage.attack(tried, &attacker, family, &Call::new(technique).to(to))?;
        }
    }
    Ok(())
}

/// With marks that may mean something on the node.
fn marked(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let attacker = pod(stage, Rights::NetRaw)?;
    let call = Call::new("packet-marked")
        .with("victim", family.of(addresses("a")))
        .with("mark", super::marks());
    stage.attack(tried, &attacker, family, &call)
}

/// Sockets that were connected before the agent came say something now.
fn before_attach(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let held = std::mem::take(&mut stage.held);
    for (its, attempt, running) in held {
        if its != family {
            stage.held.push((its, attempt, running));
            continue;
        }
        stage.let_go(tried, attempt, running)?;
    }
    Ok(())
}

/// In a cgroup that the process makes below its own, as one may that has been given it.
fn in_child(stage: &mut Stage, family: Family, tried: &mut Tried, call: &str) -> Result<()> {
    plainly(stage, family, tried, call)?;
    stage.place.prune(&stage.place.cgroup("b")?)
}

/// A process whose pod may write to the node's cgroups moves to one that is no pod's.
fn cgroup_left(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let elsewhere = names::host_cgroup(stage.place.lab.name())?;
    let attacker = pod(stage, Rights::Unprivileged)?.in_cgroup(elsewhere);
    for technique in ["tcp", "udp"] {
        stage.attack(tried, &attacker, family, &Call::new(technique))?;
    }
    Ok(())
}

/// The pod has another interface, whose other end is the node's, and which no agent was told of.
fn second_interface(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    through_another(stage, family, tried, &stage.place.node(), "extra")
}

/// The pod has another interface that does not cross the node: SR-IOV and its like. The network there leads to the service.
fn second_interface_beside(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    through_another(stage, family, tried, &stage.place.netns("outside"), "eth2")
}

fn through_another(
    stage: &Stage,
    family: Family,
    tried: &mut Tried,
    netns: &str,
    device: &str,
) -> Result<()> {
    let place = &stage.place;
    let inner = place.netns("b");
    place.run(
        &inner,
        &format!("ip link add net1 type veth peer name {device} netns {netns}"),
    )?;
    let result = (|| {
        place.run(netns, &format!("ip link set {device} up"))?;
        place.run(&inner, "ip link set net1 up")?;
        let (outer, own, bits) = match family {
            Family::V4 => ("192.168.77.1", "192.168.77.2", 24),
            Family::V6 => ("fd77::1", "fd77::2", 64),
        };
        let nodad = if family == Family::V6 { " nodad" } else { "" };
        place.run(
            netns,
            &format!("ip addr add {outer}/{bits} dev {device}{nodad}"),
        )?;
        place.run(&inner, &format!("ip addr add {own}/{bits} dev net1{nodad}"))?;
        let service = family.service();
        place.run(
            &inner,
            &format!("ip route add {service} via {outer} dev net1"),
        )?;
        let attacker = pod(stage, Rights::Unprivileged)?;
        for technique in ["tcp", "udp", "udp-device"] {
            let call = Call::new(technique).with("device", "net1");
            stage.attack(tried, &attacker, family, &call)?;
        }
        stage.judge.fence(&place.node())
    })();
    place.run(&inner, "ip link del net1")?;
    result
}

/// A pod of the bridge says that it is a granted one of the same bridge.
fn takeover(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let attacker = Attacker::pod(&stage.place, "d", Rights::NetRaw)?;
    let call = Call::new("takeover")
        .with("victim", family.of(addresses("c")))
        .with("via", family.of(BRIDGE));
    stage.attack(tried, &attacker, family, &call)?;
    stage.judge.fence(&stage.place.node())?;
    // What the node believes now, and what its bridge does.
    let victim = family.of(addresses("c"));
    let own = stage.place.hardware(&stage.place.netns("d"), "eth0")?;
    let neighbours = stage.place.on_node(&format!("ip neigh show {victim}"))?;
    if neighbours.contains(&own) {
        tried
            .otherwise
            .push(format!("the node believes that {victim} is at {own}"));
        let right = stage.place.hardware(&stage.place.netns("c"), "eth0")?;
        stage.place.on_node(&format!(
            "ip neigh replace {victim} lladdr {right} dev cni0 nud reachable"
        ))?;
    }
    Ok(())
}

/// A pod of the bridge says that it is the gateway: what a granted neighbour asks of the service comes to it.
fn gateway_takeover(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let place = &stage.place;
    let (gateway, granted) = (family.of(BRIDGE), place.netns("c"));
    // A neighbour that is in use is one that can be told something new.
    let right = place.hardware(&place.node(), "cni0")?;
    let set = format!("ip neigh replace {gateway} lladdr {right} dev eth0 nud stale");
    place.run(&granted, &set)?;
    let attacker = Attacker::pod(place, "d", Rights::NetRaw)?;
    let call = Call::new("takeover")
        .with("victim", gateway)
        .with("via", family.of(addresses("c")));
    stage.attack(tried, &attacker, family, &call)?;
    stage.judge.fence(&place.node())?;
    let own = place.hardware(&place.netns("d"), "eth0")?;
    let neighbours = place.run(&granted, &format!("ip neigh show {gateway}"))?;
    if neighbours.contains(&own) {
        tried
            .otherwise
            .push(format!("a granted pod believes that {gateway} is at {own}"));
        place.run(&granted, &set)?;
    }
    Ok(())
}

/// A pod of the bridge says that it is everybody's router: what a granted neighbour asks of the service comes to it.
fn router_advertisement(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let own = stage.place.netns("d");
    let shown = stage
        .place
        .run(&own, "ip -6 -o addr show dev eth0 scope link")?;
    let from = shown
        .split_whitespace()
        .find(|word| word.starts_with("fe80:"))
        .and_then(|word| word.split('/').next())
        .unwrap_or("fe80::1")
        .to_owned();
    let attacker = Attacker::pod(&stage.place, "d", Rights::NetRaw)?;
    let call = Call::new("router-advertisement").with("from", from);
    stage.attack(tried, &attacker, family, &call)?;
    stage.judge.fence(&stage.place.node())?;
    std::thread::sleep(std::time::Duration::from_millis(50));
    let victim = stage.place.netns("c");
    let routes = stage
        .place
        .run(&victim, "ip -6 route show default proto ra")?;
    if !routes.trim().is_empty() {
        tried
            .otherwise
            .push(format!("a neighbour's router is {}", routes.trim()));
        stage.place.run(&victim, "ip -6 route flush proto ra")?;
        // It would be believed again.
        parameter(&victim, "net/ipv6/conf/eth0/accept_ra", "0")?;
        parameter(&victim, "net/ipv6/conf/eth0/accept_ra", "1")?;
    }
    Ok(())
}
