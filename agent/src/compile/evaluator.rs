//! The ruleset of a subject and the facts of an address.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use ipnet::IpNet;
use ringfence_common::Direction;

use super::{
    blocks::Blocks,
    fact::{Fact, FactId, Facts, Scope, bare_namespace},
    netpol::{self, PolicyRules, ResolvedPorts, RuleNames},
    ruleset::Ruleset,
    selectors::SelectorIndex,
    world::{Group, GroupId, Owner, World},
};
use crate::model::{Diagnostic, Labels, PodKey, Policy, PolicyKey, Protocol, Selector, Snapshot};

/// Both directions, in the order of their numbers.
const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// Whose rulesets are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subjects {
    /// The pods of this node.
    Local,
    /// All pods.
    All,
}

/// Index into [`Evaluator::rulesets`].
pub(super) type RulesetId = usize;

/// A snapshot, prepared for judging.
#[derive(Debug)]
pub(super) struct Evaluator<'a> {
    /// Who is who.
    pub(super) world: World<'a>,
    /// What the rulesets ask about peers.
    pub(super) facts: Facts,
    /// Names of the rules.
    pub(super) names: RuleNames,
    /// Rulesets, each once; the number of policies and of named ports decides what is one.
    pub(super) rulesets: Vec<Ruleset>,
    by_subject: HashMap<GroupId, [Option<RulesetId>; 2]>,
    pod_facts: Vec<Vec<FactId>>,
    blocks: Blocks,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Evaluator<'a> {
    /// Prepares a snapshot.
    pub(super) fn new(snapshot: &'a Snapshot, subjects: Subjects) -> Self {
        let mut diagnostics = Vec::new();
        let world = World::new(snapshot, &mut diagnostics);
        let subjects: BTreeSet<GroupId> = world
            .members
            .iter()
            .filter(|(key, _)| subjects == Subjects::All || snapshot.local.contains_key(**key))
            .map(|(_, &group)| group)
            .collect();
        let mut facts = Facts::default();
        let mut names = RuleNames::default();
        let selected = select(snapshot, &world, &subjects);
        let policies = compile_policies(&selected, &mut facts, &mut names, &mut diagnostics);
        let mut rulesets = Vec::new();
        let by_subject = assign(&selected, &policies, &world, &mut rulesets, &mut names);
        let pod_facts = pod_facts(snapshot, &world, &policies, &mut facts);
        let blocks = Blocks::new(&facts);
        Self {
            world,
            facts,
            names,
            rulesets,
            by_subject,
            pod_facts,
            blocks,
            diagnostics,
        }
    }

    /// The ruleset of a subject in a direction; `None` if no policy is about it.
    pub(super) fn ruleset_index(&self, key: &PodKey, direction: Direction) -> Option<RulesetId> {
        let group = self.world.members.get(key)?;
        self.by_subject.get(group)?[direction as usize]
    }

    /// What holds of a pod's address, or of a pod that has none (yet): sorted.
    pub(super) fn facts_of_pod(&self, key: &PodKey, address: Option<IpAddr>) -> Vec<FactId> {
        let mut facts = address.map_or_else(Vec::new, |address| self.facts_of_net(address.into()));
        if let Some(&group) = self.world.members.get(key) {
            facts.extend_from_slice(&self.pod_facts[group]);
            facts.sort_unstable();
        }
        facts
    }

    /// What holds of an address, whoever's it is: sorted.
    pub(super) fn facts_of_address(&self, address: IpAddr) -> Vec<FactId> {
        match self.world.owners.get(&address) {
            Some(Owner::Pod(key)) => self.facts_of_pod(key, Some(address)),
            Some(Owner::Disputed) | None => self.facts_of_net(address.into()),
        }
    }

    /// What holds of an address that is no pod's and whose longest known network is this: sorted.
    pub(super) fn facts_of_net(&self, net: IpNet) -> Vec<FactId> {
        self.blocks.holding(net)
    }

    /// Every network that a rule names, exceptions included.
    pub(super) fn networks(&self) -> BTreeSet<IpNet> {
        let mut networks = BTreeSet::new();
        for (_, fact) in self.facts.iter() {
            if let Fact::Block(block) = fact {
                networks.insert(block.cidr);
                networks.extend(&block.except);
            }
        }
        networks
    }

    /// What is wrong with single objects, sorted.
    pub(super) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.diagnostics.sort();
        self.diagnostics.dedup();
        self.diagnostics
    }
}

/// Policies that are about any subject, and by which they are selected.
struct Selected<'a> {
    policies: Vec<(&'a PolicyKey, &'a Policy)>,
    /// Indices into `policies`, ascending.
    by_group: BTreeMap<GroupId, Vec<usize>>,
}

fn select<'a>(
    snapshot: &'a Snapshot,
    world: &World<'a>,
    subjects: &BTreeSet<GroupId>,
) -> Selected<'a> {
    let all: Vec<(&PolicyKey, &Policy)> = snapshot.policies.iter().collect();
    let mut by_namespace: HashMap<&str, SelectorIndex<'_>> = HashMap::new();
    for (index, (key, policy)) in all.iter().enumerate() {
        by_namespace
            .entry(&key.namespace)
            .or_default()
            .insert(&policy.subject, index);
    }
    let mut by_group: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
    for &group in subjects {
        let Group {
            namespace, labels, ..
        } = world.groups[group];
        if let Some(index) = by_namespace.get(namespace) {
            by_group.insert(group, index.matching(labels));
        }
    }
    // Only what selects somebody is compiled, so that nothing else appears in any signature.
    let used: BTreeSet<usize> = by_group.values().flatten().copied().collect();
    let renumbered: HashMap<usize, usize> = used
        .iter()
        .enumerate()
        .map(|(new, &old)| (old, new))
        .collect();
    for indices in by_group.values_mut() {
        for index in indices {
            *index = renumbered[index];
        }
    }
    Selected {
        policies: used.into_iter().map(|index| all[index]).collect(),
        by_group,
    }
}

type Compiled = Vec<[Option<PolicyRules>; 2]>;

fn compile_policies(
    selected: &Selected<'_>,
    facts: &mut Facts,
    names: &mut RuleNames,
    diagnostics: &mut Vec<Diagnostic>,
) -> Compiled {
    selected
        .policies
        .iter()
        .map(|&(key, policy)| {
            DIRECTIONS.map(|direction| {
                PolicyRules::new(key, policy, direction, facts, names, diagnostics)
            })
        })
        .collect()
}

/// Gives every subject its rulesets; subjects with the same policies and the same named ports share them.
fn assign(
    selected: &Selected<'_>,
    policies: &Compiled,
    world: &World<'_>,
    rulesets: &mut Vec<Ruleset>,
    names: &mut RuleNames,
) -> HashMap<GroupId, [Option<RulesetId>; 2]> {
    let mut known: HashMap<(usize, Vec<usize>, ResolvedPorts), RulesetId> = HashMap::new();
    let mut by_subject = HashMap::new();
    for (&group, indices) in &selected.by_group {
        let ids = DIRECTIONS.map(|direction| {
            let about: Vec<usize> = indices
                .iter()
                .copied()
                .filter(|&index| policies[index][direction as usize].is_some())
                .collect();
            let rules: Vec<&PolicyRules> = about
                .iter()
                .filter_map(|&index| policies[index][direction as usize].as_ref())
                .collect();
            if rules.is_empty() {
                return None;
            }
            let own = match direction {
                Direction::Ingress => {
                    let asked = rules.iter().flat_map(|policy| policy.named_ports());
                    netpol::resolve(asked, world.groups[group].ports)
                }
                Direction::Egress => ResolvedPorts::new(),
            };
            let id = *known
                .entry((direction as usize, about, own))
                .or_insert_with_key(|(_, _, own)| {
                    rulesets.push(netpol::ruleset(&rules, direction, own, names));
                    rulesets.len() - 1
                });
            Some(id)
        });
        by_subject.insert(group, ids);
    }
    by_subject
}

/// What holds of each group's pods, whatever their address.
fn pod_facts(
    snapshot: &Snapshot,
    world: &World<'_>,
    policies: &Compiled,
    facts: &mut Facts,
) -> Vec<Vec<FactId>> {
    let asked_ports: BTreeSet<(Protocol, String)> = policies
        .iter()
        .filter_map(|directions| directions[Direction::Egress as usize].as_ref())
        .flat_map(|policy| policy.named_ports().cloned())
        .collect();
    let mut of_groups: Vec<Vec<FactId>> = vec![Vec::new(); world.groups.len()];
    let mut by_namespace: BTreeMap<&str, Vec<GroupId>> = BTreeMap::new();
    for (id, group) in world.groups.iter().enumerate() {
        by_namespace.entry(group.namespace).or_default().push(id);
    }
    {
        let scopes = Scopes::new(facts);
        for (namespace, groups) in by_namespace {
            let bare;
            let labels = match snapshot.namespaces.get(namespace) {
                Some(namespace) => &namespace.labels,
                None => {
                    bare = bare_namespace(namespace);
                    &bare
                }
            };
            let index = scopes.within(namespace, labels);
            for group in groups {
                of_groups[group] = index.matching(world.groups[group].labels);
            }
        }
    }
    let pod = facts.intern(Fact::Pod);
    for of_group in &mut of_groups {
        of_group.push(pod);
        of_group.sort_unstable();
    }
    if !asked_ports.is_empty() {
        for (of_group, group) in of_groups.iter_mut().zip(&world.groups) {
            for (protocol, name, number) in netpol::resolve(asked_ports.iter(), group.ports) {
                of_group.push(facts.intern(Fact::Port {
                    protocol,
                    name,
                    number,
                }));
            }
            of_group.sort_unstable();
        }
    }
    of_groups
}

/// Facts about pods, by the namespaces that they are about.
struct Scopes<'a> {
    named: HashMap<&'a str, Vec<(&'a Selector, FactId)>>,
    selected: HashMap<&'a Selector, Vec<(&'a Selector, FactId)>>,
}

impl<'a> Scopes<'a> {
    fn new(facts: &'a Facts) -> Self {
        let mut scopes = Self {
            named: HashMap::new(),
            selected: HashMap::new(),
        };
        for (id, fact) in facts.iter() {
            let Fact::Pods { namespaces, pods } = fact else {
                continue;
            };
            match namespaces {
                Scope::Named(name) => scopes.named.entry(name).or_default().push((pods, id)),
                Scope::Selected(selector) => {
                    scopes
                        .selected
                        .entry(selector)
                        .or_default()
                        .push((pods, id));
                }
            }
        }
        scopes
    }

    /// The selectors of pods that count in a namespace.
    fn within(&self, namespace: &str, labels: &Labels) -> SelectorIndex<'a> {
        let mut index = SelectorIndex::default();
        let named = self.named.get(namespace).into_iter();
        let selected = self
            .selected
            .iter()
            .filter(|(it, _)| it.matches(labels))
            .map(|(_, pods)| pods);
        for &(pods, id) in named.chain(selected).flatten() {
            index.insert(pods, id);
        }
        index
    }
}
