//! What zones and tenants say: the tiers `ZoneDeny`, `ZoneIsolation`, `TenantStrict` and `TenantOverridable`.
//!
//! Each tier's rules are drafted once for the live and, if anything is in audit, once for the staged verdict, in words; where
//! both say the same they become one. Every rule here denies or leaves it to the next tier, so none is ever in another's way.

mod draft;
mod host;
mod isolation;
mod standing;
mod tenant;
mod unresolved;

use std::sync::Arc;

use ringfence_common::{Direction, cell::Tier};

use self::draft::Draft;
pub(super) use self::{
    host::TowardsHost,
    standing::{ByFamily, Standing, Subject, family},
    unresolved::unresolved,
};
use super::{
    fact::{Fact, FactId, Facts},
    names::RuleNames,
    netpol,
    part::Part,
    policies::Compile,
    ruleset::{Counts, View},
};
use crate::model::{
    Diagnostic, Enforcement, Entity, Expiry, Members, Objects, Snapshot, TenantIsolation, Zone,
    ZonePeer, ZonePolicy,
};

/// All that zones and tenants say, to whomever.
#[derive(Debug, Default)]
pub(super) struct Layer {
    zones: Vec<Arc<Zone>>,
    policies: Vec<Arc<ZonePolicy>>,
    tenants: Vec<Arc<TenantIsolation>>,
    past: i64,
    /// The verdicts count different zones.
    differ: bool,
    /// Something of it is in audit: only then do the verdicts differ.
    audits: bool,
    /// Facts about very many that rules may ask for: kept while any object may, and not only while a subject has such a rule,
    /// so that no single pod that comes or goes has them told of everybody.
    kept: Vec<FactId>,
}

/// What it says to subjects that stand alike.
pub(super) struct Towards<'a> {
    layer: &'a Layer,
    standing: &'a Standing,
}

impl Layer {
    /// What the objects of a snapshot say.
    pub(super) fn new(snapshot: &Snapshot, differ: bool, facts: &mut Facts) -> Self {
        let mut layer = Self {
            zones: counting(&snapshot.zones, |zone| zone.enforcement),
            policies: counting(&snapshot.zone_policies, |policy| policy.enforcement),
            tenants: counting(&snapshot.tenants, |tenants| tenants.enforcement),
            past: snapshot.past,
            differ,
            audits: false,
            kept: Vec::new(),
        };
        layer.audits = layer.is_audited();
        layer.kept = netpol::interned(layer.about_many().into_iter(), facts);
        layer
    }

    /// Gives back what [`Self::new`] has taken.
    pub(super) fn release(self, facts: &mut Facts) {
        self.kept.into_iter().for_each(|fact| facts.release(fact));
    }

    fn is_audited(&self) -> bool {
        let zones = self.zones.iter().map(|zone| zone.enforcement);
        let policies = self.policies.iter().map(|policy| policy.enforcement);
        let tenants = self.tenants.iter().map(|tenants| tenants.enforcement);
        let mut all = zones.chain(policies).chain(tenants);
        all.any(|enforcement| enforcement == Enforcement::Audit)
    }

    fn about_many(&self) -> Vec<Fact> {
        let mut about = Vec::new();
        let of_cluster = |peers: &Vec<ZonePeer>| {
            peers
                .iter()
                .any(|peer| matches!(peer, ZonePeer::Entity(Entity::World | Entity::Cluster)))
        };
        let mut rules = self.policies.iter().flat_map(|policy| &policy.rules);
        if rules.any(|rule| {
            let except = rule.except.iter().flat_map(|it| [&it.from, &it.to]);
            let sides = [&rule.from, &rule.to].into_iter();
            sides.chain(except.flatten()).any(of_cluster)
        }) {
            about.push(Fact::Cluster);
        }
        if !self.tenants.is_empty() {
            about.push(draft::any_pod());
        }
        let mut members = self.zones.iter().flat_map(|zone| &zone.members);
        if members.any(|members| matches!(members, Members::Networks { .. })) {
            about.extend([0, 1].map(draft::everybody));
        }
        about
    }

    /// What it says to those who stand so.
    pub(super) const fn towards<'a>(&'a self, standing: &'a Standing) -> Towards<'a> {
        Towards {
            layer: self,
            standing,
        }
    }

    /// The verdict by whose zones a verdict goes.
    const fn view(&self, view: View) -> View {
        if self.differ { view } else { View::Live }
    }

    fn is_over(&self, expiry: Expiry) -> bool {
        expiry.is_over(self.past)
    }
}

impl Compile for Towards<'_> {
    fn parts(
        &self,
        direction: Direction,
        facts: &mut Facts,
        names: &mut RuleNames,
        _diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<Part> {
        let tiers = [
            Tier::ZoneDeny,
            Tier::ZoneIsolation,
            Tier::TenantStrict,
            Tier::TenantOverridable,
        ];
        let parts = tiers.into_iter().filter_map(|tier| {
            let live = self.drafts(tier, direction, View::Live);
            let staged = self
                .layer
                .audits
                .then(|| self.drafts(tier, direction, View::Staged));
            let mut put = |drafts: &[Draft<'_>], counts| -> Vec<_> {
                let rules = drafts.iter();
                rules
                    .map(|draft| draft.rule(counts, facts, names))
                    .collect()
            };
            let rules = match staged {
                Some(staged) if staged != live => {
                    let mut rules = put(&live, Counts::Live);
                    rules.extend(put(&staged, Counts::Staged));
                    rules
                }
                _ => put(&live, Counts::Both),
            };
            (!rules.is_empty()).then(|| Part {
                object: "zones and tenants".to_owned(),
                tier,
                direction,
                rules,
                isolates: None,
            })
        });
        parts.collect()
    }
}

impl<'a> Towards<'a> {
    /// What is denied by rules that say that they may lock somebody out.
    fn acknowledged(&self, direction: Direction, view: View) -> Vec<Draft<'a>> {
        self.by_family(view, |of| {
            of.denials(direction, |rule| rule.acknowledge_lockout)
        })
    }

    fn drafts(&self, tier: Tier, direction: Direction, view: View) -> Vec<Draft<'a>> {
        match tier {
            Tier::ZoneDeny => self.by_family(view, |of| of.denials(direction, |_| true)),
            Tier::ZoneIsolation => self.by_family(view, |of| of.isolation(direction)),
            Tier::TenantStrict => self.tenants(direction, view),
            // Its team decides who comes in, so nobody decides who goes out.
            Tier::TenantOverridable if direction == Direction::Ingress => {
                self.overridable_tenants(view)
            }
            _ => Vec::new(),
        }
    }
}

/// What counts of these objects, by name.
fn counting<V>(
    objects: &Objects<String, V>,
    enforcement: impl Fn(&V) -> Enforcement,
) -> Vec<Arc<V>> {
    let shared = objects.keys().filter_map(|name| objects.shared(name));
    shared
        .filter(|object| enforcement(object) != Enforcement::Disabled)
        .cloned()
        .collect()
}
