//! Rules between zones that do nothing: covered, without effect, or about flows that nobody here sees.

use std::collections::BTreeSet;

use ringfence_common::Direction;

use super::{
    COVERED, ENDED, Finding, Look, OUTSIDE, VAIN_ACKNOWLEDGEMENT,
    covered::{Denials, counting, covers_ports, said},
};
use crate::{
    compile::Member,
    model::{Entity, Failsafe, Members, Ports, Zone, ZonePeer, ZoneRule},
};

pub(super) fn find(look: &Look<'_>) -> Vec<Finding> {
    let populated = populated(look);
    let mut found = Vec::new();
    let denials = Denials::of(look.snapshot);
    for (policy, index, rule) in counting(look.snapshot) {
        let object = format!("ZonePolicy/{}", policy.name);
        let field = format!("spec.rules[{index}]");
        if let Some(by) = denials.covering(policy, rule) {
            found.push(look.finding(&COVERED, &object, &field, said(rule, by)));
        }
        if rule.acknowledge_lockout && !may_lock_out(look, rule) {
            let message = format!("rule {} closes no node's port 22/TCP", rule.name);
            let field = format!("{field}.acknowledgeLockout");
            found.push(look.finding(&VAIN_ACKNOWLEDGEMENT, &object, &field, message));
        }
        let outside =
            |peers: &[ZonePeer]| peers.iter().all(|peer| is_outside(look, &populated, peer));
        if outside(&rule.from) && outside(&rule.to) {
            let message = format!(
                "rule {} is about flows from outside the cluster to outside: no node sees them",
                rule.name
            );
            found.push(look.finding(&OUTSIDE, &object, &field, message));
        }
    }
    found.extend(ended(look));
    found
}

/// Rules, exceptions and grants whose time is over.
fn ended<'a>(look: &'a Look<'_>) -> impl Iterator<Item = Finding> + use<'a> {
    let past = look.snapshot.past;
    let policies = look.snapshot.zone_policies.values();
    let ends = policies.flat_map(|policy| {
        let object = format!("ZonePolicy/{}", policy.name);
        (0..).zip(&policy.rules).flat_map(move |(index, rule)| {
            let field = format!("spec.rules[{index}]");
            let excepts = (0..).zip(&rule.except).map({
                let field = field.clone();
                move |(at, it)| {
                    let name = format!("exception {} of rule {}", it.name, rule.name);
                    (format!("{field}.except[{at}]"), name, it.expiry)
                }
            });
            let own = (field, format!("rule {}", rule.name), rule.expiry);
            let object = object.clone();
            let all = std::iter::once(own).chain(excepts);
            all.map(move |(field, name, expiry)| (object.clone(), field, name, expiry))
        })
    });
    let tenants = look.snapshot.tenants.values().flat_map(|isolation| {
        let object = format!("TenantIsolation/{}", isolation.name);
        (0..).zip(&isolation.except).map(move |(at, it)| {
            let (field, name) = (
                format!("spec.except[{at}]"),
                format!("exception {}", it.name),
            );
            (object.clone(), field, name, it.expiry)
        })
    });
    let grants = look.snapshot.grants.values().map(|it| {
        let object = format!("MetadataAccess/{}", it.name);
        (object, "spec".to_owned(), "the grant".to_owned(), it.expiry)
    });
    let ends = ends.chain(tenants).chain(grants);
    let over = ends.filter(move |(.., expiry)| expiry.is_over(past));
    over.map(|(object, field, name, _)| {
        let field = format!("{field}.expirationTime");
        look.finding(
            &ENDED,
            &object,
            &field,
            format!("{name} has ended: it is absent"),
        )
    })
}

/// True if the rule may close what stays open at nodes unless it says so.
fn may_lock_out(look: &Look<'_>, rule: &ZoneRule) -> bool {
    let has_nodes = |peer: &ZonePeer| match peer {
        ZonePeer::Entity(entity) => *entity != Entity::World,
        ZonePeer::Zone(name) => look.snapshot.zones.get(name).is_some_and(|zone| {
            let mut members = zone.members.iter();
            members.any(|it| !matches!(it, Members::Workloads(_)))
        }),
    };
    let yielding = Failsafe::usual().into_iter().filter(|it| it.yields);
    yielding
        .flat_map(|failsafe| {
            let Ports::Of(ports) = failsafe.ports else {
                return Vec::new();
            };
            ports
                .into_iter()
                .map(|port| (failsafe.direction, Ports::Of(vec![port])))
                .collect()
        })
        .any(|(direction, port)| {
            let of_nodes = match direction {
                Direction::Ingress => &rule.to,
                Direction::Egress => &rule.from,
            };
            covers_ports(&rule.ports, &port) && of_nodes.iter().any(has_nodes)
        })
}

/// Zones that pods or nodes of these manifests are in.
fn populated(look: &Look<'_>) -> BTreeSet<String> {
    let mut zones = BTreeSet::new();
    for member in look.asker.membership() {
        let counts = match (member.selected.is_empty(), member.of) {
            (false, Member::Pod(_) | Member::Node(_)) => &member.selected,
            (true, _) => &member.by_address,
        };
        zones.extend(counts.iter().map(ToString::to_string));
    }
    zones
}

/// True if nobody of the cluster is meant.
fn is_outside(look: &Look<'_>, populated: &BTreeSet<String>, peer: &ZonePeer) -> bool {
    let of_networks = |zone: &Zone| {
        let mut members = zone.members.iter();
        members.all(|it| matches!(it, Members::Networks { .. }))
    };
    match peer {
        ZonePeer::Entity(entity) => *entity == Entity::World,
        ZonePeer::Zone(name) => {
            let zone = look.snapshot.zones.get(name);
            !populated.contains(name) && zone.is_some_and(of_networks)
        }
    }
}
