//! Rules between zones that do nothing: covered, without effect, or about flows that nobody here sees.

use std::collections::BTreeSet;

use ringfence_common::Direction;

use super::{COVERED, Finding, Look, OUTSIDE, VAIN_ACKNOWLEDGEMENT};
use crate::{
    compile::Member,
    model::{
        Enforcement, Entity, Failsafe, Members, PortSpec, Ports, Protocol, Zone, ZoneAction,
        ZonePeer, ZonePolicy, ZoneRule,
    },
};

pub(super) fn find(look: &Look<'_>) -> Vec<Finding> {
    let populated = populated(look);
    let mut found = Vec::new();
    for (policy, index, rule) in rules(look) {
        let object = format!("ZonePolicy/{}", policy.name);
        let field = format!("spec.rules[{index}]");
        if let Some((by, which)) = covering(look, policy, rule) {
            let message = format!(
                "rule {} opens nothing: ZonePolicy/{} rule {} denies all of it",
                rule.name, by.name, which.name
            );
            found.push(look.finding(&COVERED, &object, &field, message));
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
    found
}

/// Rules that count now or in audit, with their numbers.
fn rules<'a>(look: &'a Look<'_>) -> impl Iterator<Item = (&'a ZonePolicy, usize, &'a ZoneRule)> {
    let policies = look.snapshot.zone_policies.values();
    let policies = policies.filter(|policy| policy.enforcement != Enforcement::Disabled);
    let past = look.snapshot.past;
    policies.flat_map(move |policy| {
        let rules = policy.rules.iter().enumerate();
        let rules = rules.filter(move |(_, rule)| !rule.expiry.is_over(past));
        rules.map(move |(index, rule)| (policy, index, rule))
    })
}

/// A rule that denies all that a rule allows, as long as both count.
fn covering<'a>(
    look: &'a Look<'_>,
    policy: &ZonePolicy,
    rule: &ZoneRule,
) -> Option<(&'a ZonePolicy, &'a ZoneRule)> {
    if rule.action != ZoneAction::Allow {
        return None;
    }
    let mut denials = rules(look).filter(|(_, _, it)| it.action == ZoneAction::Deny);
    let found = denials.find(|(by, _, denial)| {
        // An audited denial opens no gap in what is enforced.
        (by.enforcement == Enforcement::Enforce || policy.enforcement == Enforcement::Audit)
            && by.canary.is_none()
            && denial
                .except
                .iter()
                .all(|it| it.expiry.is_over(look.snapshot.past))
            && covers(&denial.from, &rule.from)
            && covers(&denial.to, &rule.to)
            && covers_ports(&denial.ports, &rule.ports)
            && known(look, rule)
    });
    found.map(|(by, _, denial)| (by, denial))
}

/// True if the zones that a rule names are there: a name that is nobody's is told of as that.
fn known(look: &Look<'_>, rule: &ZoneRule) -> bool {
    rule.from.iter().chain(&rule.to).all(|peer| match peer {
        ZonePeer::Zone(name) => look.snapshot.zones.contains_key(name),
        ZonePeer::Entity(_) => true,
    })
}

fn covers(wide: &[ZonePeer], narrow: &[ZonePeer]) -> bool {
    let any = ZonePeer::Entity(Entity::Any);
    wide.contains(&any) || narrow.iter().all(|peer| wide.contains(peer))
}

fn covers_ports(wide: &Ports, narrow: &Ports) -> bool {
    match (wide, narrow) {
        (Ports::Any, _) => true,
        (Ports::Of(_), Ports::Any) => false,
        (Ports::Of(wide), Ports::Of(narrow)) => narrow.iter().all(|narrow| {
            let Some((protocol, first, last)) = range(narrow) else {
                return false;
            };
            wide.iter()
                .filter_map(range)
                .any(|(of, from, to)| of == protocol && from <= first && last <= to)
        }),
    }
}

fn range(port: &PortSpec) -> Option<(Protocol, u16, u16)> {
    match port {
        PortSpec::All(protocol) => Some((*protocol, 0, u16::MAX)),
        PortSpec::Range(protocol, first, last) => Some((*protocol, *first, *last)),
        PortSpec::Named(..) => None,
    }
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
