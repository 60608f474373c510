//! Ports: of rules, and of the pods that give them names.

use super::ruleset::PortSet;
use crate::model::{ContainerPort, PortSpec, Ports, Protocol};

/// What of a container's ports the rules can tell apart: names, protocols and numbers of those that are asked for.
pub(super) type ResolvedPorts = Vec<(Protocol, String, u16)>;

/// The ports of a pod that have a name which is asked for; sorted, each once.
///
/// A name that several containers use for one protocol stands for the ports of all of them.
pub(super) fn resolve<'a>(
    asked: impl Iterator<Item = &'a (Protocol, String)>,
    ports: &[ContainerPort],
) -> ResolvedPorts {
    let mut resolved: ResolvedPorts = asked
        .flat_map(|(protocol, name)| {
            ports
                .iter()
                .filter(move |port| {
                    port.protocol == *protocol && port.name.as_deref() == Some(name.as_str())
                })
                .map(|port| (*protocol, name.clone(), port.port))
        })
        .collect();
    resolved.sort_unstable();
    resolved.dedup();
    resolved
}

/// Entries of a rule that are about single ports.
pub(super) fn listed(ports: &Ports) -> &[PortSpec] {
    match ports {
        Ports::Any => &[],
        Ports::Of(of) => of,
    }
}

/// The set of a rule's ports.
pub(super) fn set(spec: &Ports) -> PortSet {
    let Ports::Of(of) = spec else {
        return PortSet::Any;
    };
    let mut ranges = Vec::new();
    let mut named = Vec::new();
    for port in of {
        match port {
            &PortSpec::All(protocol) => ranges.push((protocol, 0, u16::MAX)),
            &PortSpec::Range(protocol, first, last) => ranges.push((protocol, first, last)),
            PortSpec::Named(protocol, name) => named.push((*protocol, name.clone())),
        }
    }
    PortSet::of(&ranges, named)
}

/// The set with its names replaced by what they are on the subject; a name that is nothing there matches nothing.
pub(super) fn with_own(set: &PortSet, own: &ResolvedPorts) -> PortSet {
    let PortSet::Of { ranges, named } = set else {
        return PortSet::Any;
    };
    let mut all: Vec<(Protocol, u16, u16)> = Protocol::ALL
        .iter()
        .zip(ranges)
        .flat_map(|(&protocol, runs)| {
            runs.iter()
                .map(move |&(first, last)| (protocol, first, last))
        })
        .collect();
    let asked = |protocol: Protocol, name: &String| {
        named.iter().any(|(of, it)| *of == protocol && it == name)
    };
    all.extend(
        own.iter()
            .filter(|(protocol, name, _)| asked(*protocol, name))
            .map(|&(protocol, _, number)| (protocol, number, number)),
    );
    PortSet::of(&all, Vec::new())
}
