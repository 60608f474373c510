//! The rulesets that subjects get, put together of parts.

use std::sync::Arc;

use hashbrown::HashMap;
use ringfence_common::Direction;

use super::{
    names::RuleNames,
    netpol::word,
    part::{Part, PartId, Parts},
    ports::{self, ResolvedPorts},
    ruleset::{Counts, NameId, Ruleset, TierRules, Unmatched},
};
use crate::model::ContainerPort;

/// Number of a ruleset; none is given out twice.
pub(super) type RulesetId = usize;

/// What a ruleset is made of: subjects with the same parts and the same named ports share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Recipe {
    direction: usize,
    parts: Vec<PartId>,
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

    /// The ruleset of a subject with these parts, those of one tier in the order in which they are asked; used once
    /// more. `None` if there are none.
    pub(super) fn add(
        &mut self,
        mut numbers: Vec<PartId>,
        direction: Direction,
        ports: &[ContainerPort],
        parts: &Parts,
        names: &mut RuleNames,
    ) -> Option<RulesetId> {
        numbers.sort_by_key(|&number| parts.get(number).map(|part| part.tier));
        let of: Vec<&Part> = numbers.iter().filter_map(|&it| parts.get(it)).collect();
        if of.is_empty() {
            return None;
        }
        let own = match direction {
            Direction::Ingress => {
                let asked = of.iter().flat_map(|part| part.named_ports());
                ports::resolve(asked, ports)
            }
            Direction::Egress => ResolvedPorts::new(),
        };
        let recipe = Recipe {
            direction: direction as usize,
            parts: numbers,
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
        let ruleset = assemble(&of, direction, &recipe.own, names);
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
                release(&entry.ruleset, names);
                dead.push(id);
            }
        }
        let mut born = std::mem::take(&mut self.born);
        born.retain(|id| self.entries.contains_key(id));
        (born, dead)
    }
}

/// The ruleset of these parts, which are in the order of their tiers.
///
/// `own` are the subject's own ports, for a direction in which it is the destination.
fn assemble(
    parts: &[&Part],
    direction: Direction,
    own: &ResolvedPorts,
    names: &mut RuleNames,
) -> Ruleset {
    let of_tiers = parts.chunk_by(|one, other| one.tier == other.tier);
    let tiers = of_tiers.map(|parts| {
        let mut rules = Vec::new();
        for rule in parts.iter().flat_map(|part| &part.rules) {
            let mut rule = rule.clone();
            if direction == Direction::Ingress && !rule.ports.named().is_empty() {
                rule.ports = Arc::new(ports::with_own(&rule.ports, own));
            }
            rules.push(rule);
        }
        TierRules {
            tier: parts[0].tier,
            rules,
            unmatched: unmatched(parts, direction, names),
        }
    });
    Ruleset {
        tiers: tiers.collect(),
    }
}

/// Gives back what [`assemble`] has taken.
fn release(ruleset: &Ruleset, names: &mut RuleNames) {
    for tier in &ruleset.tiers {
        let Unmatched { live, staged } = tier.unmatched;
        for name in [live, staged].into_iter().flatten() {
            names.release(name);
        }
    }
}

fn unmatched(parts: &[&Part], direction: Direction, names: &mut RuleNames) -> Unmatched {
    let isolating: Vec<&Part> = parts
        .iter()
        .copied()
        .filter(|part| part.isolates.is_some())
        .collect();
    let enforced: Vec<&Part> = isolating
        .iter()
        .copied()
        .filter(|part| part.isolates != Some(Counts::Staged))
        .collect();
    Unmatched {
        live: isolation(&enforced, direction, names),
        staged: isolation(&isolating, direction, names),
    }
}

/// The name of the isolation by these parts, used once more; `None` if there are none.
fn isolation(parts: &[&Part], direction: Direction, names: &mut RuleNames) -> Option<NameId> {
    let first = parts.first()?;
    let rest = match parts.len() - 1 {
        0 => format!("{}: no rule matches", word(direction)),
        more => format!("{}: no rule matches (+{more} more)", word(direction)),
    };
    Some(names.add(&first.object, &rest))
}
