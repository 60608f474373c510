//! The tables of all rulesets, kept up to date.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::{HashMap, HashSet};

use super::{
    Row, Table,
    evaluator::{Evaluator, Touched},
    fact::FactId,
    names::RuleNames,
    ruleset::NameId,
    rulesets::RulesetId,
    signature::{Changes, Signatures},
    table::Built,
};
use crate::model::{Objects, Protocol};

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
    /// For each fact the rulesets that ask for it.
    asking: HashMap<FactId, BTreeSet<RulesetId>>,
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

impl Tables {
    /// The table of a ruleset.
    pub(super) fn of(&self, ruleset: RulesetId) -> Option<TableId> {
        self.built.get(&ruleset).map(|&(_, id)| id)
    }

    /// Does what an update asks for; true if a ruleset has a table of another number.
    pub(super) fn update(
        &mut self,
        evaluator: &mut Evaluator,
        signatures: &Signatures,
        touched: &Touched,
        (born, dead): (&Changes, &Changes),
    ) -> bool {
        let mut rebuild: BTreeSet<RulesetId> = touched.born.iter().copied().collect();
        for name in &touched.names {
            rebuild.extend(self.naming.get(name).into_iter().flatten());
        }
        // The tables of rulesets that go are given up last: new ones may say the same.
        let leaving: BTreeSet<RulesetId> = touched.dead.iter().copied().collect();
        let mut classes: BTreeMap<RulesetId, Vec<(usize, usize)>> = BTreeMap::new();
        for (signature, facts) in dead {
            for ruleset in self.asked_by(facts) {
                classes.entry(ruleset).or_default().push((*signature, 0));
            }
        }
        for (signature, facts) in born {
            for ruleset in self.asked_by(facts) {
                match self.row(ruleset, facts, evaluator) {
                    Some(row) => classes.entry(ruleset).or_default().push((*signature, row)),
                    None => {
                        rebuild.insert(ruleset);
                    }
                }
            }
        }
        let mut renumbered = false;
        let mut changed: BTreeMap<TableId, Vec<RulesetId>> = BTreeMap::new();
        for (ruleset, classes) in classes {
            if !rebuild.contains(&ruleset)
                && !leaving.contains(&ruleset)
                && let Some(id) = self.reclass(ruleset, &classes)
            {
                changed.entry(id).or_default().push(ruleset);
            }
        }
        for (id, rulesets) in changed {
            renumbered |= self.follow(id, &rulesets, &mut evaluator.names);
        }
        for ruleset in rebuild {
            let Some(rules) = evaluator.rulesets.get(ruleset) else {
                continue;
            };
            let built = Built::new(rules, &evaluator.facts, signatures);
            renumbered |= self.put(ruleset, built, &mut evaluator.names);
        }
        for ruleset in leaving {
            if let Some((built, id)) = self.built.remove(&ruleset) {
                self.unfile(ruleset, &built);
                self.give_up(id, &mut evaluator.names);
            }
        }
        renumbered
    }

    fn asked_by(&self, facts: &[FactId]) -> HashSet<RulesetId> {
        let asking = facts.iter().filter_map(|fact| self.asking.get(fact));
        asking.flatten().copied().collect()
    }

    /// The row of a signature with these facts, which may be a new one behind the others.
    fn row(
        &mut self,
        ruleset: RulesetId,
        facts: &[FactId],
        evaluator: &Evaluator,
    ) -> Option<usize> {
        let (built, _) = self.built.get_mut(&ruleset)?;
        built
            .row(facts)
            .or_else(|| built.grow(evaluator.rulesets.get(ruleset)?, &evaluator.facts, facts))
    }

    /// Gives signatures other rows; row 0 is that of signatures that are gone, too. The number of the table that says so no
    /// more, if it does not.
    fn reclass(&mut self, ruleset: RulesetId, classes: &[(usize, usize)]) -> Option<TableId> {
        let (built, id) = self.built.get_mut(&ruleset)?;
        let mut changed = false;
        for &(signature, row) in classes {
            changed |= if row == 0 {
                built.table.classes.remove(&signature).is_some()
            } else {
                built.table.classes.insert(signature, row) != Some(row)
            };
        }
        changed.then_some(*id)
    }

    /// Lets a table be what these rulesets' has become; true if one of them has another number now.
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
            return false;
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
        true
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

    fn put(&mut self, ruleset: RulesetId, built: Built, names: &mut RuleNames) -> bool {
        self.file(ruleset, &built);
        let id = self.take(built.table.clone(), built.fingerprint, names);
        match self.built.insert(ruleset, (built, id)) {
            Some((before, old)) => {
                self.unfile_unless(ruleset, &before);
                self.give_up(old, names);
                old != id
            }
            None => true,
        }
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

    fn file(&mut self, ruleset: RulesetId, built: &Built) {
        for &fact in &built.asked {
            self.asking.entry(fact).or_default().insert(ruleset);
        }
        for name in &built.names {
            self.naming.entry(name.clone()).or_default().insert(ruleset);
        }
    }

    /// Strikes a ruleset out from under what it does not ask for any more.
    fn unfile_unless(&mut self, ruleset: RulesetId, before: &Built) {
        let Some((now, _)) = self.built.get(&ruleset) else {
            return;
        };
        let gone = before.asked.iter().filter(|it| !now.asked.contains(*it));
        for fact in gone {
            strike(&mut self.asking, fact, ruleset);
        }
        for name in before.names.difference(&now.names) {
            strike(&mut self.naming, name, ruleset);
        }
    }

    fn unfile(&mut self, ruleset: RulesetId, built: &Built) {
        for fact in &built.asked {
            strike(&mut self.asking, fact, ruleset);
        }
        for name in &built.names {
            strike(&mut self.naming, name, ruleset);
        }
    }
}

fn strike<K: std::hash::Hash + Eq>(
    filed: &mut HashMap<K, BTreeSet<RulesetId>>,
    key: &K,
    ruleset: RulesetId,
) {
    if let Some(rulesets) = filed.get_mut(key) {
        rulesets.remove(&ruleset);
        if rulesets.is_empty() {
            filed.remove(key);
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
