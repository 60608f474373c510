//! Signatures: what the addresses have in common, kept up to date.

use std::sync::Arc;

use hashbrown::HashMap;
use imbl::OrdMap;
use ipnet::IpNet;

use super::{
    Signature,
    counted::{Counted, Settled},
    evaluator::{Evaluator, Touched},
    fact::{FactId, Facts},
};
use crate::model::Objects;

/// What the addresses have in common.
#[derive(Debug)]
pub(super) struct Signatures {
    /// [`super::Desired::signatures`].
    pub(super) texts: Objects<usize, Signature>,
    /// [`super::Desired::addresses`].
    pub(super) addresses: OrdMap<IpNet, usize>,
    counted: Counted<Vec<FactId>>,
    /// For each fact the signatures that have it, ascending.
    having: HashMap<FactId, Vec<usize>>,
    /// For each fact its text, while a signature has it.
    words: HashMap<FactId, Arc<str>>,
}

/// Signatures that are new or gone, with their facts.
pub(super) type Changes = Vec<(usize, Arc<Vec<FactId>>)>;

impl Signatures {
    /// Only that of unlisted addresses, of which nothing is known: number 0.
    pub(super) fn new() -> Self {
        let mut counted = Counted::default();
        let unknown = counted.add(Vec::new());
        counted.settle();
        Self {
            texts: [(unknown, Signature::new())].into_iter().collect(),
            addresses: OrdMap::new(),
            counted,
            having: HashMap::new(),
            words: HashMap::new(),
        }
    }

    /// Looks again at these addresses and networks. What is new, and what is gone.
    pub(super) fn update(
        &mut self,
        evaluator: &Evaluator,
        touched: &Touched,
    ) -> (Changes, Changes) {
        let mut nets = touched.nets.clone();
        for &block in &touched.blocks {
            // What a network holds comes right after it.
            let within = self.addresses.range(block..).map(|(&net, _)| net);
            nets.extend(within.take_while(|net| block.contains(net)));
        }
        for net in &nets {
            let before = match evaluator.facts_of_net(*net) {
                Some(facts) => {
                    let now = self.counted.add(facts);
                    let before = self.addresses.get(net).copied();
                    if before != Some(now) {
                        self.addresses.insert(*net, now);
                    }
                    before
                }
                None => self.addresses.remove(net),
            };
            if let Some(before) = before {
                self.counted.release(before);
            }
        }
        let Settled { born, dead, .. } = self.counted.settle();
        for (number, facts) in &dead {
            self.texts.remove(number);
            for fact in &**facts {
                if let Some(having) = self.having.get_mut(fact) {
                    if let Ok(at) = having.binary_search(number) {
                        having.remove(at);
                    }
                    if having.is_empty() {
                        self.having.remove(fact);
                        self.words.remove(fact);
                    }
                }
            }
        }
        let born: Changes = born
            .into_iter()
            .filter_map(|number| Some((number, Arc::clone(self.counted.get(number)?))))
            .collect();
        for (number, facts) in &born {
            let text = self.text(facts, &evaluator.facts);
            self.texts.insert(*number, text);
            for &fact in &**facts {
                // No number is given out twice: it is the largest.
                self.having.entry(fact).or_default().push(*number);
            }
        }
        (born, dead)
    }

    /// The signatures of which one of these facts holds, with each that does; sorted.
    pub(super) fn having(&self, facts: &[FactId]) -> Vec<(usize, FactId)> {
        let mut having: Vec<(usize, FactId)> = Vec::new();
        for fact in facts {
            let signatures = self.having.get(fact).into_iter().flatten();
            having.extend(signatures.map(|&signature| (signature, *fact)));
        }
        having.sort_unstable();
        having
    }

    fn text(&mut self, signature: &[FactId], facts: &Facts) -> Signature {
        let mut text: Signature = signature
            .iter()
            .map(|&id| {
                let word = self.words.entry(id).or_insert_with(|| {
                    facts
                        .get(id)
                        .map(ToString::to_string)
                        .unwrap_or_default()
                        .into()
                });
                Arc::clone(word)
            })
            .collect();
        text.sort_unstable();
        text
    }
}
