//! A map that costs nothing to copy and whose differences cost what differs.

use std::{borrow::Borrow, collections::BTreeSet, fmt, ops, sync::Arc};

use imbl::{OrdMap, ordmap};

/// An ordered map of shared values. A clone is a pointer; a change copies only the way to it; comparing two maps skips
/// what they share, so finding what an event changed costs what it changed.
pub struct Objects<K, V>(OrdMap<K, Arc<V>>);

/// One difference between two maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// What was there.
    pub old: Option<&'a Arc<V>>,
    /// What is there.
    pub new: Option<&'a Arc<V>>,
}

impl<K, V> Objects<K, V> {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self(OrdMap::new())
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.0 = OrdMap::new();
    }
}

impl<K: Ord, V> Objects<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shared(key).map(|value| &**value)
    }

    /// The value of a key, to keep.
    pub fn shared<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.0.get(key)
    }

    /// A key with its value.
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.0
            .get_key_value(key)
            .map(|(key, value)| (key, &**value))
    }

    /// True if there is such a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// All, in the order of their keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter(self.0.iter())
    }

    /// Keys, ascending.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// Values, in the order of their keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// All from a key on.
    pub fn from_key<'a>(&'a self, first: &K) -> impl Iterator<Item = (&'a K, &'a Arc<V>)> {
        self.0.range::<_, K>(first..)
    }
}

impl<K: Ord + Clone, V> Objects<K, V> {
    /// Puts a value.
    pub fn insert(&mut self, key: K, value: V) {
        self.0.insert(key, Arc::new(value));
    }

    /// Puts a value that somebody else has too.
    pub fn share(&mut self, key: K, value: Arc<V>) {
        self.0.insert(key, value);
    }

    /// Puts a value unless it is there already; true if it was not.
    pub fn set(&mut self, key: K, value: V) -> bool
    where
        V: PartialEq,
    {
        if self.get(&key) == Some(&value) {
            return false;
        }
        self.insert(key, value);
        true
    }

    /// Removes a key; what it had.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: Borrow<Q>,
    {
        self.0.remove(key)
    }

    /// A value to change; it is copied if others have it too.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        self.0.get_mut(key).map(Arc::make_mut)
    }
}

impl<K: Ord, V: Eq> Objects<K, V> {
    /// What differs in `newer`, in the order of the keys. Skips what both share.
    pub fn differences<'a>(
        &'a self,
        newer: &'a Self,
    ) -> impl Iterator<Item = Difference<'a, K, V>> {
        self.0.diff(&newer.0).map(|item| match item {
            ordmap::DiffItem::Add(key, new) => Difference {
                key,
                old: None,
                new: Some(new),
            },
            ordmap::DiffItem::Update { old, new } => Difference {
                key: new.0,
                old: Some(old.1),
                new: Some(new.1),
            },
            ordmap::DiffItem::Remove(key, old) => Difference {
                key,
                old: Some(old),
                new: None,
            },
        })
    }

    /// Keys that are in one of them only, or have another value.
    #[must_use]
    pub fn changed_keys<'a>(&'a self, newer: &'a Self) -> BTreeSet<&'a K> {
        self.differences(newer).map(|it| it.key).collect()
    }
}

impl<K, V> Clone for Objects<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Default for Objects<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord, V: Eq> PartialEq for Objects<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.0.diff(&other.0).next().is_none()
    }
}

impl<K: Ord, V: Eq> Eq for Objects<K, V> {}

impl<K: Ord + fmt::Debug, V: fmt::Debug> fmt::Debug for Objects<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> ops::Index<&Q> for Objects<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is there")
    }
}

impl<K: Ord + Clone, V> FromIterator<(K, V)> for Objects<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        let items = items.into_iter();
        Self(items.map(|(key, value)| (key, Arc::new(value))).collect())
    }
}

impl<K: Ord + Clone, V, const N: usize> From<[(K, V); N]> for Objects<K, V> {
    fn from(items: [(K, V); N]) -> Self {
        items.into_iter().collect()
    }
}

impl<K: Ord + Clone, V> Extend<(K, V)> for Objects<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, items: I) {
        for (key, value) in items {
            self.insert(key, value);
        }
    }
}

/// A list, numbered from 0.
impl<V> From<Vec<V>> for Objects<usize, V> {
    fn from(list: Vec<V>) -> Self {
        list.into_iter().enumerate().collect()
    }
}

impl<V> FromIterator<V> for Objects<usize, V> {
    fn from_iter<I: IntoIterator<Item = V>>(items: I) -> Self {
        items.into_iter().enumerate().collect()
    }
}

impl<'a, K: Ord, V> IntoIterator for &'a Objects<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

/// Goes through [`Objects`].
pub struct Iter<'a, K, V>(ordmap::Iter<'a, K, Arc<V>, imbl::shared_ptr::DefaultSharedPtr>);

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'a, K: Ord, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key, &**value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<K: Ord, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|(key, value)| (key, &**value))
    }
}

impl<K: Ord, V> ExactSizeIterator for Iter<'_, K, V> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_what_differs() {
        let old: Objects<u32, u32> = (0..1000).map(|key| (key, key)).collect();
        let mut new = old.clone();
        assert_eq!(old, new);
        new.insert(7, 8);
        new.remove(&500);
        new.insert(2000, 1);
        // The same value anew is no difference.
        new.insert(900, 900);
        let found: Vec<_> = old
            .differences(&new)
            .map(|it| (*it.key, it.old.map(|it| **it), it.new.map(|it| **it)))
            .collect();
        assert_eq!(
            found,
            [
                (7, Some(7), Some(8)),
                (500, Some(500), None),
                (2000, None, Some(1))
            ]
        );
        assert_ne!(old, new);
        assert_eq!(old.len(), 1000, "a copy is a copy");
    }
}
