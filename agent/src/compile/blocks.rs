//! Which blocks hold an address or a network.

use std::collections::{BTreeMap, HashMap, btree_map::Entry};

use ipnet::IpNet;

use super::address::{canonical_net, shortened};
use crate::model::IpBlock;

/// Blocks with a number each, found by what they hold.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    by_cidr: HashMap<IpNet, Vec<(Vec<IpNet>, usize)>>,
    /// Lengths that occur, of IPv4 and of IPv6, and how often.
    lengths: [BTreeMap<u8, usize>; 2],
    /// Every network that a block names, exceptions included, and how often.
    networks: BTreeMap<IpNet, usize>,
}

impl Blocks {
    /// Adds a block.
    pub(super) fn insert(&mut self, id: usize, block: &IpBlock) {
        let lengths = &mut self.lengths[family(block.cidr)];
        *lengths.entry(block.cidr.prefix_len()).or_default() += 1;
        for &net in named(block) {
            *self.networks.entry(net).or_default() += 1;
        }
        let blocks = self.by_cidr.entry(block.cidr).or_default();
        blocks.push((block.except.clone(), id));
    }

    /// Removes a block that was added with this number.
    pub(super) fn remove(&mut self, id: usize, block: &IpBlock) {
        let lengths = &mut self.lengths[family(block.cidr)];
        less(lengths, block.cidr.prefix_len());
        for &net in named(block) {
            less(&mut self.networks, net);
        }
        if let Some(blocks) = self.by_cidr.get_mut(&block.cidr) {
            blocks.retain(|&(_, it)| it != id);
            if blocks.is_empty() {
                self.by_cidr.remove(&block.cidr);
            }
        }
    }

    /// True if a block names this network.
    pub(super) fn names(&self, net: &IpNet) -> bool {
        self.networks.contains_key(net)
    }

    /// The blocks that hold all of a network of which no part is told apart; sorted.
    pub(super) fn holding(&self, net: IpNet) -> Vec<usize> {
        let mut found: Vec<usize> = self.nested(canonical_net(net)).flatten().collect();
        found.sort_unstable();
        found
    }

    /// Of the blocks that count and hold it, those with the longest prefix; sorted.
    pub(super) fn longest(&self, net: IpNet, counts: impl Fn(usize) -> bool) -> Vec<usize> {
        let counting = self
            .nested(canonical_net(net))
            .map(|ids| ids.into_iter().filter(|&id| counts(id)).collect());
        let mut found: Vec<usize> = counting
            .filter(|ids: &Vec<usize>| !ids.is_empty())
            .last()
            .unwrap_or_default();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The blocks that hold a network, by the length of their prefix, ascending.
    fn nested(&self, net: IpNet) -> impl Iterator<Item = Vec<usize>> + '_ {
        let lengths = self.lengths[family(net)].range(..=net.prefix_len());
        lengths.map(move |(&length, _)| {
            let blocks = self.by_cidr.get(&shortened(net, length));
            let holding = blocks
                .into_iter()
                .flatten()
                .filter(|(except, _)| !except.iter().any(|except| except.contains(&net)));
            holding.map(|&(_, id)| id).collect()
        })
    }
}

/// The networks that a block names.
pub(super) fn named(block: &IpBlock) -> impl Iterator<Item = &IpNet> {
    std::iter::once(&block.cidr).chain(&block.except)
}

fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

const fn family(net: IpNet) -> usize {
    match net {
        IpNet::V4(_) => 0,
        IpNet::V6(_) => 1,
    }
}
