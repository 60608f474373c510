//! From one state to the next by what differs: the same plan as [`super::diff`] makes, without looking at the rest. Only
//! tables that get more rows are left where they lie, which [`super::diff`] lays out anew.
//!
//! It builds on what the plan before remembered: which number of a table, signature or rule lies where. Numbers that mean
//! something else than before, and states that were not put in force whole, are left to [`super::diff`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::ordmap::DiffItem;
use ipnet::IpNet;
use ringfence_common::identity::Identity;

use super::{
    Installed, Limits, Plan, Wanted,
    addresses::{Candidates, Identities},
    digest,
    endpoints::granted,
    memory::Memory,
    plan::{Builder, Full, Op, Packing, fits},
    tables::TableIds,
};
use crate::{
    compile::{Desired, Table},
    parallel,
};

/// Plans the way on from a state that is in force; `None` if that takes a look at everything.
pub(super) fn step(
    installed: &Installed,
    memory: &Memory,
    wanted: Wanted<'_>,
    limits: &Limits,
) -> Option<Result<Plan, Full>> {
    let (before, desired) = (&memory.desired, wanted.desired);
    let renumbered = before
        .signatures
        .differences(&desired.signatures)
        .any(|it| it.old.is_some() && it.new.is_some())
        || before
            .rules
            .differences(&desired.rules)
            .any(|it| it.old.is_some() && it.new.is_some());
    if installed.interrupted || renumbered {
        return None;
    }
    Some(Packing::try_both(|packing| {
        let step = Step {
            builder: Builder::new(installed, limits, packing),
            memory: memory.clone(),
        };
        step.plan(wanted)
    }))
}

struct Step<'a> {
    builder: Builder<'a>,
    memory: Memory,
}

impl Step<'_> {
    fn plan(mut self, wanted: Wanted<'_>) -> Result<Plan, Full> {
        let desired = wanted.desired;
        let before = self.memory.desired.clone();
        let bits = self.builder.metadata(desired)?;
        self.rules(&before, desired)?;
        let targets = self.targets(&before, desired);
        let tables = self.tables(&before, desired, !targets.is_empty())?;
        let (identities, gone) = self.addresses(desired, targets, &tables)?;
        if before.node_addresses != desired.node_addresses
            || before.other_nodes != desired.other_nodes
            || before.broadcasts != desired.broadcasts
            || before.services != desired.services
        {
            self.builder.surroundings(desired)?;
        }
        let shaken = self.classes(desired, &tables, &identities, &gone)?;
        let same_endpoints = tables.new.is_empty()
            && tables.leaving.is_empty()
            && before.endpoints == desired.endpoints
            && before.node_addresses == desired.node_addresses
            && before.metadata == desired.metadata
            && self.builder.installed.grants == granted(wanted.grants, &bits);
        if same_endpoints {
            self.builder.renew(&shaken);
        } else {
            self.builder.endpoints(wanted, &tables, &shaken, &bits)?;
        }
        self.builder.metadata_audit(desired);
        self.retire(&tables, gone);
        self.memory.desired = desired.clone();
        self.memory.tables = tables.wanted;
        Ok(self.builder.finish(self.memory))
    }

    fn rules(&mut self, before: &Desired, desired: &Desired) -> Result<(), Full> {
        let mut wanted = BTreeSet::new();
        let mut gone = BTreeSet::new();
        for rule in before.rules.differences(&desired.rules) {
            wanted.extend(rule.new.map(|name| &**name));
            gone.extend(rule.old.map(|name| &**name));
        }
        // A name may have another number.
        let gone = gone.difference(&wanted).copied();
        self.builder.name_rules(wanted.iter().copied(), gone)
    }

    /// Addresses whose signature differs, or that are no longer listed.
    fn targets(&self, before: &Desired, desired: &Desired) -> BTreeMap<IpNet, usize> {
        let mut targets = BTreeMap::new();
        let mut gone = Vec::new();
        for item in before.addresses.diff(&desired.addresses) {
            match item {
                DiffItem::Add(net, &signature)
                | DiffItem::Update {
                    new: (net, &signature),
                    ..
                } => {
                    targets.insert(*net, signature);
                }
                DiffItem::Remove(net, _) => gone.push(*net),
            }
        }
        targets.extend(self.builder.unlisted(desired, gone.iter()));
        targets
    }

    fn tables(
        &mut self,
        before: &Desired,
        desired: &Desired,
        addresses_move: bool,
    ) -> Result<TableIds, Full> {
        let mut ids = TableIds {
            wanted: self.memory.tables.clone(),
            new: Vec::new(),
            staying: Vec::new(),
            leaving: Vec::new(),
        };
        let mut known = self.memory.tables.clone();
        for (number, old) in before.tables.from_key(&0) {
            // Not compared: nearly all tables differ in a few of thousands of classes.
            let continued = desired.tables.shared(number).is_some_and(|new| {
                Arc::ptr_eq(old, new)
                    || continues(old, new, before, desired) && self.grow(*number, desired, new)
            });
            if !continued {
                known.remove(number);
            }
        }
        // Without moving addresses old and new classes are the same.
        if addresses_move
            && (known.len() != ids.wanted.len() || before.endpoints != desired.endpoints)
        {
            let left = self
                .builder
                .left(desired, |number| known.get(&number).copied());
            known = known
                .into_iter()
                .filter(|(_, id)| !left.contains(id))
                .collect();
        }
        if known.len() != ids.wanted.len() {
            let leaving = ids
                .wanted
                .iter()
                .filter(|(number, _)| !known.contains_key(*number));
            ids.leaving = leaving.map(|(_, &id)| id).collect();
        }
        if known.len() != desired.tables.len() || !ids.leaving.is_empty() {
            ids.wanted.clone_from(&known);
            for (&number, table) in &desired.tables {
                if !known.contains_key(&number) {
                    let digest = digest::table(desired, table);
                    let id = self.builder.lay_out(desired, table, digest)?;
                    ids.wanted.insert(number, id);
                    ids.new.push(number);
                }
            }
        }
        ids.staying = known.into_iter().collect();
        let tables = self.builder.after.tables.len();
        fits(
            "TABLES",
            "--table-entries",
            tables,
            self.builder.limits.tables,
        )?;
        Ok(ids)
    }

    /// Lets a table have the rows that it has got, where it lies.
    fn grow(&mut self, number: usize, desired: &Desired, table: &Table) -> bool {
        let id = self.memory.tables.get(&number);
        id.is_some_and(|&id| self.builder.grow(id, desired, table))
    }

    /// Gives addresses their identities; and the identities that nobody has then.
    fn addresses(
        &mut self,
        desired: &Desired,
        targets: BTreeMap<IpNet, usize>,
        tables: &TableIds,
    ) -> Result<(Identities, BTreeSet<Identity>), Full> {
        let signatures: BTreeSet<usize> = targets.values().copied().collect();
        let candidates: Candidates = signatures
            .into_iter()
            .map(|number| (number, self.memory.meaning(number)))
            .collect();
        let nets: Vec<IpNet> = targets.keys().copied().collect();
        let identities = self.builder.assign(desired, targets, candidates, tables);
        let mut most = self.memory.counts;
        let mut gone = BTreeSet::new();
        for net in &nets {
            let old = self.builder.installed.addresses.get(net).copied();
            let new = self.builder.after.addresses.get(net).copied();
            if let Some(new) = new {
                let signature = identities.signatures.get(&new).copied().unwrap_or(0);
                self.memory.keep(new, signature);
                gone.remove(&new);
            }
            if let Some(old) = old
                && self.memory.release(old)
            {
                gone.insert(old);
            }
            match (old, new) {
                (None, Some(_)) => {
                    most.add(net);
                    self.memory.counts.add(net);
                }
                (Some(_), None) => self.memory.counts.remove(net),
                _ => {}
            }
        }
        // An identity may be new for an address that is listed no more.
        gone.extend(
            identities
                .new
                .iter()
                .filter(|it| !self.memory.users.contains_key(*it)),
        );
        for &identity in &gone {
            self.memory.forget(identity);
        }
        // What goes is there until after the swap.
        self.builder.check_counts(most)?;
        self.builder.check_identities()?;
        Ok((identities, gone))
    }

    /// Gives identities their classes and forgets those of identities that are gone. Ids of tables that go
    /// on, and tell apart the old and the new identity of an address that moves.
    fn classes(
        &mut self,
        desired: &Desired,
        tables: &TableIds,
        identities: &Identities,
        gone: &BTreeSet<Identity>,
    ) -> Result<BTreeSet<u32>, Full> {
        let new: Vec<(Identity, usize)> = identities
            .new
            .iter()
            .map(|it| (*it, identities.signatures.get(it).copied().unwrap_or(0)))
            .collect();
        if new.is_empty() && gone.is_empty() && identities.moves.is_empty() && tables.new.is_empty()
        {
            return Ok(BTreeSet::new());
        }
        let of_new = tables.new.iter();
        let of_new = of_new.map(|number| desired.tables[number].classes.len());
        let steps = tables.wanted.len() * (new.len() + gone.len()) + of_new.sum::<usize>();
        let (builder, memory) = (&self.builder, &self.memory);
        let one = |(number, &id): (&usize, &u32)| {
            let table = &desired.tables[number];
            let stays = tables.new.binary_search(number).is_err();
            let known = (!stays).then(|| memory.listed_in(table)).into_iter();
            let mut of_table = builder.after.classes.of(id);
            let before = of_table.len();
            let new = new.iter().map(|&(it, of)| (it, table.class(of)));
            let written = of_table.insert(known.flatten().chain(new));
            let more = of_table.len() - before;
            let installed = builder.installed.classes.of(id);
            let is_shaken = stays && of_table.tells_apart(&installed, &identities.moves);
            let removed = of_table.remove(gone.iter().copied());
            (id, of_table, (written, removed), more, is_shaken)
        };
        // What is new mostly stands last: it takes longest, and is begun first.
        let all: Vec<(&usize, &u32)> = tables.wanted.iter().collect();
        let mut most = self.builder.after.classes.len();
        let mut shaken = BTreeSet::new();
        for (id, of_table, (written, removed), more, is_shaken) in parallel::map(all, steps, one) {
            shaken.extend(is_shaken.then_some(id));
            if written.is_empty() && removed.is_empty() {
                continue;
            }
            most += more;
            self.builder.after.classes.put(id, of_table);
            let written = written.into_iter();
            let written = written.map(|(it, class)| Op::Class(id, it, class));
            self.builder.beside.extend(written);
            let removed = removed.into_iter().map(|it| Op::RemoveClass(id, it));
            self.builder.remove.extend(removed);
        }
        // Those of whom is gone are there until after the swap.
        self.builder.check_classes(most)?;
        Ok(shaken)
    }

    fn retire(&mut self, tables: &TableIds, gone: BTreeSet<Identity>) {
        for &table in &tables.leaving {
            let all = self.builder.after.classes.remove_table(table);
            let all = all.into_iter().map(|it| Op::RemoveClass(table, it));
            self.builder.remove.extend(all);
        }
        self.builder.remove_tables(tables);
        for identity in gone {
            self.builder.remove_identity(identity);
        }
    }
}

/// True if a table goes on: the same cells and ports, but for rows behind those that it had, and no signature that was and is
/// known has another row.
fn continues(old: &Table, new: &Table, before: &Desired, desired: &Desired) -> bool {
    let known = |signature: &usize| {
        before.signatures.contains_key(signature) && desired.signatures.contains_key(signature)
    };
    let keeps_rows = || {
        let mut differ = old.classes.differences(&new.classes);
        !differ.any(|signature| known(&signature))
    };
    if new.follows(old) {
        // Nothing is looked at: there are hundreds of tables, and each has a row for thousands of signatures.
        debug_assert!(
            keeps_rows(),
            "a table's next state says of somebody known what it did not"
        );
        return true;
    }
    new.grew_from(old) && keeps_rows()
}
