//! All rules of one subject and direction.

mod facing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ringfence_common::cell::Tier;

pub use self::facing::{About, Facing, Sight};
use super::fact::FactId;
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
