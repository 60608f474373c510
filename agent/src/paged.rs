//! A value for each of many numbers, in pages that copies share.

use std::sync::Arc;

/// Numbers of a page.
const PAGE: usize = 64;

/// A value for each number; all but a few thousand have the default, and are said to have none. Numbers that are given out one
/// after the other, as those that change together are, lie side by side: so a change costs a copy of few pages, and of the
/// list of pages, which a tree's nodes with a number each would cost several times over. A copy that nobody changes costs
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paged<V> {
    /// By number of the page; none is without values.
    pages: Arc<Vec<Page<V>>>,
    len: usize,
}

/// A page's number, and its values.
type Page<V> = (usize, Arc<[V; PAGE]>);

impl<V> Default for Paged<V> {
    fn default() -> Self {
        Self {
            pages: Arc::default(),
            len: 0,
        }
    }
}

impl<V: Copy + Default + Eq> Paged<V> {
    /// How many numbers have one.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if none has.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a number.
    #[must_use]
    pub fn get(&self, number: usize) -> V {
        match self.page(number) {
            Ok(at) => self.pages[at].1[number % PAGE],
            Err(_) => V::default(),
        }
    }

    /// Gives a number a value; which it had before.
    pub fn set(&mut self, number: usize, value: V) -> V {
        let none = V::default();
        let before = self.get(number);
        if before == value {
            return before;
        }
        let at = self.page(number);
        let pages = Arc::make_mut(&mut self.pages);
        let at = at.unwrap_or_else(|at| {
            pages.insert(at, (number / PAGE, Arc::new([none; PAGE])));
            at
        });
        let page = Arc::make_mut(&mut pages[at].1);
        page[number % PAGE] = value;
        if value == none && page.iter().all(|&it| it == none) {
            pages.remove(at);
        }
        self.len = self.len + usize::from(value != none) - usize::from(before != none);
        before
    }

    /// All numbers that have a value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, V)> + '_ {
        let values = self.pages.iter().flat_map(|(page, values)| {
            let numbers = page * PAGE..;
            numbers.zip(values.iter().copied())
        });
        values.filter(|&(_, value)| value != V::default())
    }

    /// The numbers whose values differ. Pages that both share are not looked at.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = usize> + 'a {
        let shares = |one: &Self, page: usize, values: &Arc<[V; PAGE]>| {
            let theirs = one.pages.binary_search_by_key(&page, |&(page, _)| page);
            theirs.is_ok_and(|at| Arc::ptr_eq(values, &one.pages[at].1))
        };
        let mut pages: Vec<usize> = Vec::new();
        for (one, another) in [(self, other), (other, self)] {
            let apart = one.pages.iter();
            let apart = apart.filter(|(page, values)| !shares(another, *page, values));
            pages.extend(apart.map(|&(page, _)| page));
        }
        pages.sort_unstable();
        pages.dedup();
        let numbers = pages
            .into_iter()
            .flat_map(|page| page * PAGE..(page + 1) * PAGE);
        numbers.filter(|&number| self.get(number) != other.get(number))
    }

    /// The place of a number's page, or where it would be.
    fn page(&self, number: usize) -> Result<usize, usize> {
        let page = number / PAGE;
        match self.pages.last() {
            // Numbers come one after the other, and the newest are asked for most.
            Some((last, _)) if *last < page => Err(self.pages.len()),
            Some((last, _)) if *last == page => Ok(self.pages.len() - 1),
            _ => self.pages.binary_search_by_key(&page, |&(page, _)| page),
        }
    }
}

impl<V: Copy + Default + Eq> FromIterator<(usize, V)> for Paged<V> {
    fn from_iter<T: IntoIterator<Item = (usize, V)>>(all: T) -> Self {
        let mut paged = Self::default();
        for (number, value) in all {
            paged.set(number, value);
        }
        paged
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_says_what_a_tree_says(
            steps in prop::collection::vec((0_usize..300, 0_u16..3), 0..200),
            more in prop::collection::vec((0_usize..300, 0_u16..3), 0..9),
        ) {
            let (mut paged, mut tree) = (Paged::default(), BTreeMap::new());
            let mut set = |paged: &mut Paged<u16>, number, value| {
                let before = match value {
                    0 => tree.remove(&number),
                    value => tree.insert(number, value),
                };
                assert_eq!(paged.set(number, value), before.unwrap_or(0));
                assert!(paged.iter().eq(tree.iter().map(|(&number, &value)| (number, value))));
                assert_eq!(paged.len(), tree.len());
                assert_eq!(paged.get(number), value);
            };
            for (number, value) in steps {
                set(&mut paged, number, value);
            }
            let before = paged.clone();
            for (number, value) in more {
                set(&mut paged, number, value);
            }
            let apart: Vec<usize> = (0..400).filter(|&it| before.get(it) != paged.get(it)).collect();
            prop_assert_eq!(before.differences(&paged).collect::<Vec<_>>(), apart.clone());
            prop_assert_eq!(paged.differences(&before).collect::<Vec<_>>(), apart);
            prop_assert_eq!(&paged, &tree.into_iter().collect());
        }
    }
}
