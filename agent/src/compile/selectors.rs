//! Many selectors against one set of labels, without trying them all.

use std::collections::HashMap;

use crate::model::{Labels, Operator, Selector};

/// Selectors with a number each. A selector is filed under one label that it cannot do without, if there
/// is one, so that labels find the few that may match them.
#[derive(Debug, Default)]
pub(super) struct SelectorIndex<'a> {
    keyed: HashMap<&'a str, Keyed<'a>>,
    rest: Vec<Filed<'a>>,
}

type Filed<'a> = (&'a Selector, usize);

#[derive(Debug, Default)]
struct Keyed<'a> {
    values: HashMap<&'a str, Vec<Filed<'a>>>,
    any: Vec<Filed<'a>>,
}

impl<'a> SelectorIndex<'a> {
    /// Adds a selector.
    pub(super) fn insert(&mut self, selector: &'a Selector, number: usize) {
        let mut exists = None;
        for requirement in &selector.requirements {
            match &requirement.operator {
                Operator::In(values) => {
                    let keyed = self.keyed.entry(&requirement.key).or_default();
                    for value in values {
                        keyed
                            .values
                            .entry(value)
                            .or_default()
                            .push((selector, number));
                    }
                    return;
                }
                Operator::Exists => exists = Some(requirement.key.as_str()),
                Operator::NotIn(_) | Operator::DoesNotExist => {}
            }
        }
        match exists {
            Some(key) => self
                .keyed
                .entry(key)
                .or_default()
                .any
                .push((selector, number)),
            None => self.rest.push((selector, number)),
        }
    }

    /// The numbers of those that match, ascending.
    pub(super) fn matching(&self, labels: &Labels) -> Vec<usize> {
        let mut found: Vec<usize> = matching(&self.rest, labels).collect();
        for (key, value) in labels {
            let Some(keyed) = self.keyed.get(key.as_str()) else {
                continue;
            };
            found.extend(matching(&keyed.any, labels));
            if let Some(filed) = keyed.values.get(value.as_str()) {
                found.extend(matching(filed, labels));
            }
        }
        found.sort_unstable();
        found
    }
}

fn matching(filed: &[Filed<'_>], labels: &Labels) -> impl Iterator<Item = usize> {
    filed
        .iter()
        .filter(|(selector, _)| selector.matches(labels))
        .map(|&(_, number)| number)
}
