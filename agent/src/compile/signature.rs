//! Signatures: what the addresses have in common, in the order of their text.

use std::collections::{BTreeMap, HashMap};

use ipnet::IpNet;

use super::{Signature, evaluator::Evaluator, fact::FactId};

/// What the addresses have in common.
#[derive(Debug)]
pub(super) struct Signatures {
    /// [`super::Desired::signatures`].
    pub(super) texts: Vec<Signature>,
    /// [`super::Desired::addresses`].
    pub(super) addresses: BTreeMap<IpNet, usize>,
    /// For each fact the signatures that have it, ascending.
    having: Vec<Vec<usize>>,
}

impl Signatures {
    /// Those of all pods' addresses and of all networks that a ruleset asks about.
    pub(super) fn new(evaluator: &Evaluator<'_>) -> Self {
        let mut by_facts: HashMap<Vec<FactId>, usize> = HashMap::from([(Vec::new(), 0)]);
        let mut raw: Vec<Vec<FactId>> = vec![Vec::new()];
        let mut number = |facts: Vec<FactId>| {
            *by_facts.entry(facts).or_insert_with_key(|facts| {
                raw.push(facts.clone());
                raw.len() - 1
            })
        };
        let mut addresses = BTreeMap::new();
        for net in evaluator.networks() {
            addresses.insert(net, number(evaluator.facts_of_net(net)));
        }
        for &address in evaluator.world.owners.keys() {
            addresses.insert(
                IpNet::from(address),
                number(evaluator.facts_of_address(address)),
            );
        }

        let words: Vec<String> = evaluator
            .facts
            .iter()
            .map(|(_, fact)| fact.to_string())
            .collect();
        let mut sorted: Vec<(Signature, usize)> = raw
            .iter()
            .enumerate()
            .map(|(index, facts)| {
                let mut text: Signature = facts.iter().map(|&fact| words[fact].clone()).collect();
                text.sort_unstable();
                (text, index)
            })
            .collect();
        sorted.sort_unstable();
        let mut having = vec![Vec::new(); words.len()];
        let mut renumbered = vec![0; raw.len()];
        for (new, &(_, old)) in sorted.iter().enumerate() {
            renumbered[old] = new;
            for &fact in &raw[old] {
                having[fact].push(new);
            }
        }
        for signature in addresses.values_mut() {
            *signature = renumbered[*signature];
        }
        Self {
            texts: sorted.into_iter().map(|(text, _)| text).collect(),
            addresses,
            having,
        }
    }

    /// The signatures of which one of these facts holds, each with those that do.
    pub(super) fn projected(&self, facts: &[FactId]) -> BTreeMap<usize, Vec<FactId>> {
        let mut projected: BTreeMap<usize, Vec<FactId>> = BTreeMap::new();
        for &fact in facts {
            for &signature in &self.having[fact] {
                projected.entry(signature).or_default().push(fact);
            }
        }
        projected
    }
}
