//! Ways between pods and hosts outside: what policy says of each, and what becomes of it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result};

use crate::e2e::{
    cluster::Cluster,
    expect::{self, Matrix, Pod, Way},
    outsider::{Attempt, Outsider},
    probe::{self, Outcome, Transport},
    rules::{Host, MASTER, PREFIX},
};

/// Where a way is tried, and whether policy leaves it open.
pub(super) type Tried = (Way, SocketAddr, bool);

/// The family of an address, as the binary calls it.
pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn open(expected: &Matrix, way: &Way) -> Result<bool> {
    let found = expected.get(way).copied();
    found.with_context(|| format!("`ringfence matrix` says nothing of {way}"))
}

/// Ways of a pod to all others and to hosts.
pub(super) fn from_pod(
    from: &Pod,
    pods: &[Pod],
    hosts: &[Host],
    expected: &Matrix,
) -> Result<Vec<Tried>> {
    let mut ways = Vec::new();
    for to in pods {
        ways.extend(to_pod(&from.id(), &addresses(from)?, to, expected)?);
    }
    let has = |family: &str| from.addresses.iter().any(|it| expect::family(it) == family);
    for host in hosts {
        for &address in host.addresses.iter().filter(|it| has(family(**it))) {
            for (transport, port) in host.ports() {
                let way = Way {
                    from: from.id(),
                    to: host.name.clone(),
                    transport,
                    port: port.into(),
                    family: family(address),
                };
                let open = open(expected, &way)?;
                ways.push((way, SocketAddr::new(address, port), open));
            }
        }
    }
    Ok(ways)
}

/// Ways of a host to all pods.
pub(super) fn from_outside(from: &Host, pods: &[Pod], expected: &Matrix) -> Result<Vec<Tried>> {
    let mut ways = Vec::new();
    for to in pods {
        ways.extend(to_pod(&from.name, &from.addresses, to, expected)?);
    }
    Ok(ways)
}

/// Ways to a pod, to each of its ports in each family that both have.
fn to_pod(from: &str, sources: &[IpAddr], to: &Pod, expected: &Matrix) -> Result<Vec<Tried>> {
    let mut ways = Vec::new();
    for address in addresses(to)? {
        if !sources.iter().any(|it| it.is_ipv4() == address.is_ipv4()) {
            continue;
        }
        for (transport, port) in to.all_ports() {
            let way = Way {
                from: from.to_owned(),
                to: to.id(),
                transport,
                port,
                family: family(address),
            };
            let open = open(expected, &way)?;
            ways.push((way, SocketAddr::new(address, u16::try_from(port)?), open));
        }
    }
    Ok(ways)
}

fn addresses(pod: &Pod) -> Result<Vec<IpAddr>> {
    let all = pod.addresses.iter().map(|it| Ok(it.parse()?));
    all.collect()
}

/// Tries ways from inside a pod: which of them were open.
pub(super) fn tried_from_pod(cluster: &Cluster, from: &Pod, ways: &[Tried]) -> Result<Vec<bool>> {
    let mut outcomes = BTreeMap::new();
    for by in [Transport::Tcp, Transport::Udp] {
        let targets: Vec<String> = ways
            .iter()
            .filter(|(way, ..)| way.transport == by)
            .map(|(_, to, _)| to.to_string())
            .collect();
        let found = probe::connect_by(cluster, from, by, &targets)?;
        outcomes.extend(found.into_iter().map(|(to, outcome)| ((by, to), outcome)));
    }
    let reached = |(way, to, _): &Tried| {
        let outcome = outcomes.get(&(way.transport, to.to_string()));
        // What was not tried is not closed.
        let outcome = outcome.with_context(|| format!("nothing is known of {way}"))?;
        Ok(*outcome == Outcome::Reached)
    };
    ways.iter().map(reached).collect()
}

/// Tries ways of a host outside.
pub(super) fn tried_from_outside(
    outsider: &mut Outsider,
    host: &Host,
    ways: &[Tried],
) -> Result<Vec<bool>> {
    outsider.connect(&attempts(host, ways))
}

fn attempts(from: &Host, ways: &[Tried]) -> Vec<Attempt> {
    let source = |to: &SocketAddr| {
        from.addresses
            .iter()
            .find(|it| it.is_ipv4() == to.is_ipv4())
    };
    let all = ways.iter().filter_map(|(way, to, _)| {
        Some(Attempt {
            transport: way.transport,
            from: *source(to)?,
            to: *to,
        })
    });
    all.collect()
}

/// Tries from the node itself.
pub(super) fn tried_from_master(cluster: &Cluster, ways: &[Tried]) -> Result<Vec<bool>> {
    if ways.is_empty() {
        return Ok(Vec::new());
    }
    let node = Pod {
        namespace: format!("{PREFIX}nodes"),
        name: MASTER.to_owned(),
        addresses: Vec::new(),
        node: String::new(),
        ports: Vec::new(),
        datagrams: Vec::new(),
    };
    tried_from_pod(cluster, &node, ways)
}
