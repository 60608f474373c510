//! Zones: what policies deny, and what the isolation of zones denies unless policies allow it.

use std::collections::BTreeSet;

use ringfence_common::Direction;

use super::{
    Towards,
    draft::{self, Draft, EVERY_PORT, Others, everybody},
};
use crate::{
    compile::{
        fact::Fact,
        netpol::word,
        ruleset::{Action, View},
        zones::{ZoneNames, member},
    },
    model::{
        Enforcement, Entity, IntraZone, Openness, Zone, ZoneAction, ZonePeer, ZonePolicy, ZoneRule,
    },
};

/// A subject that is in these zones, as one verdict counts everything.
pub(super) struct Seen<'a, 'b> {
    towards: &'b Towards<'a>,
    view: View,
    own: &'b ZoneNames,
}

/// How the zones of somebody are meant who is in several.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Each of them counts.
    Any,
    /// None of them counts.
    Alone,
}

impl<'a> Towards<'a> {
    /// The drafts of a subject that may be in other zones by its IPv4 address than by its IPv6 address.
    pub(super) fn by_family(
        &self,
        view: View,
        of: impl Fn(&Seen<'a, '_>) -> Vec<Draft<'a>>,
    ) -> Vec<Draft<'a>> {
        let mut all = Vec::new();
        for (family, own) in self.standing.zones(view) {
            let seen = Seen {
                towards: self,
                view,
                own,
            };
            let mut drafts = of(&seen);
            if let Some(family) = family {
                let of_family = everybody(family);
                for draft in &mut drafts {
                    draft.only.push(Others::any_of([of_family.clone()]));
                }
            }
            all.append(&mut drafts);
        }
        all
    }
}

impl<'a> Seen<'a, '_> {
    /// What policies deny, by those rules that `counts` says.
    pub(super) fn denials(
        &self,
        direction: Direction,
        counts: impl Fn(&ZoneRule) -> bool,
    ) -> Vec<Draft<'a>> {
        let mut drafts = Vec::new();
        for (policy, only, rule) in self.rules(ZoneAction::Deny) {
            let (own, others) = sides(rule, direction);
            if !counts(rule) || !self.is_among(own, Of::Any) {
                continue;
            }
            let mut draft = drafted(policy, only, rule);
            draft.others = self.others(others, Of::Any);
            let excepted = rule
                .except
                .iter()
                .filter(|it| !self.towards.layer.is_over(it.expiry));
            for except in excepted {
                let (own, others) = match direction {
                    Direction::Ingress => (&except.to, &except.from),
                    Direction::Egress => (&except.from, &except.to),
                };
                if own
                    .as_ref()
                    .is_some_and(|own| !self.is_among(own, Of::Alone))
                {
                    continue;
                }
                let others = match others {
                    Some(others) => self.others(others, Of::Alone),
                    None => Others::All,
                };
                draft.except.push((others, &except.ports));
            }
            drafts.push(draft);
        }
        drafts
    }

    /// What the isolation of the subject's zones and of others denies, after what policies allow.
    pub(super) fn isolation(&self, direction: Direction) -> Vec<Draft<'a>> {
        let zones: Vec<&'a Zone> = self.zones().collect();
        let within = zones.iter().filter(|zone| self.is_in(zone));
        let mut denials: Vec<Draft<'a>> = within
            .filter(|zone| zone.intra_zone == IntraZone::Deny)
            .map(|zone| self.isolated(zone, "within", Some(&zone.name)))
            .collect();
        let (of_own, of_others) = match direction {
            Direction::Ingress => (Direction::Ingress, Direction::Egress),
            Direction::Egress => (Direction::Egress, Direction::Ingress),
        };
        for zone in &zones {
            if self.is_in(zone) && openness(zone, of_own) == Openness::Isolated {
                denials.push(self.isolated(zone, word(of_own), None));
            }
            if openness(zone, of_others) == Openness::Isolated {
                denials.push(self.isolated(zone, word(of_others), Some(&zone.name)));
            }
        }
        if denials.is_empty() {
            return denials;
        }
        let mut drafts = Vec::new();
        for (policy, only, rule) in self.rules(ZoneAction::Allow) {
            let (own, others) = sides(rule, direction);
            if self.is_among(own, Of::Alone) {
                let mut draft = drafted(policy, only, rule);
                draft.others = self.others(others, Of::Alone);
                drafts.push(draft);
            }
        }
        if let [own] = &**self.own
            && let Some(zone) = zones.iter().find(|zone| zone.name == **own)
            && zone.intra_zone == IntraZone::Allow
        {
            let mut draft = self.isolated(zone, "within", None);
            draft.action = Action::Pass;
            draft.others = Others::any_of([self.member(own, Of::Alone)]);
            draft.rest = "within".to_owned();
            drafts.push(draft);
        }
        drafts.append(&mut denials);
        drafts
    }

    /// The zones that this verdict counts.
    fn zones(&self) -> impl Iterator<Item = &'a Zone> {
        let staged = self.view == View::Staged;
        let zones = self.towards.layer.zones.iter().map(|zone| &**zone);
        zones.filter(move |zone| staged || zone.enforcement == Enforcement::Enforce)
    }

    /// The rules that this verdict counts, with their policies and among whom it counts them.
    fn rules(
        &self,
        action: ZoneAction,
    ) -> impl Iterator<Item = (&'a ZonePolicy, Vec<Others>, &'a ZoneRule)> {
        let layer = self.towards.layer;
        let policies = layer.policies.iter().zip(&self.towards.standing.canaries);
        let counting = policies.filter_map(|(policy, &is_canary)| {
            let canary = policy.canary.as_ref();
            let only = draft::only(self.view, policy.enforcement, canary, is_canary)?;
            Some((&**policy, only))
        });
        counting.flat_map(move |(policy, only)| {
            let rules = policy.rules.iter();
            let rules = rules.filter(move |it| it.action == action && !layer.is_over(it.expiry));
            rules.map(move |rule| (policy, only.clone(), rule))
        })
    }

    /// A denial by a zone, of everybody or of those in this zone.
    fn isolated(&self, zone: &Zone, what: &str, others: Option<&str>) -> Draft<'a> {
        Draft {
            others: match others {
                Some(name) => Others::any_of([self.member(name, Of::Any)]),
                None => Others::All,
            },
            only: Vec::new(),
            ports: EVERY_PORT,
            except: Vec::new(),
            action: Action::Deny,
            object: format!("SecurityZone/{}", zone.name),
            rest: format!("{what}: no rule allows it"),
        }
    }

    fn is_in(&self, zone: &Zone) -> bool {
        self.own.iter().any(|own| **own == *zone.name)
    }

    fn member(&self, name: &str, of: Of) -> Fact {
        member(name, self.towards.layer.view(self.view), of == Of::Alone)
    }

    /// True if the subject is one of these.
    fn is_among(&self, peers: &[ZonePeer], of: Of) -> bool {
        peers.iter().any(|peer| match peer {
            ZonePeer::Zone(name) => match of {
                Of::Any => self.own.iter().any(|own| **own == **name),
                Of::Alone => matches!(&**self.own, [own] if **own == **name),
            },
            ZonePeer::Entity(Entity::Any | Entity::Cluster) => true,
            ZonePeer::Entity(Entity::World) => false,
            ZonePeer::Entity(Entity::Unzoned) => self.own.is_empty(),
        })
    }

    /// These, on the other side.
    fn others(&self, peers: &[ZonePeer], of: Of) -> Others {
        let (mut having, mut lacking) = (BTreeSet::new(), BTreeSet::new());
        for peer in peers {
            match peer {
                ZonePeer::Zone(name) => having.insert(self.member(name, of)),
                ZonePeer::Entity(Entity::Any) => return Others::All,
                ZonePeer::Entity(Entity::World) => lacking.insert(Fact::Cluster),
                ZonePeer::Entity(Entity::Cluster) => having.insert(Fact::Cluster),
                ZonePeer::Entity(Entity::Unzoned) => {
                    lacking.insert(Fact::Zoned(self.towards.layer.view(self.view)))
                }
            };
        }
        Others::Some(having, lacking)
    }
}

/// A rule, about everybody.
fn drafted<'a>(policy: &ZonePolicy, only: Vec<Others>, rule: &'a ZoneRule) -> Draft<'a> {
    Draft {
        others: Others::All,
        only,
        ports: &rule.ports,
        except: Vec::new(),
        action: match rule.action {
            ZoneAction::Deny => Action::Deny,
            // It stands against isolation only; other tiers are asked.
            ZoneAction::Allow => Action::Pass,
        },
        object: format!("ZonePolicy/{}", policy.name),
        rest: format!("rule {}", rule.name),
    }
}

fn sides(rule: &ZoneRule, direction: Direction) -> (&[ZonePeer], &[ZonePeer]) {
    match direction {
        Direction::Ingress => (&rule.to, &rule.from),
        Direction::Egress => (&rule.from, &rule.to),
    }
}

const fn openness(zone: &Zone, direction: Direction) -> Openness {
    match direction {
        Direction::Ingress => zone.ingress,
        Direction::Egress => zone.egress,
    }
}
