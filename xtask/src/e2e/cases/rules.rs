//! The ten rules: every way between pods, hosts outside and a node of the control plane, tried beside what is said offline of
//! the cluster's own objects and of the example's.

mod ways;
mod world;

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Context as _, Result, ensure};

use super::End;
use crate::e2e::{
    cluster::Cluster,
    eventually,
    expect::{self, Matrix, Pod, Way},
    outsider::Outsider,
    probe::Transport,
    rules::{self, Host, MASTER, PREFIX},
};
use ways::{Tried, from_outside, from_pod, tried_from_master, tried_from_outside, tried_from_pod};
use world::world;

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
        let mut note = |ways: Vec<Tried>, reached: Vec<bool>| {
            let went = ways.iter().zip(reached);
            let otherwise = went.filter(|((_, _, open), reached)| open != reached);
            wrong.extend(otherwise.map(|(way, _)| said(way)));
            tried.extend(ways);
        };
        for from in &pods {
            let ways = from_pod(from, &pods, &hosts, &expected)?;
            let reached = tried_from_pod(cluster, from, &ways)?;
            note(ways, reached);
        }
        for host in &hosts {
            let ways = from_outside(host, &pods, &expected)?;
            let reached = if host.name == MASTER {
                tried_from_master(cluster, &ways)?
            } else {
                tried_from_outside(&mut outsider, host, &ways)?
            };
            note(ways, reached);
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

/// All ports that somebody serves.
fn ports(pods: &[Pod], hosts: &[Host]) -> BTreeSet<(Transport, u64)> {
    let of_pods = pods.iter().flat_map(Pod::all_ports);
    let of_hosts = hosts.iter().flat_map(Host::ports);
    of_pods
        .chain(of_hosts.map(|(by, port)| (by, u64::from(port))))
        .collect()
}

fn outside(hosts: &[Host]) -> Vec<(String, IpAddr)> {
    let all = hosts
        .iter()
        .flat_map(|host| host.addresses.iter().map(|it| (host.name.clone(), *it)));
    all.collect()
}

/// What is said of the cluster is what is said of the example, cell by cell.
fn agree(expected: &Matrix, ports: &BTreeSet<(Transport, u64)>) -> Result<()> {
    let theirs = expect::matrix_with(&rules::documents()?, &outside(&rules::hosts()?), ports)?;
    let bare = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
    let ours: Matrix = expected
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
