//! Who is here, and in which zones.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{Evaluator, Stale, Subjects, Touched};
use crate::{
    compile::{
        fact::{Fact, FactId},
        layer::{ByFamily, Layer, family, unresolved},
        ruleset::View,
        world::{GroupId, is_member, own_addresses},
        zones::{Changes, InZones, ZoneNames},
    },
    model::{Diagnostic, Located, Pod, PodKey, Snapshot},
};

/// As many namespaces are named of an overlap.
const SHOWN: usize = 5;

impl Evaluator {
    pub(super) fn take_nodes(&mut self, old: &Snapshot, new: &Snapshot, touched: &mut Touched) {
        let addresses = self.nodes.update(old, new);
        touched.nets.extend(addresses.into_iter().map(IpNet::from));
    }

    /// Takes zones, and what is said of and between them and tenants.
    pub(super) fn take_zones(
        &mut self,
        old: &Snapshot,
        new: &Snapshot,
        touched: &mut Touched,
        stale: &mut Stale,
    ) {
        let Changes {
            workloads,
            nodes,
            nets,
            blocks,
            meaning,
            flipped,
        } = self.zones.update(old, new, &mut self.facts);
        touched.nets.extend(nets);
        touched.blocks.extend(blocks);
        let mut policies = old.zone_policies.differences(&new.zone_policies);
        let policies = policies.next().is_some();
        if policies || !old.zones.keys().eq(new.zones.keys()) {
            self.unresolved = unresolved(new);
        }
        if nodes {
            touched.nets.extend(self.nodes.addresses().map(IpNet::from));
        }
        stale.zone_facts = flipped;
        if workloads || flipped {
            stale.zones.extend(self.world.groups().map(|(id, _)| id));
        }
        if meaning
            || policies
            || old.past != new.past
            || old.tenants.differences(&new.tenants).next().is_some()
        {
            let layer = Layer::new(new, self.zones.differ(), &mut self.facts);
            std::mem::replace(&mut self.layer, layer).release(&mut self.facts);
            self.policies.forget_layer();
            stale.layer = true;
            stale.subjects.extend(self.selected.keys());
        }
    }

    pub(super) fn take_pods(
        &mut self,
        old: &Snapshot,
        new: &Snapshot,
        touched: &mut Touched,
        stale: &mut Stale,
    ) {
        let mut keys: BTreeSet<&PodKey> = old
            .pods
            .differences(&new.pods)
            .map(|it| it.key)
            .chain(old.local.differences(&new.local).map(|it| it.key))
            .collect();
        let moved = self.moved(new, touched);
        keys.extend(&moved);
        for key in keys {
            if let Some(pod) = old.pods.shared(key).filter(|pod| is_member(pod)) {
                let zones = self.by_address.remove(key);
                let left = self.world.leave(pod, old.local.get(key), zones.as_ref());
                if let Some((group, addresses)) = left {
                    touched.nets.extend(addresses.into_iter().map(IpNet::from));
                    stale.left.insert(group);
                    if zones.is_some() {
                        stale.subjects.insert(group);
                    }
                }
            }
            if let Some(pod) = new.pods.shared(key).filter(|pod| is_member(pod)) {
                let located = new.local.get(key);
                let is_subject = self.subjects == Subjects::All || located.is_some();
                let zones = is_subject.then(|| self.zones_of_addresses(pod, located));
                let (group, addresses) = self.world.join(pod, located, zones.as_ref());
                touched.nets.extend(addresses.into_iter().map(IpNet::from));
                if !self.pod_facts.contains_key(&group) {
                    stale.zones.insert(group);
                    stale.facts.insert(group);
                }
                if let Some(zones) = zones {
                    self.by_address.insert(key.clone(), zones);
                    stale.subjects.insert(group);
                }
            }
            if old.local.contains_key(key) || new.local.contains_key(key) {
                touched.pods.insert(key.clone());
            }
        }
    }

    /// Subjects that are in other zones by their addresses without having changed.
    fn moved(&self, new: &Snapshot, touched: &Touched) -> BTreeSet<PodKey> {
        if touched.blocks.is_empty() {
            return BTreeSet::new();
        }
        let moved = self.by_address.iter().filter(|(key, before)| {
            new.pods
                .get(*key)
                .is_some_and(|pod| self.zones_of_addresses(pod, new.local.get(*key)) != **before)
        });
        moved.map(|(key, _)| key.clone()).collect()
    }

    /// Asks groups which zones select them.
    pub(super) fn classify(&mut self, stale: &mut Stale, touched: &mut Touched) {
        for &id in &stale.zones {
            let Some(group) = self.world.group(id) else {
                continue;
            };
            let kind = &group.kind;
            let namespace = self.labels_of(&kind.namespace);
            let zones = self.zones.of_pod(&namespace, &kind.labels, &kind.account);
            let addresses = group.addresses.iter().copied().map(IpNet::from);
            let before = if zones == InZones::default() {
                self.in_zones.remove(&id)
            } else {
                self.in_zones.insert(id, zones)
            };
            let now = self.in_zones.get(&id);
            let moved = before.as_ref() != now;
            if moved || stale.zone_facts {
                touched.nets.extend(addresses);
            }
            if moved {
                stale.subjects.insert(id);
                if now.is_some_and(|now| now.of(View::Staged).len() > 1) {
                    self.overlapping.insert(id);
                } else {
                    self.overlapping.remove(&id);
                }
            }
        }
    }

    /// The zones that select a pod, and those that its address is in; everything in audit enforced.
    pub(in crate::compile) fn zones_of(
        &self,
        pod: &Pod,
        address: IpAddr,
    ) -> (ZoneNames, ZoneNames) {
        let group = self.world.group_of(pod);
        let selected = group.and_then(|group| self.in_zones.get(&group));
        let selected = selected.map(|it| it.of(View::Staged).clone());
        (selected.unwrap_or_default(), self.zones_of_net(address))
    }

    /// The same of a node's address.
    pub(in crate::compile) fn zones_of_node(&self, address: IpAddr) -> (ZoneNames, ZoneNames) {
        let selected = self.zones.of_node(self.nodes.labels(address));
        let selected = selected.of(View::Staged).clone();
        (selected, self.zones_of_net(address))
    }

    fn zones_of_net(&self, address: IpAddr) -> ZoneNames {
        let zones = self.zones.of_net(address.to_canonical().into());
        zones.of(View::Staged).clone()
    }

    /// True for a node's address of which a rule asks anything as such.
    pub(super) fn is_asked_node(&self, address: IpAddr) -> bool {
        let labels = self.nodes.labels(address);
        self.nodes.is_node(address)
            && (self.facts.number(&Fact::Cluster).is_some()
                || self.zones.of_node(labels.clone()) != InZones::default()
                || self
                    .of_nodes
                    .values()
                    .any(|selector| labels.clone().any(|labels| selector.matches(labels))))
    }

    /// Zones that select the same pods.
    pub(super) fn overlaps(&self) -> Vec<Diagnostic> {
        let mut overlaps: BTreeMap<&ZoneNames, (usize, BTreeSet<&str>)> = BTreeMap::new();
        for id in &self.overlapping {
            let (Some(zones), Some(group)) = (self.in_zones.get(id), self.world.group(*id)) else {
                continue;
            };
            let (pods, namespaces) = overlaps.entry(zones.of(View::Staged)).or_default();
            *pods += group.pods;
            namespaces.insert(&group.kind.namespace);
        }
        let all = overlaps.into_iter().flat_map(|(zones, (pods, namespaces))| {
            let names = zones.join(", ");
            let namespaces = namespaces.into_iter().take(SHOWN).collect::<Vec<_>>();
            let message = format!(
                "{pods} pods (in {}) are in several zones, {names}: each one's isolation holds for them, rules that deny match them \
                 by any of these, and rules that allow and exceptions by none; narrow the selectors with NotIn or DoesNotExist",
                namespaces.join(", ")
            );
            zones
                .iter()
                .filter_map(|zone| self.snapshot.zones.get(&**zone))
                .map(|zone| Diagnostic {
                    origin: zone.origin.clone(),
                    object: format!("SecurityZone/{}", zone.name),
                    field: "spec.members".to_owned(),
                    message: message.clone(),
                })
                .collect::<Vec<_>>()
        });
        all.collect()
    }

    /// What holds of an address that no pod has, as a node's.
    pub(super) fn add_facts_of_node(&self, address: IpAddr, facts: &mut Vec<FactId>) {
        if !self.nodes.is_node(address) {
            return;
        }
        facts.extend(self.facts.number(&Fact::Cluster));
        let labels = self.nodes.labels(address);
        let selected = self
            .of_nodes
            .iter()
            .filter(|(_, selector)| labels.clone().any(|labels| selector.matches(labels)));
        facts.extend(selected.map(|(&id, _)| id));
    }

    /// What holds of somebody as a member of zones: for each verdict by what selects the pod or node, else by the
    /// address. Who is one of several pods is in the zones of each.
    pub(super) fn zone_facts(&self, groups: &[GroupId], address: Option<IpAddr>) -> Vec<FactId> {
        if self.zones.is_empty() {
            return Vec::new();
        }
        let by_address = match address {
            Some(address) => self.zones.of_net(address.into()),
            None => InZones::default(),
        };
        let none = InZones::default();
        let of_groups = groups
            .iter()
            .map(|group| self.in_zones.get(group).unwrap_or(&none).or(&by_address));
        let zones = match (of_groups.reduce(|one, other| one.and(&other)), address) {
            (Some(zones), _) => zones,
            (None, Some(address)) => {
                let of_node = self.zones.of_node(self.nodes.labels(address));
                of_node.or(&by_address)
            }
            (None, None) => none,
        };
        self.zones.facts(&zones, &self.facts)
    }

    /// The zones that a pod's addresses are in, by family.
    fn zones_of_addresses(&self, pod: &Pod, located: Option<&Located>) -> ByFamily {
        let mut zones = ByFamily::default();
        for address in own_addresses(pod, located) {
            let of_net = self.zones.of_net(address.into());
            let family = &mut zones[family(address)];
            *family = Some(match family.take() {
                Some(others) => others.and(&of_net),
                None => of_net,
            });
        }
        if zones == ByFamily::default() {
            // It will have some of either family.
            zones = ByFamily::default().map(|_| Some(InZones::default()));
        }
        zones
    }
}
