//! The ten rules: every way between pods, hosts outside and a node of the control plane, tried beside what is said offline of
//! the cluster's own objects and of the example's.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result, ensure};

use super::End;
use crate::e2e::{
    cluster::{Cluster, items},
    eventually,
    expect::{self, Pod, Way},
    outsider::{Attempt, Outsider, World},
    probe::{self, Outcome},
    rules::{self, Host, MASTER, PREFIX},
};

/// Where a way is tried, and whether policy leaves it open.
type Tried = (Way, SocketAddr, bool);

/// All ways go as the rules say, and the rules say the same as in the lab.
pub(super) fn ten(cluster: &Cluster) -> Result<End> {
    let Some(before) = &cluster.outside else {
        return Ok(End::Skipped(
            "it is not known how programs run outside the cluster; --outside says it ('': here)",
        ));
    };
    let tried = rules::apply(cluster).and_then(|()| every(cluster, before));
    let removed = rules::remove(cluster);
    let end = tried?;
    removed?;
    Ok(end)
}

fn every(cluster: &Cluster, before: &str) -> Result<End> {
    let mut objects = expect::objects(cluster)?;
    objects.extend(expect::rules(cluster)?);
    let mut pods = expect::pods(&objects, &rules::made(cluster)?);
    // That one is its node.
    pods.retain(|pod| pod.name != MASTER);
    let mut master = host(MASTER)?;
    master.addresses = rules::master_addresses(cluster)?;
    let mut hosts = rules::hosts()?;
    hosts.retain(|it| it.name != MASTER);
    let world = world(cluster, &pods, &hosts)?;
    hosts.push(master);
    let ports = ports(&pods, &hosts);
    let expected = expect::matrix_with(&objects, &outside(&hosts), &ports)?;
    agree(&expected, &ports)?;
    let mut outsider = Outsider::start(before, &world)?;
    let count = eventually("every way goes as the rules say", || {
        let mut tried: Vec<Tried> = Vec::new();
        let mut wrong = Vec::new();
        for from in &pods {
            let ways = from_pod(from, &pods, &hosts, &expected)?;
            let words: Vec<String> = ways.iter().map(|(_, to, _)| to.to_string()).collect();
            let outcomes = probe::connect(cluster, from, &words)?;
            let reached =
                |to: &SocketAddr| outcomes.get(&to.to_string()) == Some(&Outcome::Reached);
            wrong.extend(
                ways.iter()
                    .filter(|(_, to, open)| reached(to) != *open)
                    .map(said),
            );
            tried.extend(ways);
        }
        for host in &hosts {
            let ways = from_outside(host, &pods, &expected)?;
            let reached = if host.name == MASTER {
                from_master(cluster, &ways)?
            } else {
                outsider.connect(&attempts(host, &ways))?
            };
            let pairs = ways.iter().zip(reached);
            wrong.extend(
                pairs
                    .filter(|((_, _, open), it)| it != open)
                    .map(|(it, _)| said(it)),
            );
            tried.extend(ways);
        }
        ensure!(
            wrong.is_empty(),
            "{} ways are wrong: {}",
            wrong.len(),
            wrong.join("; ")
        );
        Ok((
            tried.len(),
            tried.iter().filter(|(_, _, open)| *open).count(),
        ))
    })?;
    eprintln!(
        "{} ways of {} pods and {} hosts, {} of them open",
        count.0,
        pods.len(),
        hosts.iter().filter(|it| !it.addresses.is_empty()).count(),
        count.1
    );
    Ok(End::Passed)
}

fn said((way, to, open): &Tried) -> String {
    let word = if *open { "allowed" } else { "denied" };
    format!("{way} ({to}) is {word}, and was not")
}

fn host(name: &str) -> Result<Host> {
    let mut hosts = rules::hosts()?.into_iter();
    hosts
        .find(|it| it.name == name)
        .with_context(|| format!("the lab has no {name}"))
}

/// What is outside: addresses of the families that pods have, and the ways to the pods.
fn world(cluster: &Cluster, pods: &[Pod], hosts: &[Host]) -> Result<World> {
    let families: BTreeSet<&str> = pods
        .iter()
        .flat_map(|pod| pod.addresses.iter().map(|it| expect::family(it)))
        .collect();
    let has = |address: &IpAddr| families.contains(family(*address));
    let mut world = World::default();
    for host in hosts {
        for &address in host.addresses.iter().filter(|it| has(it)) {
            world.addresses.push(address);
            world
                .serves
                .extend(host.ports().map(|port| SocketAddr::new(address, port)));
        }
    }
    for node in items(&cluster.kubectl.json(&["get", "nodes"])?) {
        let texts = |value: &serde_json::Value, field: &str| -> Vec<String> {
            let all = value.as_array().into_iter().flatten();
            all.filter_map(|it| {
                if field.is_empty() {
                    it.as_str()
                } else {
                    it[field].as_str()
                }
            })
            .map(str::to_owned)
            .collect()
        };
        let addresses = texts(&node["status"]["addresses"], "address");
        for network in texts(&node["spec"]["podCIDRs"], "") {
            let by = addresses.iter().filter_map(|it| it.parse::<IpAddr>().ok());
            let by = by
                .into_iter()
                .find(|it| family(*it) == expect::family(&network));
            world.routes.extend(by.map(|by| (network.clone(), by)));
        }
    }
    Ok(world)
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// All ports of TCP that somebody serves.
fn ports(pods: &[Pod], hosts: &[Host]) -> BTreeSet<u64> {
    let theirs = hosts.iter().flat_map(|host| host.ports().map(u64::from));
    pods.iter()
        .flat_map(|pod| pod.ports.clone())
        .chain(theirs)
        .collect()
}

fn outside(hosts: &[Host]) -> Vec<(String, IpAddr)> {
    let all = hosts
        .iter()
        .flat_map(|host| host.addresses.iter().map(|it| (host.name.clone(), *it)));
    all.collect()
}

/// What is said of the cluster is what is said of the example, cell by cell.
fn agree(expected: &BTreeMap<Way, bool>, ports: &BTreeSet<u64>) -> Result<()> {
    let theirs = expect::matrix_with(&rules::documents()?, &outside(&rules::hosts()?), ports)?;
    let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let ours: BTreeMap<Way, bool> = expected
        .iter()
        .map(|(way, open)| {
            let way = Way {
                from: bare(&way.from),
                to: bare(&way.to),
                ..way.clone()
            };
            (way, *open)
        })
        .collect();
    let has = |name: &str, family| {
        let is = |way: &Way| way.family == family && (way.from == name || way.to == name);
        ours.keys().any(is)
    };
    let mut compared = 0;
    for (way, open) in &theirs {
        // A family that the cluster lacks, or a node that it has not.
        if !has(&way.from, way.family) || !has(&way.to, way.family) {
            continue;
        }
        let here = ours
            .get(way)
            .context("a way of the example that the cluster lacks");
        let here = here.with_context(|| way.to_string())?;
        ensure!(
            here == open,
            "{way}: allowed {open} in the example, and {here} in the cluster"
        );
        compared += 1;
    }
    ensure!(compared > 0, "the cluster has none of the example's ways");
    eprintln!("{compared} cells are the example's, of {}", theirs.len());
    Ok(())
}

fn open(expected: &BTreeMap<Way, bool>, way: &Way) -> Result<bool> {
    let found = expected.get(way).copied();
    found.with_context(|| format!("`ringfence matrix` says nothing of {way}"))
}

/// Ways of a pod to all others and to hosts.
fn from_pod(
    from: &Pod,
    pods: &[Pod],
    hosts: &[Host],
    expected: &BTreeMap<Way, bool>,
) -> Result<Vec<Tried>> {
    let mut ways = Vec::new();
    for to in pods {
        for (target, way) in super::ways::ways(from, to) {
            ways.push((way.clone(), target.parse()?, open(expected, &way)?));
        }
    }
    let has = |family: &str| from.addresses.iter().any(|it| expect::family(it) == family);
    for host in hosts {
        for &address in host.addresses.iter().filter(|it| has(family(**it))) {
            for port in host.ports() {
                let way = Way {
                    from: from.id(),
                    to: host.name.clone(),
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
fn from_outside(from: &Host, pods: &[Pod], expected: &BTreeMap<Way, bool>) -> Result<Vec<Tried>> {
    let mut ways = Vec::new();
    for to in pods {
        for address in &to.addresses {
            let address: IpAddr = address.parse()?;
            if !from
                .addresses
                .iter()
                .any(|it| family(*it) == family(address))
            {
                continue;
            }
            for &port in &to.ports {
                let way = Way {
                    from: from.name.clone(),
                    to: to.id(),
                    port,
                    family: family(address),
                };
                let open = open(expected, &way)?;
                ways.push((way, SocketAddr::new(address, u16::try_from(port)?), open));
            }
        }
    }
    Ok(ways)
}

fn attempts(from: &Host, ways: &[Tried]) -> Vec<Attempt> {
    let source = |to: &SocketAddr| {
        from.addresses
            .iter()
            .find(|it| it.is_ipv4() == to.is_ipv4())
    };
    let all = ways.iter().filter_map(|(_, to, _)| {
        Some(Attempt {
            from: *source(to)?,
            to: *to,
        })
    });
    all.collect()
}

/// Tries from the node itself.
fn from_master(cluster: &Cluster, ways: &[Tried]) -> Result<Vec<bool>> {
    if ways.is_empty() {
        return Ok(Vec::new());
    }
    let node = Pod {
        namespace: format!("{PREFIX}nodes"),
        name: MASTER.to_owned(),
        addresses: Vec::new(),
        node: String::new(),
        ports: Vec::new(),
    };
    let words: Vec<String> = ways.iter().map(|(_, to, _)| to.to_string()).collect();
    let outcomes = probe::connect(cluster, &node, &words)?;
    let reached = words
        .iter()
        .map(|to| outcomes.get(to) == Some(&Outcome::Reached));
    Ok(reached.collect())
}
