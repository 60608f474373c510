//! Labels and the queries over them.

use std::{
    collections::BTreeMap,
    fmt, ops,
    sync::{Arc, LazyLock},
};

use super::Set;

/// Labels of an object: keys, each once and ascending, with their values. A clone is a pointer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[Label]>);

/// One label.
type Label = (Arc<str>, Arc<str>);

/// A label query: all of its requirements must hold; none at all selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// What must hold, sorted and without repetition.
    pub requirements: Set<Requirement>,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What its value must be.
    pub operator: Operator,
}

/// The four operators of Kubernetes' set-based requirements, and one of our own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label exists and its value is one of these.
    In(Set<String>),
    /// The label is absent, or its value is none of these.
    NotIn(Set<String>),
    /// The label exists.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is absent or empty: what no tenant's namespace has. No object says it.
    Blank,
}

// === impl Labels ===

impl Labels {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(it, _)| (**it).cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// True if there is such a label.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
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

    /// Keys and values, by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Puts a label, over one that may be there.
    pub fn insert(&mut self, key: String, value: String) {
        self.extend([(key, value)]);
    }

    /// True if both are one in memory.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The same labels made of these texts.
    #[must_use]
    pub(super) fn map(&self, mut text: impl FnMut(&Arc<str>) -> Arc<str>) -> Self {
        let labels = self.0.iter();
        Self(
            labels
                .map(|(key, value)| (text(key), text(value)))
                .collect(),
        )
    }

    /// How many have these very labels in memory.
    pub(super) fn users(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl Default for Labels {
    fn default() -> Self {
        /// Most objects have none of some kind.
        static NONE: LazyLock<Labels> = LazyLock::new(|| Labels(Arc::new([])));
        NONE.clone()
    }
}

impl ops::Index<&str> for Labels {
    type Output = str;

    fn index(&self, key: &str) -> &str {
        self.get(key).expect("the label is there")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(labels: I) -> Self {
        let mut all = Self::default();
        all.extend(labels);
        all
    }
}

impl<const N: usize> From<[(String, String); N]> for Labels {
    fn from(labels: [(String, String); N]) -> Self {
        labels.into_iter().collect()
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        labels.into_iter().collect()
    }
}

impl Extend<(String, String)> for Labels {
    fn extend<I: IntoIterator<Item = (String, String)>>(&mut self, labels: I) {
        let before = self.0.iter().cloned();
        let new = labels
            .into_iter()
            .map(|(key, value)| (Arc::from(key), Arc::from(value)));
        // The last of a key counts.
        let all: BTreeMap<Arc<str>, Arc<str>> = before.chain(new).collect();
        self.0 = all.into_iter().collect();
    }
}

impl Selector {
    /// True if these labels satisfy every requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.contains(value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Blank => value.is_none_or(str::is_empty),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_label_satisfies_not_in_and_nothing_satisfies_in_without_values() {
        let labels = Labels::from([("app".to_owned(), "db".to_owned())]);
        let one = |key: &str, operator| Selector {
            requirements: Set::from([Requirement {
                key: key.to_owned(),
                operator,
            }]),
        };
        let values = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect();
        for (selector, expect) in [
            (Selector::default(), true),
            (one("app", Operator::In(values(&["db", "web"]))), true),
            (one("app", Operator::In(values(&[]))), false),
            (one("app", Operator::NotIn(values(&["db"]))), false),
            (one("tier", Operator::NotIn(values(&["db"]))), true),
            (one("tier", Operator::Exists), false),
            (one("app", Operator::Exists), true),
            (one("tier", Operator::DoesNotExist), true),
            (one("app", Operator::DoesNotExist), false),
            (one("app", Operator::Blank), false),
            (one("tier", Operator::Blank), true),
        ] {
            assert_eq!(selector.matches(&labels), expect, "{selector:?}");
        }
    }
}
