//! Rules between zones.

use super::{
    check::Findings,
    shared::{canary, enforcement, expiry, ports},
};
use crate::{
    api::{self, Action, ZoneRule as Rule},
    model::{Entity, ZoneAction, ZoneException, ZonePeer, ZonePolicy, ZoneRule},
};

pub(super) fn convert(object: &api::ZonePolicy, findings: &mut Findings<'_>) -> ZonePolicy {
    let spec = &object.spec;
    let rules = spec.rules.iter().enumerate();
    let rules = rules.map(|(index, it)| rule(it, &format!("spec.rules[{index}]"), findings));
    let rules = rules.collect();
    ZonePolicy {
        name: findings.read.key.name.clone(),
        rules,
        enforcement: enforcement(spec.enforcement),
        canary: canary(spec.canary.as_ref(), "spec.canary", findings),
        origin: findings.read.origin.clone(),
    }
}

fn rule(rule: &Rule, field: &str, findings: &mut Findings<'_>) -> ZoneRule {
    let except = rule.except.iter().flatten().enumerate();
    let except = except
        .map(|(index, it)| {
            let field = format!("{field}.except[{index}].ports");
            ZoneException {
                name: it.name.clone(),
                from: it.from.as_deref().map(peers),
                to: it.to.as_deref().map(peers),
                ports: ports(it.ports.as_deref(), &field, findings),
                expiry: expiry(it.expiration_time.as_ref()),
            }
        })
        .collect();
    ZoneRule {
        name: rule.name.clone(),
        action: match rule.action {
            Action::Allow => ZoneAction::Allow,
            Action::Deny => ZoneAction::Deny,
        },
        from: peers(&rule.from),
        to: peers(&rule.to),
        ports: ports(rule.ports.as_deref(), &format!("{field}.ports"), findings),
        except,
        acknowledge_lockout: rule.acknowledge_lockout,
        expiry: expiry(rule.expiration_time.as_ref()),
    }
}

fn peers(peers: &[api::ZonePeer]) -> Vec<ZonePeer> {
    let peers = peers.iter().flat_map(|peer| {
        let names = peer.zone_names.iter().flatten().cloned();
        let entity = peer.entity.map(|entity| match entity {
            api::Entity::Any => Entity::Any,
            api::Entity::World => Entity::World,
            api::Entity::Cluster => Entity::Cluster,
            api::Entity::Unzoned => Entity::Unzoned,
        });
        names
            .map(ZonePeer::Zone)
            .chain(entity.map(ZonePeer::Entity))
    });
    peers.collect()
}
