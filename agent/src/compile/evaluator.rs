//! The ruleset of a subject and the facts of an address, kept up to date.
//!
//! [`Evaluator::update`] takes a newer snapshot and does what differs from the one before: pods that came, changed or
//! went; namespaces that have other labels; policies. A fresh evaluator has seen the empty snapshot, so there is no
//! second way to the same state.

mod facts;
mod select;

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use ringfence_common::Direction;

use super::{
    blocks::Blocks,
    counted::{Counted, Settled},
    fact::{Fact, FactId, Facts},
    netpol::RuleNames,
    peers::PeerIndex,
    policies::{CompiledPolicy, Policies, RulesetId, Rulesets},
    world::{GroupId, World, is_member},
};
use crate::model::{Diagnostic, Located, Pod, PodKey, Protocol, Snapshot};

/// Whose rulesets are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Subjects {
    /// The pods of this node.
    #[default]
    Local,
    /// All pods.
    All,
}

/// A snapshot, prepared for judging.
#[derive(Debug, Default)]
pub(super) struct Evaluator {
    subjects: Subjects,
    snapshot: Snapshot,
    /// Who is who.
    pub(super) world: World,
    /// What the rulesets ask about peers.
    pub(super) facts: Facts,
    /// Names of the rules.
    pub(super) names: RuleNames,
    /// What the subjects' policies say.
    pub(super) rulesets: Rulesets,
    policies: Policies,
    selected: HashMap<GroupId, Selected>,
    pod_facts: HashMap<GroupId, Vec<FactId>>,
    /// Names of ports that rules for what goes out ask for.
    asked_ports: Counted<(Protocol, String)>,
    peers: PeerIndex,
    blocks: Blocks,
    /// [`Fact::Pod`], which holds of every group.
    pod: FactId,
}

/// What a group of subjects has.
#[derive(Debug, Default)]
struct Selected {
    policies: Vec<Arc<CompiledPolicy>>,
    rulesets: [Option<RulesetId>; 2],
}

/// What an update may have changed for those behind the evaluator.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Addresses and networks of which something else may hold, or that came or went.
    pub(super) nets: BTreeSet<IpNet>,
    /// The same of everything in these networks.
    pub(super) blocks: Vec<IpNet>,
    /// Pods that came, changed or went.
    pub(super) pods: BTreeSet<PodKey>,
    /// Subjects have other rulesets.
    pub(super) subjects: bool,
    /// Rulesets that are new.
    pub(super) born: Vec<RulesetId>,
    /// Rulesets that are gone.
    pub(super) dead: Vec<RulesetId>,
    /// Names that stand for other ports than before.
    pub(super) names: BTreeSet<(Protocol, String)>,
}

/// What is to be looked at again.
#[derive(Default)]
struct Stale {
    /// Groups that are to be asked for their facts.
    facts: BTreeSet<GroupId>,
    /// Groups that are to be asked for their policies.
    subjects: BTreeSet<GroupId>,
    /// Groups that may have no pods any more.
    left: BTreeSet<GroupId>,
}

impl Evaluator {
    /// One that has seen nothing yet.
    pub(super) fn new(subjects: Subjects) -> Self {
        let mut facts = Facts::default();
        let pod = facts.intern(Fact::Pod);
        Self {
            subjects,
            facts,
            pod,
            ..Self::default()
        }
    }

    /// The snapshot that it has seen last.
    pub(super) const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Takes a newer snapshot.
    pub(super) fn update(&mut self, snapshot: &Snapshot) -> Touched {
        let old = std::mem::replace(&mut self.snapshot, snapshot.clone());
        let mut touched = Touched::default();
        let mut stale = Stale::default();
        self.take_pods(&old, snapshot, &mut touched, &mut stale);
        for namespace in old.namespaces.differences(&snapshot.namespaces) {
            stale.facts.extend(self.world.groups_in(namespace.key));
        }
        self.take_policies(&old, snapshot, &mut stale);
        self.select(&stale.subjects, &mut touched);
        self.settle_facts(&mut stale, &mut touched);
        for &group in &stale.facts {
            self.ask(group, &mut touched);
        }
        for group in stale.left {
            if self.world.group(group).is_some_and(|it| it.pods == 0) {
                self.forget(group);
            }
        }
        // Only ports of pods are left to settle.
        let Settled { born, dead } = self.facts.settle();
        let born = born.iter().filter_map(|&id| self.facts.get(id));
        for fact in born.chain(dead.iter().map(|(_, fact)| &**fact)) {
            if let Fact::Port { protocol, name, .. } = fact {
                touched.names.insert((*protocol, name.clone()));
            }
        }
        touched
    }

    /// The ruleset of a subject in a direction; `None` if no policy is about it.
    pub(super) fn ruleset_index(&self, pod: &Pod, direction: Direction) -> Option<RulesetId> {
        if !is_member(pod) {
            return None;
        }
        let group = self.world.group_of(pod)?;
        self.selected.get(&group)?.rulesets[direction as usize]
    }

    /// What holds of a pod's address, or of a pod that has none (yet): sorted.
    pub(super) fn facts_of_pod(&self, pod: &Pod, address: Option<IpAddr>) -> Vec<FactId> {
        let group = self.world.group_of(pod).filter(|_| is_member(pod));
        self.facts_of_group(group, address)
    }

    /// What holds of an address, whoever's it is: sorted.
    pub(super) fn facts_of_address(&self, address: IpAddr) -> Vec<FactId> {
        let owner = self.world.owner(address);
        self.facts_of_group(owner.map(|owner| owner.group), Some(address))
    }

    /// What holds of an address or network: sorted; `None` if it is no pod's and no rule names it.
    pub(super) fn facts_of_net(&self, net: IpNet) -> Option<Vec<FactId>> {
        if net.prefix_len() == net.max_prefix_len() {
            let listed = self.world.is_claimed(net.addr()) || self.blocks.names(&net);
            return listed.then(|| self.facts_of_address(net.addr()));
        }
        self.blocks.names(&net).then(|| self.blocks.holding(net))
    }

    /// What is wrong with single objects, sorted.
    pub(super) fn diagnostics(&self) -> Vec<Diagnostic> {
        let policies = self.policies.diagnostics().cloned();
        let all: BTreeSet<Diagnostic> = policies.chain(self.world.diagnostics()).collect();
        all.into_iter().collect()
    }

    fn facts_of_group(&self, group: Option<GroupId>, address: Option<IpAddr>) -> Vec<FactId> {
        let blocks = address.map(|address| self.blocks.holding(address.into()));
        let mut facts = blocks.unwrap_or_default();
        if let Some(of_group) = group.and_then(|group| self.pod_facts.get(&group)) {
            facts.extend_from_slice(of_group);
            facts.sort_unstable();
        }
        facts
    }

    fn is_subject(&self, located: Option<&Located>) -> bool {
        self.subjects == Subjects::All || located.is_some()
    }

    fn take_pods(
        &mut self,
        old: &Snapshot,
        new: &Snapshot,
        touched: &mut Touched,
        stale: &mut Stale,
    ) {
        let keys: BTreeSet<&PodKey> = old
            .pods
            .differences(&new.pods)
            .map(|it| it.key)
            .chain(old.local.differences(&new.local).map(|it| it.key))
            .collect();
        for key in keys {
            let gone = old.pods.shared(key).filter(|pod| is_member(pod));
            if let Some(pod) = gone {
                let located = old.local.get(key);
                let was_subject = self.is_subject(located);
                if let Some((group, addresses)) = self.world.leave(pod, located, was_subject) {
                    touched.nets.extend(addresses.into_iter().map(IpNet::from));
                    stale.left.insert(group);
                    if was_subject {
                        stale.subjects.insert(group);
                    }
                }
            }
            let come = new.pods.shared(key).filter(|pod| is_member(pod));
            if let Some(pod) = come {
                let located = new.local.get(key);
                let is_subject = self.is_subject(located);
                let (group, addresses) = self.world.join(pod, located, is_subject);
                touched.nets.extend(addresses.into_iter().map(IpNet::from));
                if !self.pod_facts.contains_key(&group) {
                    stale.facts.insert(group);
                }
                if is_subject {
                    stale.subjects.insert(group);
                }
            }
            if old.local.contains_key(key) || new.local.contains_key(key) {
                touched.pods.insert(key.clone());
            }
        }
    }
}
