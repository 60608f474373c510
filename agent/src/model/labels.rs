//! Labels and the queries over them.

use std::collections::{BTreeMap, BTreeSet};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// A label query: all of its requirements must hold; none at all selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// What must hold, sorted and without repetition.
    pub requirements: BTreeSet<Requirement>,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What its value must be.
    pub operator: Operator,
}

/// The four operators of Kubernetes' set-based requirements.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The label exists and its value is one of these.
    In(BTreeSet<String>),
    /// The label is absent, or its value is none of these.
    NotIn(BTreeSet<String>),
    /// The label exists.
    Exists,
    /// The label is absent.
    DoesNotExist,
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
            requirements: BTreeSet::from([Requirement {
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
        ] {
            assert_eq!(selector.matches(&labels), expect, "{selector:?}");
        }
    }
}
