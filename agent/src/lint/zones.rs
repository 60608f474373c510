//! Who is in zones: nobody, those in several, and those whom nobody has named.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;

use super::{EMPTY_ZONE, Finding, Look, OVERLAP, WIDE_NETWORK};
use crate::{
    compile::{Member, Membership},
    model::{Enforcement, Members, Snapshot, Workloads, Zone},
};

pub(super) fn find(look: &Look<'_>) -> Vec<Finding> {
    let members: Vec<Membership<'_>> = look.asker.membership().collect();
    let mut found = empty(look);
    found.extend(overlaps(look, &members));
    found.extend(equal_networks(look));
    found.extend(claimed_by_network(look, &members));
    found
}

fn counting<'a>(look: &'a Look<'_>) -> impl Iterator<Item = &'a Zone> {
    let zones = look.snapshot.zones.values();
    zones.filter(|zone| zone.enforcement != Enforcement::Disabled)
}

/// Selectors that select nobody of these manifests, which hold such objects at all.
fn empty(look: &Look<'_>) -> Vec<Finding> {
    let snapshot = look.snapshot;
    let of_zone = |zone: &Zone| {
        let object = format!("SecurityZone/{}", zone.name);
        let members = zone.members.iter().enumerate();
        let found = members.filter_map(|(index, members)| {
            let field = format!("spec.members[{index}]");
            let (field, what) = match members {
                Members::Workloads(workloads) if !snapshot.pods.is_empty() => {
                    if snapshot
                        .pods
                        .values()
                        .any(|pod| selects(workloads, snapshot, pod))
                    {
                        return None;
                    }
                    (
                        format!("{field}.workloads"),
                        "selects no pod of these manifests",
                    )
                }
                Members::Nodes(selector) if !snapshot.nodes.is_empty() => {
                    if snapshot
                        .nodes
                        .values()
                        .any(|node| selector.matches(&node.labels))
                    {
                        return None;
                    }
                    (
                        format!("{field}.nodes"),
                        "selects no node of these manifests",
                    )
                }
                Members::Networks { .. } if members.networks().next().is_none() => (
                    format!("{field}.networks"),
                    "has no address: its exceptions cover all of it",
                ),
                _ => return None,
            };
            Some(look.finding(&EMPTY_ZONE, &object, &field, format!("this {what}")))
        });
        found.collect::<Vec<_>>()
    };
    counting(look).flat_map(of_zone).collect()
}

/// True if these workloads are about a pod.
pub(super) fn selects(workloads: &Workloads, snapshot: &Snapshot, pod: &crate::model::Pod) -> bool {
    let namespace = super::selectors::namespace_labels(snapshot, &pod.key.namespace);
    pod.is_running()
        && !pod.host_network
        && workloads.namespaces.matches(&namespace)
        && workloads.pods.matches(&pod.labels)
        && (workloads.accounts.is_empty() || workloads.accounts.contains(&*pod.service_account))
}

/// Zones that select the same pods or nodes.
fn overlaps(look: &Look<'_>, members: &[Membership<'_>]) -> Vec<Finding> {
    let mut overlaps: BTreeMap<&[Arc<str>], BTreeSet<Member<'_>>> = BTreeMap::new();
    for member in members.iter().filter(|it| it.selected.len() > 1) {
        overlaps
            .entry(&member.selected)
            .or_default()
            .insert(member.of);
    }
    let all = overlaps.into_iter().flat_map(|(zones, members)| {
        let message = format!(
            "{} {} in zones {} at once",
            told(&members),
            are(&members),
            zones.join(", ")
        );
        let of_zone = move |zone: &Arc<str>| {
            look.finding(
                &OVERLAP,
                &format!("SecurityZone/{zone}"),
                "spec.members",
                message.clone(),
            )
        };
        zones.iter().map(of_zone).collect::<Vec<_>>()
    });
    all.collect()
}

/// Networks that two zones claim alike.
fn equal_networks(look: &Look<'_>) -> Vec<Finding> {
    let mut by_network: BTreeMap<IpNet, BTreeSet<&str>> = BTreeMap::new();
    for (zone, _, network) in networks(look) {
        by_network.entry(network).or_default().insert(&zone.name);
    }
    let all = networks(look).filter_map(|(zone, index, network)| {
        let zones = by_network.get(&network).filter(|zones| zones.len() > 1)?;
        let names: Vec<&str> = zones.iter().copied().collect();
        let message = format!("{network} is of zones {} alike", names.join(", "));
        let object = format!("SecurityZone/{}", zone.name);
        let field = format!("spec.members[{index}].networks.cidrs");
        Some(look.finding(&OVERLAP, &object, &field, message))
    });
    all.collect()
}

fn networks<'a>(look: &'a Look<'_>) -> impl Iterator<Item = (&'a Zone, usize, IpNet)> {
    counting(look).flat_map(|zone| {
        let members = zone.members.iter().enumerate();
        members.flat_map(move |(index, members)| {
            let cidrs: &[IpNet] = match members {
                Members::Networks { cidrs, .. } => cidrs.as_slice(),
                Members::Workloads(_) | Members::Nodes(_) => &[],
            };
            cidrs.iter().map(move |cidr| (zone, index, *cidr))
        })
    })
}

/// Pods and nodes that are in a zone by nothing but their address.
fn claimed_by_network(look: &Look<'_>, members: &[Membership<'_>]) -> Vec<Finding> {
    let mut claimed: BTreeMap<&Arc<str>, BTreeMap<Member<'_>, std::net::IpAddr>> = BTreeMap::new();
    for member in members.iter().filter(|it| it.selected.is_empty()) {
        for zone in &*member.by_address {
            let of = claimed.entry(zone).or_default();
            of.insert(member.of, member.address);
        }
    }
    let all = claimed.into_iter().filter_map(|(name, members)| {
        let zone = look.snapshot.zones.get(&**name)?;
        // Who names an address alone means whom it is of.
        let (index, network) = networks(look)
            .filter(|(of, _, network)| {
                of.name == zone.name && network.prefix_len() < network.max_prefix_len()
            })
            .map(|(_, index, network)| (index, network))
            .find(|(_, network)| members.values().any(|address| network.contains(address)))?;
        let members: BTreeSet<Member<'_>> = members.into_keys().collect();
        let message = format!(
            "{network} claims {}, which no selector claims, for zone {name}",
            told(&members)
        );
        let object = format!("SecurityZone/{name}");
        let field = format!("spec.members[{index}].networks.cidrs");
        Some(look.finding(&WIDE_NETWORK, &object, &field, message))
    });
    all.collect()
}

/// As `pod/shop/web and 2 more`.
fn told(members: &BTreeSet<Member<'_>>) -> String {
    let first = match members.first() {
        Some(Member::Pod(key)) => format!("pod/{key}"),
        Some(Member::Node(name)) => format!("node/{name}"),
        None => String::new(),
    };
    match members.len() {
        0 | 1 => first,
        more => format!("{first} and {} more", more - 1),
    }
}

fn are(members: &BTreeSet<Member<'_>>) -> &'static str {
    if members.len() > 1 { "are" } else { "is" }
}
