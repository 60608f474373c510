//! Which policies select whom.

use std::{collections::BTreeSet, sync::Arc};

use ringfence_common::Direction;

use super::{Evaluator, Selected, Stale, Touched};
use crate::{
    compile::{policies::DIRECTIONS, world::GroupId},
    model::{PolicyKey, Snapshot},
};

impl Evaluator {
    pub(super) fn take_policies(&mut self, old: &Snapshot, new: &Snapshot, stale: &mut Stale) {
        for policy in old.policies.differences(&new.policies) {
            self.policies.forget(policy.key);
            let groups = self.world.groups_in(&policy.key.namespace);
            stale.subjects.extend(groups.filter(|&group| {
                self.world.group(group).is_some_and(|it| it.subjects > 0)
                    || self.selected.contains_key(&group)
            }));
        }
    }

    /// Gives these groups the policies that select them, and their rulesets.
    pub(super) fn select(&mut self, groups: &BTreeSet<GroupId>, touched: &mut Touched) {
        let mut left: BTreeSet<PolicyKey> = BTreeSet::new();
        for &id in groups {
            let now = self.selected_by(id);
            let is_subject = self.world.group(id).is_some_and(|group| group.subjects > 0);
            let before = self.selected.remove(&id).unwrap_or_default();
            if now.rulesets != before.rulesets {
                touched.subjects = true;
            }
            for ruleset in before.rulesets.into_iter().flatten() {
                self.rulesets.release(ruleset);
            }
            left.extend(before.policies.iter().map(|policy| policy.key.clone()));
            if is_subject {
                self.selected.insert(id, now);
            }
        }
        for key in left {
            self.policies.drop_unused(&key);
        }
        for policy in self.policies.settle() {
            for direction in DIRECTIONS {
                let Some(rules) = policy.rules(direction) else {
                    continue;
                };
                rules.release(&mut self.facts, &mut self.names);
                if direction == Direction::Egress {
                    for name in rules.named_ports() {
                        if let Some(number) = self.asked_ports.number(name) {
                            self.asked_ports.release(number);
                        }
                    }
                }
            }
        }
        (touched.born, touched.dead) = self.rulesets.settle(&mut self.names);
    }

    /// What selects a group, as of now; its rulesets are used once more.
    fn selected_by(&mut self, id: GroupId) -> Selected {
        let Some(group) = self.world.group(id).filter(|group| group.subjects > 0) else {
            return Selected::default();
        };
        let kind = Arc::clone(&group.kind);
        let first = PolicyKey {
            namespace: kind.namespace.clone(),
            name: String::new(),
        };
        let mut policies = Vec::new();
        let in_namespace = self.snapshot.policies.from_key(&first);
        for (key, policy) in in_namespace.take_while(|(key, _)| key.namespace == kind.namespace) {
            if !policy.subject.matches(&kind.labels) {
                continue;
            }
            let (compiled, new) = self
                .policies
                .get(key, policy, &mut self.facts, &mut self.names);
            if new && let Some(rules) = compiled.rules(Direction::Egress) {
                for name in rules.named_ports() {
                    self.asked_ports.add(name.clone());
                }
            }
            policies.push(compiled);
        }
        let rulesets = DIRECTIONS.map(|direction| {
            self.rulesets
                .add(&policies, direction, &kind.ports, &mut self.names)
        });
        Selected { policies, rulesets }
    }
}
