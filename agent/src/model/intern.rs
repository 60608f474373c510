//! Equal parts of objects, each once in memory: pods of one workload have most of theirs in common, policies their
//! selectors.

use std::{borrow::Borrow, collections::HashSet, hash::Hash, sync::Arc};

use super::{ContainerPort, Labels, Owner, Peer, Pod, Policy, Requirement, Set};

/// Parts that are in use. Those that only it has are forgotten from time to time.
#[derive(Debug, Default)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
    labels: HashSet<Labels>,
    ports: HashSet<Arc<[ContainerPort]>>,
    owners: HashSet<Arc<Owner>>,
    selectors: HashSet<Set<Requirement>>,
    /// As many as there may be until unused ones are looked for.
    limit: usize,
}

/// Fewer are not worth looking for.
const LEAST: usize = 1024;

impl Interner {
    /// Shares what a pod has in common with others.
    pub fn pod(&mut self, pod: &mut Pod) {
        self.labels(&mut pod.labels);
        share(&mut self.ports, &mut pod.ports);
        share(&mut self.texts, &mut pod.service_account);
        if let Some(node) = &mut pod.node {
            share(&mut self.texts, node);
        }
        if let Some(owner) = &mut pod.owner {
            share(&mut self.owners, owner);
        }
        self.sweep();
    }

    /// Shares what a policy has in common with others.
    pub fn policy(&mut self, policy: &mut Policy) {
        share(&mut self.selectors, &mut policy.subject.requirements);
        let rules = [&mut policy.ingress, &mut policy.egress];
        let rules = rules.into_iter().flatten().flatten();
        for peer in rules.flat_map(|rule| &mut rule.peers).flatten() {
            if let Peer::Pods { namespaces, pods } = peer {
                share(&mut self.selectors, &mut pods.requirements);
                if let Some(namespaces) = namespaces {
                    share(&mut self.selectors, &mut namespaces.requirements);
                }
            }
        }
        self.sweep();
    }

    fn labels(&mut self, labels: &mut Labels) {
        if let Some(known) = self.labels.get(labels) {
            labels.clone_from(known);
            return;
        }
        let texts = &mut self.texts;
        *labels = labels.map(|text| {
            let mut text = Arc::clone(text);
            share(texts, &mut text);
            text
        });
        self.labels.insert(labels.clone());
    }

    /// Forgets what nobody else has, whenever there is twice as much as the last time.
    fn sweep(&mut self) {
        if self.len() < self.limit.max(LEAST) {
            return;
        }
        self.labels.retain(|labels| labels.users() > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.ports.retain(|ports| Arc::strong_count(ports) > 1);
        self.owners.retain(|owner| Arc::strong_count(owner) > 1);
        self.selectors.retain(|selector| selector.users() > 1);
        self.limit = 2 * self.len();
    }

    fn len(&self) -> usize {
        self.texts.len()
            + self.labels.len()
            + self.ports.len()
            + self.owners.len()
            + self.selectors.len()
    }
}

/// Replaces a part by the equal one that is known, or makes it known.
fn share<T: Clone + Eq + Hash + Borrow<T>>(known: &mut HashSet<T>, part: &mut T) {
    match known.get(part) {
        Some(known) => part.clone_from(known),
        None => {
            known.insert(part.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_labels_are_one_and_unused_ones_go() {
        let mut interner = Interner::default();
        let pod = |value: usize| Pod {
            labels: Labels::from([("app".to_owned(), value.to_string())]),
            ..Pod::default()
        };
        let mut kept = pod(0);
        interner.pod(&mut kept);
        for value in 0..10 * LEAST {
            interner.pod(&mut pod(value));
        }
        let mut again = pod(0);
        interner.pod(&mut again);
        assert!(again.labels.is_same(&kept.labels));
        assert!(interner.len() < 2 * LEAST);
    }
}
