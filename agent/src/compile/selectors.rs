//! Many selectors against one set of labels, without trying them all.

use std::collections::HashMap;

use crate::model::{Labels, Operator, Selector};

/// Numbers of selectors. Each is filed under one label that it cannot do without, if there is one, so that labels find
/// the few that may match them.
#[derive(Debug, Default)]
pub(super) struct SelectorIndex {
    keyed: HashMap<String, Keyed>,
    rest: Vec<usize>,
}

#[derive(Debug, Default)]
struct Keyed {
    values: HashMap<String, Vec<usize>>,
    any: Vec<usize>,
}

/// Where a selector is filed.
enum Place<'a> {
    /// Under each of these values of a key; under none if there are none: then it matches nothing.
    Values(&'a str, Vec<&'a str>),
    /// Under a key.
    Key(&'a str),
    /// Nowhere: it may match whatever there is.
    Rest,
}

impl SelectorIndex {
    /// Adds a selector.
    pub(super) fn insert(&mut self, selector: &Selector, number: usize) {
        match place(selector) {
            Place::Values(key, values) => {
                let keyed = self.keyed.entry(key.to_owned()).or_default();
                for value in values {
                    let filed = keyed.values.entry(value.to_owned()).or_default();
                    filed.push(number);
                }
            }
            Place::Key(key) => {
                let keyed = self.keyed.entry(key.to_owned()).or_default();
                keyed.any.push(number);
            }
            Place::Rest => self.rest.push(number),
        }
    }

    /// Removes a selector that was added with this number.
    pub(super) fn remove(&mut self, selector: &Selector, number: usize) {
        let (key, values) = match place(selector) {
            Place::Values(key, values) => (key, Some(values)),
            Place::Key(key) => (key, None),
            Place::Rest => return strike(&mut self.rest, number),
        };
        let Some(keyed) = self.keyed.get_mut(key) else {
            return;
        };
        match values {
            Some(values) => {
                for value in values {
                    if let Some(filed) = keyed.values.get_mut(value) {
                        strike(filed, number);
                        if filed.is_empty() {
                            keyed.values.remove(value);
                        }
                    }
                }
            }
            None => strike(&mut keyed.any, number),
        }
        if keyed.values.is_empty() && keyed.any.is_empty() {
            self.keyed.remove(key);
        }
    }

    /// Numbers of those that may match, each once; all others do not.
    pub(super) fn candidates<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = usize> + 'a {
        let keyed = labels.iter().flat_map(|(key, value)| {
            let keyed = self.keyed.get(key);
            let values = keyed.and_then(|keyed| keyed.values.get(value));
            let any = keyed.map(|keyed| &keyed.any);
            values.into_iter().chain(any).flatten()
        });
        self.rest.iter().chain(keyed).copied()
    }

    /// True if there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.keyed.is_empty() && self.rest.is_empty()
    }
}

fn place(selector: &Selector) -> Place<'_> {
    let mut place = Place::Rest;
    for requirement in &selector.requirements {
        match &requirement.operator {
            Operator::In(values) => {
                let values = values.iter().map(String::as_str).collect();
                return Place::Values(&requirement.key, values);
            }
            Operator::Exists => place = Place::Key(&requirement.key),
            Operator::NotIn(_) | Operator::DoesNotExist | Operator::Blank => {}
        }
    }
    place
}

fn strike(filed: &mut Vec<usize>, number: usize) {
    filed.retain(|&it| it != number);
}
