//! Equal texts and labels, each once in memory: pods of one workload have most of theirs in common.

use std::{collections::HashSet, sync::Arc};

use super::Labels;

/// Texts and labels that are in use. Those that only it has are forgotten from time to time.
#[derive(Debug, Default)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
    labels: HashSet<Labels>,
    /// As many as there may be until unused ones are looked for.
    limit: usize,
}

/// Fewer are not worth looking for.
const LEAST: usize = 1024;

impl Interner {
    /// These labels, shared with equal ones.
    pub fn labels(&mut self, labels: &Labels) -> Labels {
        if let Some(known) = self.labels.get(labels) {
            return known.clone();
        }
        self.sweep();
        let texts = &mut self.texts;
        let interned = labels.map(|text| match texts.get(text) {
            Some(known) => Arc::clone(known),
            None => {
                texts.insert(Arc::clone(text));
                Arc::clone(text)
            }
        });
        self.labels.insert(interned.clone());
        interned
    }

    /// Forgets what nobody else has, whenever there is twice as much as the last time.
    fn sweep(&mut self) {
        if self.texts.len() + self.labels.len() < self.limit.max(LEAST) {
            return;
        }
        self.labels.retain(|labels| labels.users() > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.limit = 2 * (self.texts.len() + self.labels.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_labels_are_one_and_unused_ones_go() {
        let mut interner = Interner::default();
        let labels = |value: usize| Labels::from([("app".to_owned(), value.to_string())]);
        let kept = interner.labels(&labels(0));
        for value in 0..10 * LEAST {
            interner.labels(&labels(value));
        }
        assert!(interner.labels(&labels(0)).is_same(&kept));
        assert!(interner.labels.len() < 2 * LEAST);
    }
}
