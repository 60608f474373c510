//! The tables of all rulesets, kept up to date.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    DesiredCell, Table,
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
    users: HashMap<TableId, usize>,
    /// For finding an equal one.
    by_rows: HashMap<Arc<[Vec<DesiredCell>]>, Vec<TableId>>,
    /// For each fact the rulesets that ask for it.
    asking: HashMap<FactId, BTreeSet<RulesetId>>,
    /// For each port's name the rulesets that ask peers for it.
    naming: HashMap<(Protocol, String), BTreeSet<RulesetId>>,
    /// How many tables name a rule.
    named: HashMap<NameId, usize>,
    next: TableId,
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
                match self
                    .built
                    .get(&ruleset)
                    .and_then(|(built, _)| built.row(facts))
                {
                    Some(row) => classes.entry(ruleset).or_default().push((*signature, row)),
                    None => {
                        rebuild.insert(ruleset);
                    }
                }
            }
        }
        let mut renumbered = false;
        for (ruleset, classes) in classes {
            if !rebuild.contains(&ruleset) && !leaving.contains(&ruleset) {
                renumbered |= self.reclass(ruleset, &classes, &mut evaluator.names);
            }
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

    fn asked_by(&self, facts: &[FactId]) -> BTreeSet<RulesetId> {
        let asking = facts.iter().filter_map(|fact| self.asking.get(fact));
        asking.flatten().copied().collect()
    }

    /// Gives signatures other rows; row 0 is that of signatures that are gone, too.
    fn reclass(
        &mut self,
        ruleset: RulesetId,
        classes: &[(usize, usize)],
        names: &mut RuleNames,
    ) -> bool {
        let Some((built, before)) = self.built.get_mut(&ruleset) else {
            return false;
        };
        for &(signature, row) in classes {
            if row == 0 {
                built.table.classes.remove(&signature);
            } else {
                built.table.classes.insert(signature, row);
            }
        }
        let before = *before;
        if self.tables.get(&before) == Some(&built.table) {
            return false;
        }
        let table = built.table.clone();
        if self.users.get(&before) == Some(&1) {
            self.tables.insert(before, table);
            return false;
        }
        let id = self.take(table, names);
        self.give_up(before, names);
        if let Some((_, current)) = self.built.get_mut(&ruleset) {
            *current = id;
        }
        true
    }

    fn put(&mut self, ruleset: RulesetId, built: Built, names: &mut RuleNames) -> bool {
        self.file(ruleset, &built);
        let id = self.take(built.table.clone(), names);
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
    fn take(&mut self, table: Table, names: &mut RuleNames) -> TableId {
        let alike = self.by_rows.entry(Arc::clone(&table.rows)).or_default();
        if let Some(&id) = alike.iter().find(|id| self.tables.get(*id) == Some(&table)) {
            *self.users.entry(id).or_default() += 1;
            return id;
        }
        let id = self.next;
        self.next += 1;
        alike.push(id);
        self.users.insert(id, 1);
        for name in names_in(&table) {
            let users = self.named.entry(name).or_default();
            *users += 1;
            if *users == 1 {
                names.keep(name);
                let text = names.get(name).unwrap_or_default().to_owned();
                self.rules.insert(name, text);
            }
        }
        self.tables.insert(id, table);
        id
    }

    fn give_up(&mut self, id: TableId, names: &mut RuleNames) {
        let Some(users) = self.users.get_mut(&id) else {
            return;
        };
        *users -= 1;
        if *users > 0 {
            return;
        }
        self.users.remove(&id);
        let Some(table) = self.tables.remove(&id) else {
            return;
        };
        if let Some(alike) = self.by_rows.get_mut(&table.rows) {
            alike.retain(|&it| it != id);
            if alike.is_empty() {
                self.by_rows.remove(&table.rows);
            }
        }
        for name in names_in(&table) {
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
        let gone = before
            .asked
            .iter()
            .filter(|it| now.asked.binary_search(it).is_err());
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

fn names_in(table: &Table) -> BTreeSet<NameId> {
    let cells = table.rows.iter().flatten();
    cells.filter_map(|cell| cell.rule).collect()
}
