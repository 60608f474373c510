//! Addresses that lead to the service: Services, node ports, socket load balancers, and rules that write over marks.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;

use super::{BOTH, HOST, PLAIN, Technique, V4, V6, pod, technique};
use crate::attacks::{
    launch::{Attacker, Call, Rights},
    place::{Family, NODE},
    stage::{Stage, Tried, balanced},
    standins::translate_here,
};

pub const TECHNIQUES: &[Technique] = &[
    technique("service", PLAIN, BOTH, |s, f, t| {
        through(s, f, t, &Rules::default())
    }),
    technique("service-masqueraded", PLAIN, BOTH, |s, f, t| {
        let rules = Rules {
            masquerade: true,
            ..Rules::default()
        };
        through(s, f, t, &rules)
    }),
    technique("service-at-dns-port", PLAIN, V4, |s, f, t| {
        let rules = Rules {
            port: 53,
            ..Rules::default()
        };
        through(s, f, t, &rules)
    }),
    technique("service-fragments", PLAIN, BOTH, service_fragments),
    technique("node-port", PLAIN, BOTH, |s, f, t| {
        let rules = Rules {
            address: Some(NODE),
            port: 30_080,
            ..Rules::default()
        };
        through(s, f, t, &rules)
    }),
    technique("service-of-host", HOST, BOTH, service_of_host),
    technique("marks-cleared", PLAIN, BOTH, |s, f, t| marked(s, f, t, 0)),
    technique("marks-of-others", PLAIN, BOTH, |s, f, t| {
        marked(s, f, t, 0x0000_c001)
    }),
    technique("marks-all-ones", PLAIN, BOTH, |s, f, t| {
        marked(s, f, t, u32::MAX)
    }),
    technique("marks-proof", PLAIN, BOTH, |s, f, t| {
        marked(s, f, t, 0x4000_0000)
    }),
    technique("balancer-above", PLAIN, BOTH, |s, f, t| {
        by_balancer(s, f, t, "above")
    }),
    technique("balancer-before", PLAIN, BOTH, |s, f, t| {
        by_balancer(s, f, t, "before")
    }),
    technique("balancer-after", PLAIN, BOTH, |s, f, t| {
        by_balancer(s, f, t, "after")
    }),
    technique("balancer-below", PLAIN, BOTH, |s, f, t| {
        by_balancer(s, f, t, "below")
    }),
    technique("nat64-here", PLAIN, V6, nat64_here),
];

/// What the node translates.
#[derive(Default)]
struct Rules {
    /// Which addresses; absent: a Service's.
    address: Option<[IpAddr; 2]>,
    /// Which port; 0: the service's own.
    port: u16,
    /// Also gives it the node's address.
    masquerade: bool,
    /// Writes this over the marks of everything, before and after.
    mark: Option<u32>,
}

impl Rules {
    fn target(&self, family: Family) -> SocketAddr {
        let service = [
            [10, 96, 0, 80].into(),
            [0xfd00, 0x96, 0, 0, 0, 0, 0, 0x80].into(),
        ];
        let port = if self.port == 0 { 80 } else { self.port };
        (family.of(self.address.unwrap_or(service)), port).into()
    }

    fn text(&self) -> String {
        let mut translate = String::new();
        for (&family, ip) in Family::BOTH.iter().zip(["ip", "ip6"]) {
            let (from, to) = (self.target(family), SocketAddr::new(family.service(), 80));
            for transport in ["tcp", "udp"] {
                translate += &format!(
                    "{ip} daddr {} {transport} dport {} dnat {ip} to {to}\n",
                    from.ip(),
                    from.port()
                );
            }
        }
        let masquerade = if self.masquerade {
            "ct status dnat masquerade\n"
        } else {
            ""
        };
        let mark = self
            .mark
            .map(|mark| format!("meta mark set {mark:#x}\n"))
            .unwrap_or_default();
        let mangle: String = ["prerouting", "output", "forward", "postrouting"]
            .map(|hook| {
                format!("chain m{hook} {{ type filter hook {hook} priority mangle\n{mark}}}\n")
            })
            .concat();
        format!(
            "table inet attack\ndelete table inet attack\ntable inet attack {{\n{mangle}\
             chain before {{ type nat hook prerouting priority dstnat\n{translate}}}\n\
             chain local {{ type nat hook output priority -100\n{translate}}}\n\
             chain after {{ type nat hook postrouting priority srcnat\n{masquerade}}}\n}}\n"
        )
    }

    /// Does something with the rules in force.
    fn during(&self, stage: &Stage, work: impl FnOnce() -> Result<()>) -> Result<()> {
        stage.place.rules(&self.text())?;
        let result = work().and_then(|()| stage.judge.fence(&stage.place.node()));
        stage.place.on_node("nft delete table inet attack")?;
        result
    }
}

fn through(stage: &mut Stage, family: Family, tried: &mut Tried, rules: &Rules) -> Result<()> {
    let attacker = pod(stage, Rights::Unprivileged)?;
    let target = rules.target(family);
    rules.during(stage, || attack(stage, family, tried, &attacker, target))
}

fn attack(
    stage: &Stage,
    family: Family,
    tried: &mut Tried,
    attacker: &Attacker,
    target: SocketAddr,
) -> Result<()> {
    for technique in ["tcp", "udp"] {
        let call = Call::new(technique)
            .to(target.ip())
            .with("port", target.port());
        stage.attack(tried, attacker, family, &call)?;
    }
    Ok(())
}

/// What is cut must be put together before it can be translated, and is cut again behind.
fn service_fragments(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let rules = Rules::default();
    let attacker = pod(stage, Rights::Unprivileged)?;
    let call = Call::new("udp-fragments").to(rules.target(family).ip());
    rules.during(stage, || stage.attack(tried, &attacker, family, &call))
}

/// The node translates what its own processes send, too.
fn service_of_host(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let rules = Rules::default();
    let attacker = Attacker::host(&stage.place, Rights::Unprivileged)?;
    let target = rules.target(family);
    rules.during(stage, || attack(stage, family, tried, &attacker, target))
}

/// Somebody's rules give every packet a mark: directly and through a Service.
fn marked(stage: &mut Stage, family: Family, tried: &mut Tried, mark: u32) -> Result<()> {
    for masquerade in [false, true] {
        let rules = Rules {
            mark: Some(mark),
            masquerade,
            ..Rules::default()
        };
        let attacker = pod(stage, Rights::Unprivileged)?;
        let targets = [rules.target(family), SocketAddr::new(family.service(), 80)];
        rules.during(stage, || {
            targets
                .into_iter()
                .try_for_each(|target| attack(stage, family, tried, &attacker, target))
        })?;
    }
    Ok(())
}

/// An address that a program makes the service's.
fn by_balancer(stage: &mut Stage, family: Family, tried: &mut Tried, name: &str) -> Result<()> {
    let attacker = pod(stage, Rights::Unprivileged)?;
    let target = SocketAddr::new(family.of(balanced(name)), 80);
    attack(stage, family, tried, &attacker, target)
}

/// The node itself translates NAT64's prefix.
fn nat64_here(stage: &mut Stage, family: Family, tried: &mut Tried) -> Result<()> {
    let node = stage.place.node();
    translate_here(&node, true)?;
    let attacker = pod(stage, Rights::Unprivileged)?;
    let target = SocketAddr::new(crate::attacks::place::NAT64, 80);
    let result = attack(stage, family, tried, &attacker, target);
    // The translator is a process: it needs its turn.
    std::thread::sleep(std::time::Duration::from_millis(100));
    translate_here(&node, false)?;
    result
}
