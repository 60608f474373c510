//! What a plan remembers for the next one, so that the next one costs what differs.

use std::collections::BTreeMap;

use imbl::{OrdMap, OrdSet};
use ringfence_common::identity::{Identity, UNKNOWN};

use super::{
    addresses::{Counts, Identities},
    installed::Installed,
    tables::TableIds,
};
use crate::compile::{Desired, Table};

/// Identities that are walked past in the time that it takes to look one up.
const WALK: usize = 8;

/// How a state lies in the maps. A copy is a few pointers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// The state.
    pub(super) desired: Desired,
    /// Ids of its tables, by number.
    pub(super) tables: OrdMap<usize, u32>,
    /// The identities that mean a signature, by its number: side by side, as they are gone through for each new table.
    identities: OrdSet<(usize, Identity)>,
    /// The signature's number, and how many addresses have it, of every identity in use.
    pub(super) users: OrdMap<Identity, (usize, usize)>,
    /// How many addresses there are.
    pub(super) counts: Counts,
}

impl Memory {
    /// After a plan that has looked at everything.
    pub(super) fn new(
        desired: &Desired,
        tables: TableIds,
        identities: &Identities,
        after: &Installed,
    ) -> Self {
        let mut memory = Self {
            desired: desired.clone(),
            tables: tables.wanted,
            ..Self::default()
        };
        let mut users: BTreeMap<Identity, usize> = BTreeMap::new();
        for (net, &identity) in &after.addresses {
            memory.counts.add(net);
            *users.entry(identity).or_default() += 1;
        }
        memory.identities.insert((0, UNKNOWN));
        for (identity, users) in users {
            if identity == UNKNOWN {
                continue;
            }
            if let Some(&signature) = identities.signatures.get(&identity) {
                memory.users.insert(identity, (signature, users));
                memory.identities.insert((signature, identity));
            }
        }
        memory
    }

    /// The identities that mean a signature.
    pub(super) fn meaning(&self, signature: usize) -> Vec<Identity> {
        let its = self
            .identities
            .range((signature, 0)..=(signature, Identity::MAX));
        its.map(|&(_, identity)| identity).collect()
    }

    /// The class in a table of each identity that has one there, by signature.
    pub(super) fn listed_in(&self, table: &Table) -> Vec<(Identity, usize)> {
        let classes = table.classes.iter().map(|(of, class)| (of, class as usize));
        if table.classes.len() * WALK < self.identities.len() {
            let listed = classes.flat_map(|(signature, class)| {
                let its = self.meaning(signature).into_iter();
                its.map(move |identity| (identity, class))
            });
            return listed.collect();
        }
        let mut classes = classes.peekable();
        let listed = self.identities.iter().filter_map(|&(of, identity)| {
            while classes.next_if(|&(signature, _)| signature < of).is_some() {}
            let (signature, class) = *classes.peek()?;
            (signature == of).then_some((identity, class))
        });
        listed.collect()
    }

    /// One address more has this identity.
    pub(super) fn keep(&mut self, identity: Identity, signature: usize) {
        if identity == UNKNOWN {
            return;
        }
        match self.users.get_mut(&identity) {
            Some((_, users)) => *users += 1,
            None => {
                self.users.insert(identity, (signature, 1));
                self.identities.insert((signature, identity));
            }
        }
    }

    /// One address less; true if it was the last.
    pub(super) fn release(&mut self, identity: Identity) -> bool {
        let Some((_, users)) = self.users.get_mut(&identity) else {
            return false;
        };
        *users -= 1;
        *users == 0
    }

    /// Nobody has this identity any more.
    pub(super) fn forget(&mut self, identity: Identity) {
        if let Some((signature, _)) = self.users.remove(&identity) {
            self.identities.remove(&(signature, identity));
        }
    }
}
