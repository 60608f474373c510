//! Which policies select whom.

use std::{collections::BTreeSet, sync::Arc};

use super::{Evaluator, Selected, Stale, Touched};
use crate::{
    compile::{
        layer::{ByFamily, Subject},
        policies::{Compiled, DIRECTIONS, Source},
        world::{GroupId, Kind},
        zones::InZones,
    },
    model::{ClusterPolicy, Enforcement, PolicyKey, Snapshot},
};

impl Evaluator {
    pub(super) fn take_policies(&mut self, old: &Snapshot, new: &Snapshot, stale: &mut Stale) {
        for policy in old.policies.differences(&new.policies) {
            self.policies.forget(&Source::Policy(policy.key.clone()));
            let groups = self.world.groups_in(&policy.key.namespace);
            stale.subjects.extend(groups);
        }
        for policy in old.cluster_policies.differences(&new.cluster_policies) {
            self.policies.forget(&Source::Cluster(policy.key.clone()));
            stale.subjects.extend(self.selected.keys());
        }
    }

    /// Gives the subjects of these groups the policies that select them, and their rulesets.
    pub(super) fn select(&mut self, groups: &BTreeSet<GroupId>, touched: &mut Touched) {
        let mut left: BTreeSet<Source> = BTreeSet::new();
        for &id in groups {
            let group = self.world.group(id);
            let standing: Vec<ByFamily> = group
                .map(|group| group.subjects.keys().cloned().collect())
                .unwrap_or_default();
            let kind = group.map(|group| Arc::clone(&group.kind));
            let before = self.selected.remove(&id).unwrap_or_default();
            if let Some(kind) = kind {
                for zones in standing {
                    let now = self.selected_by(id, &kind, &zones);
                    let before = before.get(&zones);
                    if before.map(|it| &it.rulesets) != Some(&now.rulesets) {
                        touched.subjects.insert(kind.namespace.clone());
                    }
                    self.selected.entry(id).or_default().insert(zones, now);
                }
            }
            for selected in before.into_values() {
                for ruleset in selected.rulesets.into_iter().flatten() {
                    self.rulesets.release(ruleset);
                }
                left.extend(selected.policies.iter().map(|policy| policy.source.clone()));
            }
        }
        for source in left {
            self.policies.drop_unused(&source);
        }
        (touched.born, touched.dead) = self.rulesets.settle(&mut self.names);
        self.policies.settle(&mut self.parts);
        self.parts.settle(&mut self.facts, &mut self.names);
    }

    /// What selects subjects of a group, as of now; its rulesets are used once more.
    fn selected_by(&mut self, id: GroupId, kind: &Kind, by_address: &ByFamily) -> Selected {
        let mut policies = Vec::new();
        let namespace = self.labels_of(&kind.namespace);
        let none = InZones::default();
        let selected = self.in_zones.get(&id).unwrap_or(&none);
        let subject = Subject {
            zones: by_address.clone().map(|zones| Some(selected.or(&zones?))),
            namespace: &namespace,
            labels: &kind.labels,
            account: &kind.account,
        };
        if let Some(standing) = self.layer.standing(subject) {
            policies.push(self.policies.get(
                &Source::Layer(standing.clone()),
                &self.layer.towards(&standing),
                &mut self.parts,
                &mut self.facts,
                &mut self.names,
            ));
        }
        let about = |policy: &&ClusterPolicy| {
            policy.enforcement != Enforcement::Disabled
                && policy.namespaces.matches(&namespace)
                && policy.pods.matches(&kind.labels)
        };
        let of_cluster = self.snapshot.cluster_policies.values();
        let mut of_cluster: Vec<&ClusterPolicy> = of_cluster.filter(about).collect();
        of_cluster.sort_by_key(|policy| policy.priority);
        for policy in of_cluster {
            policies.push(self.policies.get(
                &Source::Cluster(policy.name.clone()),
                policy,
                &mut self.parts,
                &mut self.facts,
                &mut self.names,
            ));
        }
        let first = PolicyKey {
            namespace: kind.namespace.clone(),
            name: String::new(),
        };
        let in_namespace = self.snapshot.policies.from_key(&first);
        for (key, policy) in in_namespace.take_while(|(key, _)| key.namespace == kind.namespace) {
            if !policy.subject.matches(&kind.labels) {
                continue;
            }
            policies.push(self.policies.get(
                &Source::Policy(key.clone()),
                &**policy,
                &mut self.parts,
                &mut self.facts,
                &mut self.names,
            ));
        }
        let rulesets = DIRECTIONS.map(|direction| {
            let parts = policies
                .iter()
                .flat_map(|it: &Arc<Compiled>| &it.parts[direction as usize]);
            let (parts, ports) = (parts.copied().collect(), &kind.ports);
            self.rulesets
                .add(parts, direction, ports, &self.parts, &mut self.names)
        });
        Selected { policies, rulesets }
    }
}
