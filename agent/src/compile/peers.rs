//! Which facts about pods hold of whom.

use std::collections::HashMap;

use super::{
    fact::{Fact, FactId, Facts, Scope, is_of_accounts},
    selectors::SelectorIndex,
};
use crate::model::{Labels, Selector};

/// Facts about pods, found by namespace and labels.
#[derive(Debug, Default)]
pub(super) struct PeerIndex {
    /// About the pods of one namespace.
    named: HashMap<String, SelectorIndex>,
    /// About the pods of namespaces that are selected: each selector of namespaces once.
    numbers: HashMap<Selector, usize>,
    scopes: HashMap<usize, (Selector, SelectorIndex)>,
    by_labels: SelectorIndex,
    next: usize,
}

impl PeerIndex {
    /// Adds a fact; one that is not about pods is not kept.
    pub(super) fn insert(&mut self, id: FactId, fact: &Fact) {
        let Fact::Pods {
            namespaces, pods, ..
        } = fact
        else {
            return;
        };
        match namespaces {
            Scope::Named(name) => {
                let index = self.named.entry(name.clone()).or_default();
                index.insert(pods, id);
            }
            Scope::Selected(selector) => {
                let number = *self.numbers.entry(selector.clone()).or_insert_with(|| {
                    self.next += 1;
                    self.by_labels.insert(selector, self.next);
                    self.next
                });
                let scope = self.scopes.entry(number);
                let (_, index) =
                    scope.or_insert_with(|| (selector.clone(), SelectorIndex::default()));
                index.insert(pods, id);
            }
        }
    }

    /// Removes a fact that was added with this number.
    pub(super) fn remove(&mut self, id: FactId, fact: &Fact) {
        let Fact::Pods {
            namespaces, pods, ..
        } = fact
        else {
            return;
        };
        match namespaces {
            Scope::Named(name) => {
                if let Some(index) = self.named.get_mut(name) {
                    index.remove(pods, id);
                    if index.is_empty() {
                        self.named.remove(name);
                    }
                }
            }
            Scope::Selected(selector) => {
                let Some(&number) = self.numbers.get(selector) else {
                    return;
                };
                if let Some((_, index)) = self.scopes.get_mut(&number) {
                    index.remove(pods, id);
                    if index.is_empty() {
                        self.scopes.remove(&number);
                        self.numbers.remove(selector);
                        self.by_labels.remove(selector, number);
                    }
                }
            }
        }
    }

    /// What holds of pods with these labels in this namespace, in no order.
    pub(super) fn matching(
        &self,
        facts: &Facts,
        (namespace, of_namespace): (&str, &Labels),
        labels: &Labels,
        account: &str,
    ) -> Vec<FactId> {
        let mut found = Vec::new();
        let mut try_all = |index: &SelectorIndex| {
            found.extend(index.candidates(labels).filter(|&id| {
                let Some(Fact::Pods { pods, accounts, .. }) = facts.get(id) else {
                    return false;
                };
                pods.matches(labels) && is_of_accounts(account, accounts)
            }));
        };
        if let Some(index) = self.named.get(namespace) {
            try_all(index);
        }
        for number in self.by_labels.candidates(of_namespace) {
            if let Some((selector, index)) = self.scopes.get(&number)
                && selector.matches(of_namespace)
            {
                try_all(index);
            }
        }
        found
    }
}
