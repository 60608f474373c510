//! The tier walk: a ruleset as one peer sees it, and the one function that decides by it.

use hashbrown::HashMap;
use ringfence_common::cell::{Tier, Verdict};

use super::{Action, Counts, NameId, Peers, Port, Rule, Ruleset, Unmatched, View};
use crate::{
    compile::{
        DesiredCell,
        fact::{Fact, FactId, Facts},
    },
    model::Protocol,
};

/// Which rules may be about whom, for asking of thousands of peers.
#[derive(Debug)]
pub struct About {
    /// Rules that are about peers of whom a fact holds, by their places.
    having: HashMap<FactId, Vec<usize>>,
    /// Rules that may be about anybody.
    others: Vec<usize>,
}

impl About {
    /// The places of rules that may be about this peer, in order; all others are not.
    fn places(&self, peer: &[FactId]) -> Vec<usize> {
        let having = peer.iter().filter_map(|fact| self.having.get(fact));
        let mut places: Vec<usize> = having.flatten().chain(&self.others).copied().collect();
        places.sort_unstable();
        places.dedup();
        places
    }
}

impl Ruleset {
    /// Which rules may be about whom.
    #[must_use]
    pub fn about(&self) -> About {
        let (mut having, mut others) = (HashMap::<FactId, Vec<usize>>::new(), Vec::new());
        for (place, rule) in self.rules().enumerate() {
            match &rule.peers {
                Peers::AnyOf(facts) => {
                    for &fact in &**facts {
                        having.entry(fact).or_default().push(place);
                    }
                }
                Peers::Everybody | Peers::Unless(..) => others.push(place),
            }
        }
        About { having, others }
    }

    /// The rules that are about this peer: all that the verdict depends on but the port.
    #[must_use]
    pub fn facing<'a>(&'a self, facts: &Facts, peer: &[FactId]) -> Facing<'a> {
        self.facing_by(0..self.rules().count(), facts, peer)
    }

    /// The same, by what [`Self::about`] says.
    #[must_use]
    pub fn facing_one_of_many<'a>(
        &'a self,
        about: &About,
        facts: &Facts,
        peer: &[FactId],
    ) -> Facing<'a> {
        let facing = self.facing_by(about.places(peer).into_iter(), facts, peer);
        debug_assert_eq!(facing.sight(), self.facing(facts, peer).sight());
        facing
    }

    /// The same of rules of these places, in order.
    fn facing_by<'a>(
        &'a self,
        places: impl Iterator<Item = usize>,
        facts: &Facts,
        peer: &[FactId],
    ) -> Facing<'a> {
        let mut places = places.peekable();
        let mut first = 0;
        let tiers: Vec<FacingTier<'a>> = self
            .tiers
            .iter()
            .map(|tier| {
                let end = first + tier.rules.len();
                let of_tier = std::iter::from_fn(|| places.next_if(|&place| place < end));
                let rules = of_tier
                    .map(|place| (place, &tier.rules[place - first]))
                    .filter(|(_, rule)| rule.is_about(peer))
                    .map(|(place, rule)| FacingRule::new(place, rule, facts, peer))
                    .collect();
                first = end;
                FacingTier {
                    tier: tier.tier,
                    unmatched: tier.unmatched,
                    rules,
                }
            })
            .collect();
        let audits = tiers.iter().any(|tier| {
            tier.unmatched.live != tier.unmatched.staged
                || tier.rules.iter().any(|it| it.rule.counts != Counts::Both)
        });
        Facing { tiers, audits }
    }
}

/// What these names are on the peer.
fn resolved(named: &[(Protocol, String)], facts: &Facts, peer: &[FactId]) -> Vec<(Protocol, u16)> {
    if named.is_empty() {
        return Vec::new();
    }
    peer.iter()
        .filter_map(|&fact| match facts.get(fact) {
            Some(Fact::Port {
                protocol,
                name,
                number,
            }) if named.iter().any(|(of, it)| of == protocol && it == name) => {
                Some((*protocol, *number))
            }
            _ => None,
        })
        .collect()
}

/// A ruleset as one peer sees it.
#[derive(Clone, Debug)]
pub struct Facing<'a> {
    tiers: Vec<FacingTier<'a>>,
    /// False if both verdicts are the same on every port.
    audits: bool,
}

/// What one peer sees of a ruleset, told in short: to peers with equal ones it says the same on every port.
pub type Sight = Vec<(usize, Vec<(Protocol, u16)>, Vec<usize>)>;

#[derive(Clone, Debug)]
struct FacingTier<'a> {
    tier: Tier,
    rules: Vec<FacingRule<'a>>,
    unmatched: Unmatched,
}

#[derive(Clone, Debug)]
struct FacingRule<'a> {
    /// Which one it is of the ruleset's.
    place: usize,
    rule: &'a Rule,
    /// Ports that the peer's names stand for.
    named: Vec<(Protocol, u16)>,
    /// The exceptions that the peer is in.
    except: Vec<usize>,
}

impl<'a> FacingRule<'a> {
    fn new(place: usize, rule: &'a Rule, facts: &Facts, peer: &[FactId]) -> Self {
        let except = rule.except.iter().enumerate();
        let except = except.filter(|(_, it)| it.peers.contains(peer));
        Self {
            place,
            rule,
            named: resolved(rule.ports.named(), facts, peer),
            except: except.map(|(at, _)| at).collect(),
        }
    }

    fn matches(&self, port: Port) -> bool {
        let named = || port.is_some_and(|port| self.named.contains(&port));
        let excepted = |at: &usize| self.rule.except[*at].ports.contains(port);
        (self.rule.ports.contains(port) || named()) && !self.except.iter().any(excepted)
    }
}

impl<'a> Facing<'a> {
    /// All that [`Self::decide`] depends on but the ruleset.
    #[must_use]
    pub fn sight(&self) -> Sight {
        let rules = self.tiers.iter().flat_map(|tier| &tier.rules);
        rules
            .map(|it| (it.place, it.named.clone(), it.except.clone()))
            .collect()
    }

    /// The verdict on a port; its rule is a [`NameId`].
    ///
    /// The rule and tier are those of the live verdict; where the staged one differs, those of the staged one.
    #[must_use]
    pub fn decide(&self, port: Port) -> DesiredCell {
        let (live, tier, rule) = self.walk(port, View::Live);
        let staged = if self.audits {
            self.walk(port, View::Staged)
        } else {
            (live, tier, rule)
        };
        let binds = |verdict, tier| verdict == Verdict::Deny && tier == Tier::ZoneDeny;
        let binds_own_node = binds(live, tier);
        let would_bind_own_node = binds(staged.0, staged.1);
        let (tier, rule) = if staged.0 == live {
            (tier, rule)
        } else {
            (staged.1, staged.2)
        };
        DesiredCell {
            live,
            staged: staged.0,
            tier,
            rule,
            binds_own_node,
            would_bind_own_node,
        }
    }

    /// The tier and rule that decide what counts.
    #[must_use]
    pub fn decided_by(&self, port: Port) -> (Tier, Option<NameId>) {
        let (_, tier, rule) = self.walk(port, View::Live);
        (tier, rule)
    }

    /// The rules of a tier that are about the peer, whatever the port.
    pub fn rules(&self, of: Tier) -> impl Iterator<Item = &'a Rule> {
        let tiers = self.tiers.iter().filter(move |tier| tier.tier == of);
        tiers.flat_map(|tier| tier.rules.iter().map(|it| it.rule))
    }

    fn walk(&self, port: Port, view: View) -> (Verdict, Tier, Option<NameId>) {
        for tier in &self.tiers {
            let rule = tier
                .rules
                .iter()
                .find(|it| it.rule.counts.counts(view) && it.matches(port))
                .map(|it| it.rule);
            let unmatched = match view {
                View::Live => tier.unmatched.live,
                View::Staged => tier.unmatched.staged,
            };
            match (rule.map(|rule| (rule.action, rule.name)), unmatched) {
                (Some((Action::Accept, name)), _) => {
                    return (Verdict::Allow, tier.tier, Some(name));
                }
                (Some((Action::Deny, name)), _) | (None, Some(name)) => {
                    return (Verdict::Deny, tier.tier, Some(name));
                }
                (Some((Action::Pass, _)), _) | (None, None) => {}
            }
        }
        (Verdict::Allow, Tier::Default, None)
    }
}
