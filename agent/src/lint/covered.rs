//! Rules that allow what another one denies whole.

use crate::model::{
    Enforcement, Entity, PortSpec, Ports, Protocol, Snapshot, ZoneAction, ZonePeer, ZonePolicy,
    ZoneRule,
};

/// A rule and the policy that it is of.
type Of<'a> = (&'a ZonePolicy, &'a ZoneRule);

/// Rules that deny, of all policies.
#[derive(Debug)]
pub struct Denials<'a> {
    snapshot: &'a Snapshot,
    rules: Vec<Of<'a>>,
}

impl<'a> Denials<'a> {
    /// Those that count now or in audit for all whom they name.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let counts = |peer: &ZonePeer| match peer {
            ZonePeer::Zone(name) => snapshot
                .zones
                .get(name)
                .is_some_and(|zone| zone.enforcement == Enforcement::Enforce),
            ZonePeer::Entity(_) => true,
        };
        let denies = |(policy, rule): &Of<'a>| {
            rule.action == ZoneAction::Deny
                && policy.canary.is_none()
                && rule.from.iter().chain(&rule.to).all(counts)
        };
        let rules = counting(snapshot).map(|(policy, _, rule)| (policy, rule));
        Self {
            snapshot,
            rules: rules.filter(denies).collect(),
        }
    }

    /// One that denies all that a rule allows, as long as both count.
    #[must_use]
    pub fn covering(&self, policy: &ZonePolicy, rule: &ZoneRule) -> Option<(&'a str, &'a str)> {
        if rule.action != ZoneAction::Allow || !self.knows(rule) {
            return None;
        }
        let covers = |(by, denial): &&Of<'a>| {
            // An audited denial opens no gap in what is enforced.
            (by.enforcement == Enforcement::Enforce || policy.enforcement == Enforcement::Audit)
                && covers(&denial.from, &rule.from)
                && covers(&denial.to, &rule.to)
                && covers_ports(&denial.ports, &rule.ports)
                && denial.except.iter().all(|it| {
                    it.expiry.is_over(self.snapshot.past) || are_apart(&it.ports, &rule.ports)
                })
        };
        let found = self.rules.iter().find(covers)?;
        Some((&found.0.name, &found.1.name))
    }

    /// What opens nothing in a policy, in words: `rule r opens nothing: ...`.
    #[must_use]
    pub fn contradictions(&self, policy: &ZonePolicy) -> Vec<String> {
        let past = self.snapshot.past;
        let counts = policy.enforcement != Enforcement::Disabled;
        let rules = policy.rules.iter();
        rules
            .filter(|it| counts && !it.expiry.is_over(past))
            .filter_map(|rule| Some(said(rule, self.covering(policy, rule)?)))
            .collect()
    }

    /// True if the zones that a rule names are there: a name that is nobody's is told of as that.
    fn knows(&self, rule: &ZoneRule) -> bool {
        rule.from.iter().chain(&rule.to).all(|peer| match peer {
            ZonePeer::Zone(name) => self.snapshot.zones.contains_key(name),
            ZonePeer::Entity(_) => true,
        })
    }
}

/// That a rule opens nothing.
pub(super) fn said(rule: &ZoneRule, (policy, denial): (&str, &str)) -> String {
    format!(
        "rule {} opens nothing: ZonePolicy/{policy} rule {denial} denies all of it",
        rule.name
    )
}

/// Rules that count now or in audit, with their numbers.
pub(super) fn counting(
    snapshot: &Snapshot,
) -> impl Iterator<Item = (&ZonePolicy, usize, &ZoneRule)> {
    let policies = snapshot.zone_policies.values();
    let policies = policies.filter(|policy| policy.enforcement != Enforcement::Disabled);
    let past = snapshot.past;
    policies.flat_map(move |policy| {
        let rules = policy.rules.iter().enumerate();
        let rules = rules.filter(move |(_, rule)| !rule.expiry.is_over(past));
        rules.map(move |(index, rule)| (policy, index, rule))
    })
}

fn covers(wide: &[ZonePeer], narrow: &[ZonePeer]) -> bool {
    let any = ZonePeer::Entity(Entity::Any);
    wide.contains(&any) || narrow.iter().all(|peer| wide.contains(peer))
}

pub(super) fn covers_ports(wide: &Ports, narrow: &Ports) -> bool {
    match (wide, narrow) {
        (Ports::Any, _) => true,
        (Ports::Of(_), Ports::Any) => false,
        (Ports::Of(wide), Ports::Of(narrow)) => narrow.iter().all(|narrow| {
            let Some((protocol, mut first, last)) = range(narrow) else {
                return false;
            };
            let mut runs: Vec<(u16, u16)> = wide
                .iter()
                .filter_map(range)
                .filter(|(of, ..)| *of == protocol)
                .map(|(_, from, to)| (from, to))
                .collect();
            runs.sort_unstable();
            // What several ranges cover together is covered.
            for (from, to) in runs {
                if from <= first && first <= to {
                    if last <= to {
                        return true;
                    }
                    first = to + 1;
                }
            }
            false
        }),
    }
}

/// True if no port is in both.
fn are_apart(one: &Ports, other: &Ports) -> bool {
    let (Ports::Of(one), Ports::Of(other)) = (one, other) else {
        return false;
    };
    one.iter().all(|one| {
        other.iter().all(|other| match (range(one), range(other)) {
            (Some((of, first, last)), Some((its, from, to))) => {
                of != its || last < from || to < first
            }
            _ => false,
        })
    })
}

fn range(port: &PortSpec) -> Option<(Protocol, u16, u16)> {
    match port {
        PortSpec::All(protocol) => Some((*protocol, 0, u16::MAX)),
        PortSpec::Range(protocol, first, last) => Some((*protocol, *first, *last)),
        PortSpec::Named(..) => None,
    }
}
