//! Small sets that take as little memory as they can.

use std::{borrow::Borrow, collections::BTreeSet, ops, sync::Arc};

/// A set that does not change: ascending, each once. A clone is a pointer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set<T>(Arc<[T]>);

impl<T> Set<T> {
    /// True if this is among them.
    pub fn contains<Q: Ord + ?Sized>(&self, item: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.0.binary_search_by(|it| it.borrow().cmp(item)).is_ok()
    }

    /// How many have this very set in memory.
    pub(super) fn users(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl<T> ops::Deref for Set<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Ord> From<BTreeSet<T>> for Set<T> {
    fn from(items: BTreeSet<T>) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for Set<T> {
    fn from(items: [T; N]) -> Self {
        BTreeSet::from(items).into()
    }
}

impl<T: Ord> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        items.into_iter().collect::<BTreeSet<T>>().into()
    }
}

impl<'a, T> IntoIterator for &'a Set<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
