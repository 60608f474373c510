//! Policies that are about somebody, compiled; and the rulesets that their subjects get.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ringfence_common::Direction;

use super::{
    fact::Facts,
    netpol::{self, PolicyRules, ResolvedPorts, RuleNames},
    ruleset::Ruleset,
};
use crate::model::{ContainerPort, Diagnostic, Policy, PolicyKey};

/// Both directions, in the order of their numbers.
pub(super) const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// Number of a ruleset; none is given out twice.
pub(super) type RulesetId = usize;

/// A policy, compiled.
#[derive(Debug)]
pub(super) struct CompiledPolicy {
    /// Its key.
    pub(super) key: PolicyKey,
    /// The rules of each direction, if it isolates it, with a number: equal numbers are equal rules.
    parts: [Option<(usize, PolicyRules)>; 2],
    /// What is wrong with it.
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl CompiledPolicy {
    /// The rules of a direction.
    pub(super) fn rules(&self, direction: Direction) -> Option<&PolicyRules> {
        self.parts[direction as usize]
            .as_ref()
            .map(|(_, rules)| rules)
    }
}

/// Compiled policies. Only what selects somebody is among them, so that nothing else appears in any signature.
#[derive(Debug, Default)]
pub(super) struct Policies {
    compiled: BTreeMap<PolicyKey, Arc<CompiledPolicy>>,
    /// Those that have been replaced, until [`Self::settle`].
    replaced: BTreeMap<PolicyKey, Arc<CompiledPolicy>>,
    next: usize,
}

impl Policies {
    /// The policy has changed or is gone: what was compiled of it is not used any more.
    pub(super) fn forget(&mut self, key: &PolicyKey) {
        if let Some((key, compiled)) = self.compiled.remove_entry(key) {
            self.replaced.insert(key, compiled);
        }
    }

    /// The policy, compiled if it was not; true if it was not.
    pub(super) fn get(
        &mut self,
        key: &PolicyKey,
        policy: &Policy,
        facts: &mut Facts,
        names: &mut RuleNames,
    ) -> (Arc<CompiledPolicy>, bool) {
        if let Some(known) = self.compiled.get(key) {
            return (Arc::clone(known), false);
        }
        let mut diagnostics = Vec::new();
        let before = self.replaced.get(key);
        let parts = DIRECTIONS.map(|direction| {
            let rules = PolicyRules::new(key, policy, direction, facts, names, &mut diagnostics)?;
            let before = before.and_then(|it| it.parts[direction as usize].as_ref());
            let number = match before {
                Some((number, before)) if *before == rules => *number,
                _ => {
                    self.next += 1;
                    self.next
                }
            };
            Some((number, rules))
        });
        let compiled = Arc::new(CompiledPolicy {
            key: key.clone(),
            parts,
            diagnostics,
        });
        self.compiled.insert(key.clone(), Arc::clone(&compiled));
        (compiled, true)
    }

    /// Forgets the one of this key if nobody has it any more.
    pub(super) fn drop_unused(&mut self, key: &PolicyKey) {
        if self
            .compiled
            .get(key)
            .is_some_and(|it| Arc::strong_count(it) == 1)
        {
            self.forget(key);
        }
    }

    /// Takes those that are not used any more.
    pub(super) fn settle(&mut self) -> impl Iterator<Item = Arc<CompiledPolicy>> + use<> {
        std::mem::take(&mut self.replaced).into_values()
    }

    /// What is wrong with them.
    pub(super) fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.compiled
            .values()
            .flat_map(|policy| &policy.diagnostics)
    }
}

/// What a ruleset is made of: subjects with the same policies and the same named ports share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Recipe {
    direction: usize,
    policies: Vec<usize>,
    own: ResolvedPorts,
}

#[derive(Debug)]
struct Entry {
    recipe: Recipe,
    ruleset: Ruleset,
    users: usize,
}

/// Rulesets, each once, as long as somebody has them.
#[derive(Debug, Default)]
pub(super) struct Rulesets {
    numbers: HashMap<Recipe, RulesetId>,
    entries: HashMap<RulesetId, Entry>,
    next: RulesetId,
    born: Vec<RulesetId>,
    idle: Vec<RulesetId>,
}

impl Rulesets {
    /// A ruleset.
    pub(super) fn get(&self, id: RulesetId) -> Option<&Ruleset> {
        self.entries.get(&id).map(|entry| &entry.ruleset)
    }

    /// The ruleset of a subject that these policies (by key) select, used once more; `None` if none of them isolates
    /// this direction.
    pub(super) fn add(
        &mut self,
        policies: &[Arc<CompiledPolicy>],
        direction: Direction,
        ports: &[ContainerPort],
        names: &mut RuleNames,
    ) -> Option<RulesetId> {
        let parts = policies
            .iter()
            .filter_map(|it| it.parts[direction as usize].as_ref());
        let (numbers, rules): (Vec<usize>, Vec<&PolicyRules>) =
            parts.map(|(number, rules)| (*number, rules)).unzip();
        if rules.is_empty() {
            return None;
        }
        let own = match direction {
            Direction::Ingress => {
                let asked = rules.iter().flat_map(|policy| policy.named_ports());
                netpol::resolve(asked, ports)
            }
            Direction::Egress => ResolvedPorts::new(),
        };
        let recipe = Recipe {
            direction: direction as usize,
            policies: numbers,
            own,
        };
        if let Some(&id) = self.numbers.get(&recipe) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.users += 1;
            }
            return Some(id);
        }
        let id = self.next;
        self.next += 1;
        let ruleset = netpol::ruleset(&rules, direction, &recipe.own, names);
        self.numbers.insert(recipe.clone(), id);
        let entry = Entry {
            recipe,
            ruleset,
            users: 1,
        };
        self.entries.insert(id, entry);
        self.born.push(id);
        Some(id)
    }

    /// One user less.
    pub(super) fn release(&mut self, id: RulesetId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.users -= 1;
            if entry.users == 0 {
                self.idle.push(id);
            }
        }
    }

    /// Forgets what nobody has; ids that are new, and ids that are gone.
    pub(super) fn settle(&mut self, names: &mut RuleNames) -> (Vec<RulesetId>, Vec<RulesetId>) {
        let mut dead = Vec::new();
        for id in std::mem::take(&mut self.idle) {
            if self.entries.get(&id).is_none_or(|entry| entry.users > 0) {
                continue;
            }
            if let Some(entry) = self.entries.remove(&id) {
                self.numbers.remove(&entry.recipe);
                netpol::release(&entry.ruleset, names);
                dead.push(id);
            }
        }
        let mut born = std::mem::take(&mut self.born);
        born.retain(|id| self.entries.contains_key(id));
        (born, dead)
    }
}
