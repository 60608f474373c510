//! Who is in which zone: selected pods, else selected nodes, else the longest network.

mod changes;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ipnet::IpNet;

pub(super) use self::changes::Changes;
use super::{
    blocks::Blocks,
    fact::{Fact, FactId, Facts, canonical, is_of_accounts},
    ruleset::View,
    selectors::SelectorIndex,
};
use crate::model::{
    Enforcement, IpBlock, Labels, Members, Objects, Selector, Snapshot, Workloads, Zone,
};

/// Both verdicts, in the order of [`InZones`].
pub(super) const VIEWS: [View; 2] = [View::Live, View::Staged];

/// Names of zones, ascending.
pub(super) type ZoneNames = Arc<[Arc<str>]>;

/// The zones that somebody is in, as each verdict counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct InZones([ZoneNames; 2]);

impl InZones {
    /// As a verdict counts them.
    pub(super) fn of(&self, view: View) -> &ZoneNames {
        &self.0[view as usize]
    }

    /// These, and where a verdict counts none of them, those.
    pub(super) fn or(&self, other: &Self) -> Self {
        Self(VIEWS.map(|view| {
            let own = self.of(view);
            Arc::clone(if own.is_empty() { other.of(view) } else { own })
        }))
    }

    /// All of both.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self(VIEWS.map(|view| {
            let all: BTreeSet<&Arc<str>> = self.of(view).iter().chain(&**other.of(view)).collect();
            all.into_iter().cloned().collect()
        }))
    }
}

/// Who is in which zone.
#[derive(Debug, Default)]
pub(super) struct Zones {
    by_name: BTreeMap<Arc<str>, usize>,
    entries: HashMap<usize, Entry>,
    /// Workloads by number, found by their namespaces' labels.
    workloads: HashMap<usize, (Workloads, usize)>,
    by_namespace: SelectorIndex,
    networks: Blocks,
    nodes: BTreeMap<usize, Vec<Selector>>,
    next: usize,
    /// Zones that only the staged verdict counts; while there are none, both count the same.
    audited: usize,
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    audited: bool,
    workloads: Vec<(usize, Selector)>,
    blocks: Vec<IpBlock>,
    /// Facts that it keeps.
    facts: Vec<FactId>,
}

impl Zones {
    /// Takes what differs.
    pub(super) fn update(&mut self, old: &Snapshot, new: &Snapshot, facts: &mut Facts) -> Changes {
        let mut changes = Changes::default();
        let is_audited = |zone: &Zone| zone.enforcement == Enforcement::Audit;
        let differed = self.audited > 0;
        let changed: Vec<_> = old.zones.differences(&new.zones).collect();
        if changed.is_empty() {
            return changes;
        }
        for difference in &changed {
            let audited =
                |zone: Option<&Arc<Zone>>| usize::from(zone.is_some_and(|it| is_audited(it)));
            self.audited = self.audited + audited(difference.new) - audited(difference.old);
        }
        if differed != (self.audited > 0) {
            // Every zone's facts are others now.
            self.replace(&old.zones, &new.zones, facts, &mut changes);
            changes.meaning = true;
            changes.flipped = true;
            return changes;
        }
        for difference in changed {
            let (was, is) = (difference.old, difference.new);
            changes.note(was.map(|it| &**it), is.map(|it| &**it));
            if let Some(zone) = was {
                self.remove(&zone.name, facts);
            }
            if let Some(zone) = is {
                self.insert(zone, facts);
            }
        }
        changes
    }

    /// True if nobody is in any.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True if the verdicts count different zones.
    pub(super) const fn differ(&self) -> bool {
        self.audited > 0
    }

    /// True if a zone names this network.
    pub(super) fn names(&self, net: &IpNet) -> bool {
        self.networks.names(net)
    }

    /// The zones whose workloads a pod is of.
    pub(super) fn of_pod(&self, namespace: &Labels, labels: &Labels, account: &str) -> InZones {
        let candidates = self.by_namespace.candidates(namespace);
        let found = candidates.filter_map(|number| {
            let (workloads, zone) = self.workloads.get(&number)?;
            is_one_of(workloads, namespace, labels, account).then_some(*zone)
        });
        self.named(found.collect())
    }

    /// The zones whose nodes have one of these labels.
    pub(super) fn of_node<'a>(&self, labels: impl Iterator<Item = &'a Labels> + Clone) -> InZones {
        let selected = self.nodes.iter().filter(|(_, selectors)| {
            labels
                .clone()
                .any(|labels| selectors.iter().any(|it| it.matches(labels)))
        });
        self.named(selected.map(|(&zone, _)| zone).collect())
    }

    /// The zones whose networks an address or network is in.
    pub(super) fn of_net(&self, net: IpNet) -> InZones {
        InZones(VIEWS.map(|view| {
            let counts = |zone: usize| self.counts(zone, view);
            self.names_of(self.networks.longest(net, counts).into_iter())
        }))
    }

    /// What is true of somebody in these zones, as far as verdicts count them.
    pub(super) fn facts(&self, zones: &InZones, facts: &Facts) -> Vec<FactId> {
        let mut found = Vec::new();
        let views: &[View] = if self.differ() { &VIEWS } else { &[View::Live] };
        for &view in views {
            let names = zones.of(view);
            if names.is_empty() {
                continue;
            }
            found.extend(facts.number(&Fact::Zoned(view)));
            for name in &**names {
                found.extend(facts.number(&member(name, view, false)));
                if names.len() == 1 {
                    found.extend(facts.number(&member(name, view, true)));
                }
            }
        }
        found
    }

    fn named(&self, zones: BTreeSet<usize>) -> InZones {
        if zones.is_empty() {
            return InZones::default();
        }
        InZones(VIEWS.map(|view| {
            let counting = zones.iter().copied().filter(|&it| self.counts(it, view));
            self.names_of(counting)
        }))
    }

    fn names_of(&self, zones: impl Iterator<Item = usize>) -> ZoneNames {
        let names: BTreeSet<&Arc<str>> = zones
            .filter_map(|zone| self.entries.get(&zone))
            .map(|entry| &entry.name)
            .collect();
        names.into_iter().cloned().collect()
    }

    fn counts(&self, zone: usize, view: View) -> bool {
        let entry = self.entries.get(&zone);
        entry.is_some_and(|entry| view == View::Staged || !entry.audited)
    }

    fn replace(
        &mut self,
        old: &Objects<String, Zone>,
        new: &Objects<String, Zone>,
        facts: &mut Facts,
        changes: &mut Changes,
    ) {
        for zone in old.values() {
            changes.note(Some(zone), None);
            self.remove(&zone.name, facts);
        }
        for zone in new.values() {
            changes.note(None, Some(zone));
            self.insert(zone, facts);
        }
    }

    fn insert(&mut self, zone: &Zone, facts: &mut Facts) {
        if zone.enforcement == Enforcement::Disabled {
            return;
        }
        let id = self.number();
        let name: Arc<str> = zone.name.as_str().into();
        let mut entry = Entry {
            name: Arc::clone(&name),
            audited: zone.enforcement == Enforcement::Audit,
            workloads: Vec::new(),
            blocks: blocks(zone),
            facts: Vec::new(),
        };
        for members in &zone.members {
            match members {
                Members::Workloads(workloads) => {
                    let number = self.number();
                    self.by_namespace.insert(&workloads.namespaces, number);
                    entry.workloads.push((number, workloads.namespaces.clone()));
                    self.workloads.insert(number, (workloads.clone(), id));
                }
                Members::Nodes(selector) => {
                    self.nodes.entry(id).or_default().push(selector.clone());
                }
                Members::Networks { .. } => {}
            }
        }
        for block in &entry.blocks {
            self.networks.insert(id, block);
        }
        for view in VIEWS {
            if view == View::Live && entry.audited || view == View::Staged && !self.differ() {
                continue;
            }
            for alone in [false, true] {
                entry.facts.push(facts.intern(member(&name, view, alone)));
            }
            entry.facts.push(facts.intern(Fact::Zoned(view)));
        }
        self.by_name.insert(name, id);
        self.entries.insert(id, entry);
    }

    fn remove(&mut self, name: &str, facts: &mut Facts) {
        let Some(id) = self.by_name.remove(name) else {
            return;
        };
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        for (number, namespaces) in entry.workloads {
            self.by_namespace.remove(&namespaces, number);
            self.workloads.remove(&number);
        }
        for block in &entry.blocks {
            self.networks.remove(id, block);
        }
        self.nodes.remove(&id);
        entry.facts.into_iter().for_each(|it| facts.release(it));
    }

    const fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }
}

/// True if these workloads are about such pods.
pub(super) fn is_one_of(
    workloads: &Workloads,
    namespace: &Labels,
    labels: &Labels,
    account: &str,
) -> bool {
    workloads.namespaces.matches(namespace)
        && workloads.pods.matches(labels)
        && is_of_accounts(account, &workloads.accounts)
}

/// That an address is in a zone.
pub(super) fn member(name: &str, view: View, alone: bool) -> Fact {
    Fact::Zone {
        name: name.to_owned(),
        view,
        alone,
    }
}

/// The networks of a zone, in canonical form.
fn blocks(zone: &Zone) -> Vec<IpBlock> {
    let networks = zone.members.iter().filter_map(|members| match members {
        Members::Networks { cidrs, except } => Some((cidrs, except)),
        Members::Workloads(_) | Members::Nodes(_) => None,
    });
    let blocks = networks.flat_map(|(cidrs, except)| {
        cidrs.iter().map(|&cidr| {
            canonical(&IpBlock {
                cidr,
                except: except.clone(),
            })
        })
    });
    blocks.collect()
}
