//! The tier walk: all rules of one subject and direction, and the one function that decides by them.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use ringfence_common::cell::{Tier, Verdict};

use super::{
    DesiredCell,
    fact::{Fact, FactId, Facts},
};
use crate::model::Protocol;

/// Number of a rule's name.
pub type NameId = usize;

/// A protocol and port, or `None` for a protocol without ports.
pub type Port = Option<(Protocol, u16)>;

/// All rules of a subject in a direction. What no tier decides is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Strongest first.
    pub tiers: Vec<TierRules>,
}

/// One tier's part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TierRules {
    /// Which tier.
    pub tier: Tier,
    /// Rules; the first that matches decides.
    pub rules: Vec<Rule>,
    /// What happens where none matches.
    pub unmatched: Unmatched,
}

/// What a tier does with what none of its rules matches: `Some` denies, by the isolation of that name; `None`
/// leaves it to the next tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Unmatched {
    /// Of what is enforced.
    pub live: Option<NameId>,
    /// Of everything, what is in audit included.
    pub staged: Option<NameId>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The other side.
    pub peers: Peers,
    /// The other side must be among all of these, too.
    pub only: Arc<[Peers]>,
    /// Ports of the destination.
    pub ports: Arc<PortSet>,
    /// What it is not about.
    pub except: Arc<[Exception]>,
    /// What it says.
    pub action: Action,
    /// Its name.
    pub name: NameId,
    /// Which verdicts count it.
    pub counts: Counts,
}

/// What a rule is not about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exception {
    /// The other side.
    pub peers: Peers,
    /// Ports of the destination, without names.
    pub ports: Arc<PortSet>,
}

/// The other side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peers {
    /// Every address.
    Everybody,
    /// Addresses of which any of these facts holds; sorted.
    AnyOf(Arc<[FactId]>),
    /// Those, and addresses of which any of these other facts does not hold; both sorted.
    Unless(Arc<[FactId]>, Arc<[FactId]>),
}

/// Which verdicts count a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counts {
    /// Both.
    Both,
    /// The live one only.
    Live,
    /// The staged one only.
    Staged,
}

impl Counts {
    const fn counts(self, view: View) -> bool {
        match self {
            Self::Both => true,
            Self::Live => matches!(view, View::Live),
            Self::Staged => matches!(view, View::Staged),
        }
    }
}

/// Which of the two verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// What counts.
    Live,
    /// What would count if everything in audit were enforced.
    Staged,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Allowed, and no later tier is asked.
    Accept,
    /// Denied.
    Deny,
    /// The rest of this tier is skipped.
    Pass,
}

/// Ports of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortSet {
    /// Every protocol and port, those without ports included.
    Any,
    /// Some.
    Of {
        /// First and last of each run, by protocol; sorted and apart.
        ranges: [Vec<(u16, u16)>; Protocol::ALL.len()],
        /// Ports that the peer names.
        named: Vec<(Protocol, String)>,
    },
}

impl PortSet {
    /// The set of these ranges (first and last; one that ends before it begins is empty) and names.
    #[must_use]
    pub fn of(ranges: &[(Protocol, u16, u16)], mut named: Vec<(Protocol, String)>) -> Self {
        named.sort_unstable();
        named.dedup();
        let ranges = Protocol::ALL.map(|protocol| {
            let mut runs: Vec<(u16, u16)> = ranges
                .iter()
                .filter(|&&(of, first, last)| of == protocol && first <= last)
                .map(|&(_, first, last)| (first, last))
                .collect();
            runs.sort_unstable();
            runs.dedup_by(|next, previous| {
                let joined = u32::from(next.0) <= u32::from(previous.1) + 1;
                if joined {
                    previous.1 = previous.1.max(next.1);
                }
                joined
            });
            runs
        });
        Self::Of { ranges, named }
    }

    /// Names of ports that the peer must resolve.
    #[must_use]
    pub fn named(&self) -> &[(Protocol, String)] {
        match self {
            Self::Any => &[],
            Self::Of { named, .. } => named,
        }
    }

    /// The ports that are in both; `None` if there are none. Names are in neither.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        let (ours, theirs) = match (self, other) {
            (Self::Any, same) | (same, Self::Any) => return Some(same.clone()),
            (Self::Of { ranges: ours, .. }, Self::Of { ranges: theirs, .. }) => (ours, theirs),
        };
        let mut both = Vec::new();
        for protocol in Protocol::ALL {
            for &(first, last) in &ours[protocol as usize] {
                for &(begin, end) in &theirs[protocol as usize] {
                    if first.max(begin) <= last.min(end) {
                        both.push((protocol, first.max(begin), last.min(end)));
                    }
                }
            }
        }
        (!both.is_empty()).then(|| Self::of(&both, Vec::new()))
    }

    fn contains(&self, port: Port) -> bool {
        match (self, port) {
            (Self::Any, _) => true,
            (Self::Of { .. }, None) => false,
            (Self::Of { ranges, .. }, Some((protocol, number))) => {
                let runs = &ranges[protocol as usize];
                let after = runs.partition_point(|&(first, _)| first <= number);
                after
                    .checked_sub(1)
                    .is_some_and(|index| number <= runs[index].1)
            }
        }
    }
}

impl Ruleset {
    /// The rules that are about this peer: all that the verdict depends on but the port.
    #[must_use]
    pub fn facing<'a>(&'a self, facts: &Facts, peer: &[FactId]) -> Facing<'a> {
        let tiers: Vec<FacingTier<'a>> = self
            .tiers
            .iter()
            .map(|tier| FacingTier {
                tier: tier.tier,
                unmatched: tier.unmatched,
                rules: tier
                    .rules
                    .iter()
                    .filter(|rule| rule.is_about(peer))
                    .map(|rule| FacingRule::new(rule, facts, peer))
                    .collect(),
            })
            .collect();
        let audits = tiers.iter().any(|tier| {
            tier.unmatched.live != tier.unmatched.staged
                || tier.rules.iter().any(|it| it.rule.counts != Counts::Both)
        });
        Facing { tiers, audits }
    }

    /// All rules, strongest tier first.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.tiers.iter().flat_map(|tier| &tier.rules)
    }
}

impl Rule {
    /// Every set of peers that it speaks of.
    pub fn all_peers(&self) -> impl Iterator<Item = &Peers> {
        let except = self.except.iter().map(|it| &it.peers);
        std::iter::once(&self.peers)
            .chain(&*self.only)
            .chain(except)
    }

    /// Every set of ports that it speaks of.
    pub fn all_ports(&self) -> impl Iterator<Item = &PortSet> {
        let except = self.except.iter().map(|it| &*it.ports);
        std::iter::once(&*self.ports).chain(except)
    }

    fn is_about(&self, peer: &[FactId]) -> bool {
        self.peers.contains(peer) && self.only.iter().all(|it| it.contains(peer))
    }
}

impl Peers {
    /// The facts that it asks for.
    pub fn facts(&self) -> impl Iterator<Item = FactId> + '_ {
        let (having, lacking): (&[FactId], &[FactId]) = match self {
            Self::Everybody => (&[], &[]),
            Self::AnyOf(having) => (having, &[]),
            Self::Unless(having, lacking) => (having, lacking),
        };
        having.iter().chain(lacking).copied()
    }

    fn contains(&self, peer: &[FactId]) -> bool {
        let any = |of: &[FactId]| peer.iter().any(|fact| of.binary_search(fact).is_ok());
        match self {
            Self::Everybody => true,
            Self::AnyOf(having) => any(having),
            Self::Unless(having, lacking) => {
                any(having) || lacking.iter().any(|fact| !peer.contains(fact))
            }
        }
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

#[derive(Clone, Debug)]
struct FacingTier<'a> {
    tier: Tier,
    rules: Vec<FacingRule<'a>>,
    unmatched: Unmatched,
}

#[derive(Clone, Debug)]
struct FacingRule<'a> {
    rule: &'a Rule,
    /// Ports that the peer's names stand for.
    named: Vec<(Protocol, u16)>,
    /// Ports of the exceptions that the peer is in.
    except: Vec<&'a PortSet>,
}

impl<'a> FacingRule<'a> {
    fn new(rule: &'a Rule, facts: &Facts, peer: &[FactId]) -> Self {
        let except = rule.except.iter().filter(|it| it.peers.contains(peer));
        Self {
            rule,
            named: resolved(rule.ports.named(), facts, peer),
            except: except.map(|it| &*it.ports).collect(),
        }
    }

    fn matches(&self, port: Port) -> bool {
        let named = || port.is_some_and(|port| self.named.contains(&port));
        (self.rule.ports.contains(port) || named())
            && !self.except.iter().any(|except| except.contains(port))
    }
}

impl<'a> Facing<'a> {
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
