//! Which blocks hold an address or a network.

use std::collections::{BTreeSet, HashMap};

use ipnet::IpNet;

use super::{
    address::{canonical_net, shortened},
    fact::{Fact, FactId, Facts},
};

/// Blocks, found by what they hold.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    by_cidr: HashMap<IpNet, Vec<(Vec<IpNet>, FactId)>>,
    /// Lengths that occur, of IPv4 and of IPv6.
    lengths: [BTreeSet<u8>; 2],
}

impl Blocks {
    /// All blocks among these facts.
    pub(super) fn new(facts: &Facts) -> Self {
        let mut blocks = Self::default();
        for (id, fact) in facts.iter() {
            let Fact::Block(block) = fact else { continue };
            blocks.lengths[family(block.cidr)].insert(block.cidr.prefix_len());
            blocks
                .by_cidr
                .entry(block.cidr)
                .or_default()
                .push((block.except.clone(), id));
        }
        blocks
    }

    /// The blocks that hold all of a network of which no part is told apart; sorted.
    pub(super) fn holding(&self, net: IpNet) -> Vec<FactId> {
        let net = canonical_net(net);
        let mut found = Vec::new();
        for &length in self.lengths[family(net)].range(..=net.prefix_len()) {
            for (except, id) in self
                .by_cidr
                .get(&shortened(net, length))
                .into_iter()
                .flatten()
            {
                if !except.iter().any(|except| except.contains(&net)) {
                    found.push(*id);
                }
            }
        }
        found.sort_unstable();
        found
    }
}

const fn family(net: IpNet) -> usize {
    match net {
        IpNet::V4(_) => 0,
        IpNet::V6(_) => 1,
    }
}
