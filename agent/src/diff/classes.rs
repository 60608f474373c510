//! Classes of identities, table by table.

use std::collections::{BTreeMap, BTreeSet};

use imbl::OrdMap;
use ringfence_common::identity::Identity;

use crate::paged::Paged;

/// The class of each identity in each table, where it is not 0. A copy shares what is large, and a table goes in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// No table is empty.
    of_tables: OrdMap<u32, OfTable>,
    len: usize,
}

/// The classes in one table. A copy shares what is large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfTable(Paged<Option<u16>>);

impl OfTable {
    /// The class that an identity was given.
    #[must_use]
    pub fn get(&self, identity: Identity) -> Option<u16> {
        self.0.get(identity as usize)
    }

    /// How many identities have one.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The class of an identity.
    #[must_use]
    pub fn class(&self, identity: Identity) -> u16 {
        self.get(identity).unwrap_or(0)
    }

    /// All, by identity.
    pub fn iter(&self) -> impl Iterator<Item = (Identity, u16)> + '_ {
        let classes = self.0.iter();
        classes.filter_map(|(it, class)| Some((Identity::try_from(it).ok()?, class?)))
    }

    /// Gives identities their classes; which of these they did not have yet. Class 0 is what nobody is given.
    pub(super) fn insert(
        &mut self,
        classes: impl Iterator<Item = (Identity, usize)>,
    ) -> Vec<(Identity, u16)> {
        // Rows have been counted when the table was laid out.
        let classes = classes.filter_map(|(it, class)| Some((it, u16::try_from(class).ok()?)));
        let classes = classes.filter(|&(_, class)| class != 0);
        classes
            .filter(|&(it, class)| self.0.set(it as usize, Some(class)) != Some(class))
            .collect()
    }

    /// True if somebody who moves from one identity to another (of these pairs) is told apart; one that has no class now had one
    /// before.
    pub(super) fn tells_apart(
        &self,
        before: &Self,
        moves: &BTreeSet<(Identity, Identity)>,
    ) -> bool {
        let class = |identity| self.get(identity).unwrap_or_else(|| before.class(identity));
        moves.iter().any(|&(old, new)| class(old) != class(new))
    }

    /// Forgets the classes of identities; which of them had one.
    pub(super) fn remove(&mut self, identities: impl Iterator<Item = Identity>) -> Vec<Identity> {
        identities
            .filter(|&identity| self.0.set(identity as usize, None).is_some())
            .collect()
    }
}

impl Classes {
    /// How many there are, in all tables.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Those in one table.
    #[must_use]
    pub fn of(&self, table: u32) -> OfTable {
        self.of_tables.get(&table).cloned().unwrap_or_default()
    }

    /// All, by table and identity.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Identity, u16)> + '_ {
        let tables = self.of_tables.iter();
        tables.flat_map(|(&table, of)| of.iter().map(move |(it, class)| (table, it, class)))
    }

    /// Changes what is in a table where it lies.
    pub(super) fn change<R>(&mut self, table: u32, how: impl FnOnce(&mut OfTable) -> R) -> R {
        let of_table = self.of_tables.entry(table).or_default();
        let before = of_table.len();
        let done = how(of_table);
        let len = of_table.len();
        self.len = self.len + len - before;
        if len == 0 {
            self.of_tables.remove(&table);
        }
        done
    }

    /// What is in a table from now on.
    pub(super) fn put(&mut self, table: u32, of_table: OfTable) {
        let len = of_table.len();
        let before = if len == 0 {
            self.of_tables.remove(&table)
        } else {
            self.of_tables.insert(table, of_table)
        };
        self.len = self.len + len - before.map_or(0, |before| before.len());
    }

    /// Forgets a table; whose classes were in it.
    pub(super) fn remove_table(&mut self, table: u32) -> Vec<Identity> {
        let of_table = self.of_tables.remove(&table).unwrap_or_default();
        self.len -= of_table.len();
        of_table.iter().map(|(identity, _)| identity).collect()
    }
}

/// What was read, class 0 too: it is somebody else's, and to be found.
impl FromIterator<(u32, Identity, u16)> for Classes {
    fn from_iter<T: IntoIterator<Item = (u32, Identity, u16)>>(all: T) -> Self {
        let mut of_tables: BTreeMap<u32, OfTable> = BTreeMap::new();
        for (table, identity, class) in all {
            let of_table = of_tables.entry(table).or_default();
            of_table.0.set(identity as usize, Some(class));
        }
        Self {
            len: of_tables.values().map(OfTable::len).sum(),
            of_tables: of_tables.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_was_never_removed() {
        let all = [(1, 7, 3), (1, 8, 1), (2, 7, 5)];
        let mut classes: Classes = all.into_iter().collect();
        let before = classes.of(1);
        let again = classes.change(1, |it| it.insert([(7, 3), (8, 2), (9, 0)].into_iter()));
        assert_eq!(again, [(8, 2)], "it has the first, and nobody is given 0");
        assert_eq!(before.class(8), 1, "a copy");
        assert_eq!(classes.iter().count(), classes.len());
        assert_eq!((classes.of(1).class(8), classes.of(2).get(8)), (2, None));
        let mut second = classes.of(2);
        assert_eq!(second.remove([6, 7].into_iter()), [7]);
        assert_eq!(second.remove([7].into_iter()), [] as [Identity; 0]);
        classes.put(2, second);
        assert_eq!(classes, [(1, 7, 3), (1, 8, 2)].into_iter().collect());
        assert_eq!(classes.remove_table(1), [7, 8]);
        assert_eq!(classes, Classes::default());
    }
}
