//! Classes of identities, table by table.

use std::collections::BTreeMap;

use imbl::OrdMap;
use ringfence_common::identity::Identity;

/// The class of each identity in each table, where it is not 0. A copy shares what is large, and a table goes in one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// No table is empty.
    of_tables: OrdMap<u32, OrdMap<Identity, u16>>,
    len: usize,
}

/// The classes in one table.
#[derive(Clone, Copy, Debug)]
pub struct OfTable<'a>(Option<&'a OrdMap<Identity, u16>>);

impl<'a> OfTable<'a> {
    /// The class that an identity was given.
    #[must_use]
    pub fn get(self, identity: Identity) -> Option<u16> {
        self.0?.get(&identity).copied()
    }

    /// The class of an identity.
    #[must_use]
    pub fn class(self, identity: Identity) -> u16 {
        self.get(identity).unwrap_or(0)
    }

    /// All, by identity.
    pub fn iter(self) -> impl Iterator<Item = (Identity, u16)> + 'a {
        let classes = self.0.into_iter().flatten();
        classes.map(|(&identity, &class)| (identity, class))
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
    pub fn of(&self, table: u32) -> OfTable<'_> {
        OfTable(self.of_tables.get(&table))
    }

    /// All, by table and identity.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Identity, u16)> + '_ {
        let tables = self.of_tables.iter();
        tables.flat_map(|(&table, of)| of.iter().map(move |(&it, &class)| (table, it, class)))
    }

    /// Gives identities their classes in a table; which of these they did not have yet. Class 0 is what nobody is given.
    pub(super) fn insert(
        &mut self,
        table: u32,
        classes: impl Iterator<Item = (Identity, u16)>,
    ) -> Vec<(Identity, u16)> {
        let mut classes = classes.filter(|&(_, class)| class != 0).peekable();
        if classes.peek().is_none() {
            return Vec::new();
        }
        let of_table = self.of_tables.entry(table).or_default();
        let before = of_table.len();
        let new = classes
            .filter(|&(identity, class)| of_table.insert(identity, class) != Some(class))
            .collect();
        self.len += of_table.len() - before;
        new
    }

    /// Forgets the classes of identities in a table; which of them had one.
    pub(super) fn remove(
        &mut self,
        table: u32,
        identities: impl Iterator<Item = Identity>,
    ) -> Vec<Identity> {
        let Some(of_table) = self.of_tables.get_mut(&table) else {
            return Vec::new();
        };
        let gone: Vec<Identity> = identities
            .filter(|identity| of_table.remove(identity).is_some())
            .collect();
        self.len -= gone.len();
        if of_table.is_empty() {
            self.of_tables.remove(&table);
        }
        gone
    }

    /// Forgets a table; whose classes were in it.
    pub(super) fn remove_table(&mut self, table: u32) -> impl Iterator<Item = Identity> + use<> {
        let of_table = self.of_tables.remove(&table).unwrap_or_default();
        self.len -= of_table.len();
        of_table.into_iter().map(|(identity, _)| identity)
    }
}

/// What was read, class 0 too: it is somebody else's, and to be found.
impl FromIterator<(u32, Identity, u16)> for Classes {
    fn from_iter<T: IntoIterator<Item = (u32, Identity, u16)>>(all: T) -> Self {
        let mut of_tables: BTreeMap<u32, OrdMap<Identity, u16>> = BTreeMap::new();
        for (table, identity, class) in all {
            of_tables.entry(table).or_default().insert(identity, class);
        }
        Self {
            len: of_tables.values().map(OrdMap::len).sum(),
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
        let again = classes.insert(1, [(7, 3), (8, 2), (9, 0)].into_iter());
        assert_eq!(again, [(8, 2)], "it has the first, and nobody is given 0");
        assert_eq!(classes.iter().count(), classes.len());
        assert_eq!((classes.of(1).class(8), classes.of(2).get(8)), (2, None));
        assert_eq!(classes.remove(2, [6, 7].into_iter()), [7]);
        assert_eq!(classes.remove(2, [7].into_iter()), [] as [Identity; 0]);
        assert_eq!(classes, [(1, 7, 3), (1, 8, 2)].into_iter().collect());
        assert_eq!(classes.remove_table(1).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(classes, Classes::default());
    }
}
