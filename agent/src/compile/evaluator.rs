//! The ruleset of a subject and the facts of an address, kept up to date.
//!
//! [`Evaluator::update`] takes a newer snapshot and does what differs from the one before: pods that came, changed or
//! went; namespaces that have other labels; zones, nodes, policies. A fresh evaluator has seen the empty snapshot, so
//! there is no second way to the same state.

mod facts;
mod members;
mod node;
mod select;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use ringfence_common::Direction;

use super::{
    blocks::Blocks,
    counted::Settled,
    fact::{Fact, FactId, Facts},
    layer::{ByFamily, Layer},
    names::RuleNames,
    nodes::Nodes,
    part::Parts,
    peers::PeerIndex,
    policies::{Compiled, Policies},
    rulesets::{RulesetId, Rulesets},
    world::{GroupId, World, is_member},
    zones::{InZones, Zones},
};
use crate::model::{Diagnostic, Host, NamedPods, Pod, PodKey, Protocol, Selector, Snapshot};

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
    nodes: Nodes,
    zones: Zones,
    /// The zones that groups are selected into.
    in_zones: HashMap<GroupId, InZones>,
    /// Those of them that several zones select.
    overlapping: BTreeSet<GroupId>,
    /// The zones that the addresses of subjects are in.
    by_address: BTreeMap<PodKey, ByFamily>,
    /// What the rulesets ask about peers.
    pub(super) facts: Facts,
    /// Names of the rules.
    pub(super) names: RuleNames,
    /// What the subjects' policies say.
    pub(super) rulesets: Rulesets,
    layer: Layer,
    /// Names in zone policies that are nobody's.
    unresolved: Vec<Diagnostic>,
    policies: Policies,
    parts: Parts,
    selected: HashMap<GroupId, BTreeMap<ByFamily, Selected>>,
    /// How the node itself is judged, if it is.
    host: Option<Host>,
    /// What it has as a subject, and the zones that it has it by.
    of_host: Option<(ByFamily, Selected)>,
    pod_facts: HashMap<GroupId, Vec<FactId>>,
    /// Facts about nodes.
    of_nodes: BTreeMap<FactId, Selector>,
    peers: PeerIndex,
    blocks: Blocks,
    /// [`Fact::Pod`], which holds of every group.
    pod: FactId,
    /// [`Fact::Encapsulates`].
    encapsulates: FactId,
}

/// What subjects have that are alike to all rules.
#[derive(Debug, Default)]
struct Selected {
    policies: Vec<Arc<Compiled>>,
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
    /// Namespaces with subjects that have other rulesets.
    pub(super) subjects: BTreeSet<String>,
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
    /// Groups that are to be asked which zones select them.
    zones: BTreeSet<GroupId>,
    /// What holds of the members of the same zones is something else.
    zone_facts: bool,
    /// What zones say is something else.
    layer: bool,
    /// Groups that are to be asked for their facts.
    facts: BTreeSet<GroupId>,
    /// Groups that are to be asked for their policies.
    subjects: BTreeSet<GroupId>,
    /// Groups that may have no pods any more.
    left: BTreeSet<GroupId>,
}

impl Evaluator {
    /// One that has seen nothing yet. With `host` the node itself is a subject, too.
    pub(super) fn new(subjects: Subjects, host: Option<Host>) -> Self {
        let mut facts = Facts::default();
        let pod = facts.intern(Fact::Pod);
        let encapsulates = facts.intern(Fact::Encapsulates);
        Self {
            subjects,
            host,
            facts,
            pod,
            encapsulates,
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
        self.take_nodes(&old, snapshot, &mut touched);
        self.take_zones(&old, snapshot, &mut touched, &mut stale);
        self.take_pods(&old, snapshot, &mut touched, &mut stale);
        for namespace in old.namespaces.differences(&snapshot.namespaces) {
            for group in self.world.groups_in(namespace.key) {
                stale.zones.insert(group);
                stale.facts.insert(group);
                stale.subjects.insert(group);
            }
        }
        if lets_encapsulate(&old) != lets_encapsulate(snapshot) {
            stale.facts.extend(self.world.groups().map(|(id, _)| id));
        }
        self.classify(&mut stale, &mut touched);
        self.take_policies(&old, snapshot, &mut stale);
        self.select_host(stale.layer);
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
        let Settled { born, dead, .. } = self.facts.settle();
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
        let by_address = self.by_address.get(&pod.key)?;
        let selected = self.selected.get(&group)?.get(by_address)?;
        selected.rulesets[direction as usize]
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

    /// What holds of an address or network: sorted; `None` if it is no pod's, no rule names it and it is no node's of
    /// which a rule asks anything.
    pub(super) fn facts_of_net(&self, net: IpNet) -> Option<Vec<FactId>> {
        let named = self.blocks.names(&net) || self.zones.names(&net);
        if net.prefix_len() == net.max_prefix_len() {
            let address = net.addr();
            let listed = named || self.world.is_claimed(address) || self.is_asked_node(address);
            return listed.then(|| self.facts_of_address(address));
        }
        named.then(|| {
            let mut facts = self.blocks.holding(net);
            facts.extend(self.zones.facts(&self.zones.of_net(net), &self.facts));
            facts.sort_unstable();
            facts
        })
    }

    /// What is wrong with single objects, sorted.
    pub(super) fn diagnostics(&self) -> Vec<Diagnostic> {
        let policies = self.policies.diagnostics().chain(&self.unresolved);
        let overlaps = self.overlaps();
        let all: BTreeSet<Diagnostic> = policies
            .cloned()
            .chain(self.world.diagnostics())
            .chain(overlaps)
            .collect();
        all.into_iter().collect()
    }

    fn facts_of_group(&self, group: Option<GroupId>, address: Option<IpAddr>) -> Vec<FactId> {
        let groups: Vec<GroupId> = match (group, address) {
            (Some(group), _) => vec![group],
            (None, Some(address)) => self.world.claimants(address).collect(),
            (None, None) => Vec::new(),
        };
        // Of an address that several pods claim holds what holds of all of them.
        let mut groups_facts = groups.iter().filter_map(|group| self.pod_facts.get(group));
        let mut facts = groups_facts.next().cloned().unwrap_or_default();
        for others in groups_facts {
            facts.retain(|fact| others.binary_search(fact).is_ok());
        }
        if group.is_none() {
            facts.retain(|&fact| fact != self.pod && fact != self.encapsulates);
        }
        if let Some(address) = address {
            facts.extend(self.blocks.holding(address.into()));
            if groups.is_empty() {
                self.add_facts_of_node(address, &mut facts);
            }
        }
        facts.extend(self.zone_facts(&groups, address));
        facts.sort_unstable();
        facts
    }
}

/// Whom a snapshot's firewall lets send encapsulated packets to nodes.
fn lets_encapsulate(snapshot: &Snapshot) -> Option<&[NamedPods]> {
    let firewall = snapshot.firewalls.values().next();
    firewall.map(|firewall| &*firewall.encapsulating)
}
