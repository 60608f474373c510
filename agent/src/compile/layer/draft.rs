//! Rules in words, before facts and names have numbers.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    compile::{
        fact::{Fact, Facts, Scope},
        names::RuleNames,
        netpol::interned,
        ports,
        ruleset::{Action, Counts, Exception, Peers, Rule, View},
    },
    model::{Canary, Enforcement, IpBlock, Ports, Selector, Workloads},
};

/// Every port.
pub(super) const EVERY_PORT: &Ports = &Ports::Any;

/// All addresses of a family.
pub(super) fn everybody(family: usize) -> Fact {
    everybody_in([IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())][family])
}

/// All addresses of a network.
pub(super) fn everybody_in(cidr: IpNet) -> Fact {
    Fact::block(&IpBlock {
        cidr,
        except: Vec::new(),
    })
}

/// Every pod.
pub(super) fn any_pod() -> Fact {
    pods_in(Selector::default())
}

/// Pods in these namespaces.
pub(super) fn pods_in(namespaces: Selector) -> Fact {
    Fact::pods(Scope::Selected(namespaces), Selector::default())
}

/// The other side, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// Every address.
    All,
    /// Addresses of which one of the first holds, or one of the second does not.
    Some(BTreeSet<Fact>, BTreeSet<Fact>),
}

/// A rule, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft<'a> {
    pub(super) others: Others,
    pub(super) only: Vec<Others>,
    pub(super) ports: &'a Ports,
    pub(super) except: Vec<(Others, &'a Ports)>,
    pub(super) action: Action,
    /// `Kind/name`.
    pub(super) object: String,
    pub(super) rest: String,
}

impl Others {
    /// Those of whom any of these facts holds.
    pub(super) fn any_of(facts: impl IntoIterator<Item = Fact>) -> Self {
        Self::Some(facts.into_iter().collect(), BTreeSet::new())
    }

    /// Those of whom a fact does not hold.
    pub(super) fn without(fact: Fact) -> Self {
        Self::Some(BTreeSet::new(), [fact].into())
    }

    /// Pods of these workloads.
    pub(super) fn workloads<'a>(of: impl IntoIterator<Item = &'a Workloads>) -> Self {
        Self::any_of(of.into_iter().map(|it| Fact::Pods {
            namespaces: Scope::Selected(it.namespaces.clone()),
            pods: it.pods.clone(),
            accounts: it.accounts.clone(),
        }))
    }

    /// Pods that an audited object is enforced upon.
    fn canary(canary: &Canary) -> Self {
        let namespaces = Scope::Selected(canary.namespaces.clone());
        Self::any_of([Fact::pods(namespaces, canary.pods.clone())])
    }

    fn peers(&self, facts: &mut Facts) -> Peers {
        let mut numbers = |of: &BTreeSet<Fact>| interned(of.iter().cloned(), facts).into();
        match self {
            Self::All => Peers::Everybody,
            Self::Some(having, lacking) if lacking.is_empty() => Peers::AnyOf(numbers(having)),
            Self::Some(having, lacking) => Peers::Unless(numbers(having), numbers(lacking)),
        }
    }
}

/// Whom a verdict counts an object among: everybody if the list is empty; `None`: nobody.
///
/// `is_canary` says if the subject itself is one of those that an audited object is enforced upon.
pub(super) fn only(
    view: View,
    enforcement: Enforcement,
    canary: Option<&Canary>,
    is_canary: bool,
) -> Option<Vec<Others>> {
    match (view, enforcement) {
        (_, Enforcement::Disabled) => None,
        (View::Staged, _) | (View::Live, Enforcement::Enforce) => Some(Vec::new()),
        (View::Live, Enforcement::Audit) if is_canary => Some(Vec::new()),
        (View::Live, Enforcement::Audit) => canary.map(|canary| vec![Others::canary(canary)]),
    }
}

impl Draft<'_> {
    /// The rule.
    pub(super) fn rule(&self, counts: Counts, facts: &mut Facts, names: &mut RuleNames) -> Rule {
        Rule {
            peers: self.others.peers(facts),
            only: self.only.iter().map(|it| it.peers(facts)).collect(),
            ports: Arc::new(ports::set(self.ports)),
            except: self
                .except
                .iter()
                .map(|(others, of)| Exception {
                    peers: others.peers(facts),
                    ports: Arc::new(ports::set(of)),
                })
                .collect(),
            action: self.action,
            name: names.add(&self.object, &self.rest),
            counts,
        }
    }
}
