//! The tables of all rulesets, kept up to date.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::{
    Row, Table,
    evaluator::{Evaluator, Touched},
    names::RuleNames,
    ruleset::NameId,
    rulesets::RulesetId,
    signature::{Changes, Signatures},
    table::Built,
};
use crate::{
    model::{Objects, Protocol},
    parallel,
};

/// Number of a table; none is given out twice.
type TableId = usize;

/// Tables of rulesets; rulesets that say the same share one.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// [`super::Desired::tables`].
    pub(super) tables: Objects<TableId, Table>,
    /// [`super::Desired::rules`].
    pub(super) rules: Objects<NameId, String>,
    built: HashMap<RulesetId, (Built, TableId)>,
    known: HashMap<TableId, Known>,
    /// By fingerprint, for finding an equal one.
    alike: HashMap<u64, Vec<TableId>>,
    /// For each port's name the rulesets that ask peers for it.
    naming: HashMap<(Protocol, String), BTreeSet<RulesetId>>,
    /// How many tables name a rule.
    named: HashMap<NameId, usize>,
    next: TableId,
}

/// What is kept of a table besides itself.
#[derive(Debug)]
struct Known {
    /// How many rulesets have it.
    users: usize,
    /// [`Built::fingerprint`].
    fingerprint: u64,
    /// Rules that its cells name.
    names: BTreeSet<NameId>,
}

/// What became of a ruleset's table.
enum Became {
    /// It says what it said.
    Same,
    /// The table of this number says so no more.
    Otherwise(TableId),
    /// It does not tell all ports apart that matter to somebody new.
    TooCoarse,
    /// It is another one.
    Anew(Box<Built>),
}

impl Tables {
    /// The table of a ruleset.
    pub(super) fn of(&self, ruleset: RulesetId) -> Option<TableId> {
        self.built.get(&ruleset).map(|&(_, id)| id)
    }

    /// Does what an update asks for; tables that rulesets have left for another one.
    pub(super) fn update(
        &mut self,
        evaluator: &mut Evaluator,
        signatures: &Signatures,
        touched: &Touched,
        (born, dead): (&Changes, &Changes),
    ) -> BTreeSet<TableId> {
        let mut rebuild: BTreeSet<RulesetId> = touched.born.iter().copied().collect();
        for name in &touched.names {
            rebuild.extend(self.naming.get(name).into_iter().flatten());
        }
        // The tables of rulesets that go are given up last: new ones may say the same.
        let leaving: BTreeSet<RulesetId> = touched.dead.iter().copied().collect();
        let all = self.look_again(evaluator, signatures, (born, dead), (&rebuild, &leaving));
        let mut changed: BTreeMap<TableId, Vec<RulesetId>> = BTreeMap::new();
        let mut built = Vec::new();
        for (ruleset, became) in all {
            match became {
                Became::Same | Became::TooCoarse => {}
                Became::Otherwise(id) => changed.entry(id).or_default().push(ruleset),
                Became::Anew(table) => built.push((ruleset, *table)),
            }
        }
        let mut left = BTreeSet::new();
        for (id, rulesets) in changed {
            if !self.follow(id, &rulesets, &mut evaluator.names) {
                left.insert(id);
            }
        }
        for (ruleset, built) in built {
            left.extend(self.put(ruleset, built, &mut evaluator.names));
        }
        for ruleset in leaving {
            if let Some((built, id)) = self.built.remove(&ruleset) {
                for name in &built.names {
                    strike(&mut self.naming, name, ruleset);
                }
                self.give_up(id, &mut evaluator.names);
            }
        }
        left
    }

    /// Lets tables say what they say of signatures that are new, and no more of those that are gone; builds those that are to be,
    /// or that must be. What became of each ruleset's table but those that are leaving, by ruleset.
    fn look_again(
        &mut self,
        evaluator: &Evaluator,
        signatures: &Signatures,
        (born, dead): (&Changes, &Changes),
        (rebuild, leaving): (&BTreeSet<RulesetId>, &BTreeSet<RulesetId>),
    ) -> Vec<(RulesetId, Became)> {
        let staying = self
            .built
            .iter_mut()
            .filter(|(ruleset, _)| !rebuild.contains(*ruleset) && !leaving.contains(*ruleset));
        let staying = staying.map(|(&ruleset, table)| (ruleset, Some(table)));
        let anew = rebuild.iter().map(|&ruleset| (ruleset, None));
        let all: Vec<_> = staying
            .chain(anew)
            .filter_map(|(it, table)| Some((it, evaluator.rulesets.get(it)?, table)))
            .collect();
        let steps = all.iter().map(|(_, _, table)| match table {
            Some(_) => born.len() + dead.len(),
            None => signatures.texts.len(),
        });
        let steps = steps.sum();
        let build = |rules| Became::Anew(Box::new(Built::new(rules, &evaluator.facts, signatures)));
        // Those to be built stand last: they take longest, and are begun first.
        let all = parallel::map(all, steps, |(ruleset, rules, table)| {
            let Some((built, id)) = table else {
                return (ruleset, rules, build(rules));
            };
            let became = match built.reclass(rules, &evaluator.facts, (born, dead)) {
                Some(false) => Became::Same,
                Some(true) => Became::Otherwise(*id),
                None => Became::TooCoarse,
            };
            (ruleset, rules, became)
        });
        let is_too_coarse = |became: &Became| matches!(became, Became::TooCoarse);
        let (too_coarse, others): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|(_, _, became)| is_too_coarse(became));
        let steps = too_coarse.len() * signatures.texts.len();
        let rebuilt = parallel::map(too_coarse, steps, |(ruleset, rules, _)| {
            (ruleset, build(rules))
        });
        let others = others
            .into_iter()
            .map(|(ruleset, _, became)| (ruleset, became));
        let mut all: Vec<_> = others.chain(rebuilt).collect();
        all.sort_unstable_by_key(|&(ruleset, _)| ruleset);
        all
    }

    /// Lets a table be what these rulesets' has become; false if they have one of their own now.
    fn follow(&mut self, id: TableId, rulesets: &[RulesetId], names: &mut RuleNames) -> bool {
        let users = self.known.get(&id).map_or(0, |known| known.users);
        let mut tables = rulesets.iter().filter_map(|it| self.built.get(it));
        let first = tables.next();
        if let Some((built, _)) = first
            && users == rulesets.len()
            && tables.all(|(other, _)| other.table == built.table)
        {
            let (table, fingerprint) = (built.table.clone(), built.fingerprint);
            self.refile(id, &table, fingerprint, names);
            self.tables.insert(id, table);
            return true;
        }
        for ruleset in rulesets {
            let Some((built, _)) = self.built.get(ruleset) else {
                continue;
            };
            let (table, fingerprint) = (built.table.clone(), built.fingerprint);
            let fresh = self.take(table, fingerprint, names);
            self.give_up(id, names);
            if let Some((_, current)) = self.built.get_mut(ruleset) {
                *current = fresh;
            }
        }
        false
    }

    /// A table that keeps its number may have got more rows.
    fn refile(&mut self, id: TableId, table: &Table, fingerprint: u64, names: &mut RuleNames) {
        let (Some(before), Some(known)) = (self.tables.get(&id), self.known.get_mut(&id)) else {
            return;
        };
        if known.fingerprint == fingerprint {
            return;
        }
        let old = std::mem::replace(&mut known.fingerprint, fingerprint);
        let rows = table.rows_from(before.rows.len());
        let fresh: BTreeSet<NameId> = names_in(rows).difference(&known.names).copied().collect();
        known.names.extend(&fresh);
        strike_out(&mut self.alike, old, id);
        self.alike.entry(fingerprint).or_default().push(id);
        self.name(&fresh, names);
    }

    /// Gives a ruleset this table; the one that it had, if that is another one.
    fn put(&mut self, ruleset: RulesetId, built: Built, names: &mut RuleNames) -> Option<TableId> {
        for name in &built.names {
            self.naming.entry(name.clone()).or_default().insert(ruleset);
        }
        if let Some((before, _)) = self.built.get(&ruleset) {
            for name in before.names.difference(&built.names) {
                strike(&mut self.naming, name, ruleset);
            }
        }
        let id = self.take(built.table.clone(), built.fingerprint, names);
        let (_, old) = self.built.insert(ruleset, (built, id))?;
        self.give_up(old, names);
        (old != id).then_some(old)
    }

    /// The number of a table that says this, used once more.
    fn take(&mut self, table: Table, fingerprint: u64, names: &mut RuleNames) -> TableId {
        let alike = self.alike.entry(fingerprint).or_default();
        if let Some(&id) = alike.iter().find(|id| self.tables.get(*id) == Some(&table)) {
            if let Some(known) = self.known.get_mut(&id) {
                known.users += 1;
            }
            return id;
        }
        let id = self.next;
        self.next += 1;
        alike.push(id);
        let known = Known {
            users: 1,
            fingerprint,
            names: names_in(table.rows.iter()),
        };
        self.name(&known.names, names);
        self.known.insert(id, known);
        self.tables.insert(id, table);
        id
    }

    fn give_up(&mut self, id: TableId, names: &mut RuleNames) {
        let Some(known) = self.known.get_mut(&id) else {
            return;
        };
        known.users -= 1;
        if known.users > 0 {
            return;
        }
        let Some(known) = self.known.remove(&id) else {
            return;
        };
        self.tables.remove(&id);
        strike_out(&mut self.alike, known.fingerprint, id);
        for name in known.names {
            if let Some(users) = self.named.get_mut(&name) {
                *users -= 1;
                if *users == 0 {
                    self.named.remove(&name);
                    self.rules.remove(&name);
                    names.release(name);
                }
            }
        }
    }

    /// One more table names these rules.
    fn name(&mut self, rules: &BTreeSet<NameId>, names: &mut RuleNames) {
        for &rule in rules {
            let users = self.named.entry(rule).or_default();
            *users += 1;
            if *users == 1 {
                names.keep(rule);
                let text = names.get(rule).unwrap_or_default().to_owned();
                self.rules.insert(rule, text);
            }
        }
    }
}

/// A ruleset does not ask for a port's name any more.
fn strike(
    naming: &mut HashMap<(Protocol, String), BTreeSet<RulesetId>>,
    name: &(Protocol, String),
    ruleset: RulesetId,
) {
    if let Some(rulesets) = naming.get_mut(name) {
        rulesets.remove(&ruleset);
        if rulesets.is_empty() {
            naming.remove(name);
        }
    }
}

/// The table has another fingerprint, or is gone.
fn strike_out(alike: &mut HashMap<u64, Vec<TableId>>, fingerprint: u64, id: TableId) {
    if let Some(ids) = alike.get_mut(&fingerprint) {
        ids.retain(|&it| it != id);
        if ids.is_empty() {
            alike.remove(&fingerprint);
        }
    }
}

fn names_in<'a>(rows: impl Iterator<Item = &'a Row>) -> BTreeSet<NameId> {
    let cells = rows.flat_map(|row| row.iter());
    cells.filter_map(|cell| cell.rule).collect()
}
