//! Whose nodes addresses are.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use crate::model::{Labels, Node, Snapshot};

/// Nodes by address.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    by_address: HashMap<IpAddr, Vec<Arc<Node>>>,
    /// What this node itself listens to, whatever its object says.
    own_addresses: BTreeSet<IpAddr>,
    /// Objects that name one of these.
    own: Vec<Arc<Node>>,
}

impl Nodes {
    /// Takes what differs; addresses of which something else may be so now.
    pub(super) fn update(&mut self, old: &Snapshot, new: &Snapshot) -> BTreeSet<IpAddr> {
        let mut touched = BTreeSet::new();
        for difference in old.nodes.differences(&new.nodes) {
            for address in addresses(difference.old) {
                if let Some(nodes) = self.by_address.get_mut(&address) {
                    nodes.retain(|node| node.name != *difference.key);
                    if nodes.is_empty() {
                        self.by_address.remove(&address);
                    }
                }
                touched.insert(address);
            }
            for address in addresses(difference.new) {
                let nodes = self.by_address.entry(address).or_default();
                nodes.extend(difference.new.cloned());
                touched.insert(address);
            }
        }
        if old.node_addresses != new.node_addresses {
            let own = new.node_addresses.iter().map(IpAddr::to_canonical);
            let before = std::mem::replace(&mut self.own_addresses, own.collect());
            touched.extend(before);
            touched.extend(&self.own_addresses);
        }
        if !touched.is_empty() {
            let found = self
                .own_addresses
                .iter()
                .filter_map(|it| self.by_address.get(it));
            let mut own: Vec<Arc<Node>> = found.flatten().cloned().collect();
            own.sort_by(|one, other| one.name.cmp(&other.name));
            own.dedup_by(|one, other| one.name == other.name);
            if own != self.own {
                self.own = own;
                touched.extend(&self.own_addresses);
            }
        }
        touched
    }

    /// True for a node's address.
    pub(super) fn is_node(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address) || self.own_addresses.contains(&address)
    }

    /// True for an address that a node's object names.
    pub(super) fn is_named(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Labels of the nodes whose an address is.
    pub(super) fn labels(&self, address: IpAddr) -> impl Iterator<Item = &Labels> + Clone {
        let own = self.own_addresses.contains(&address);
        let own = own.then_some(&self.own).into_iter().flatten();
        let named = self.by_address.get(&address).into_iter().flatten();
        named.chain(own).map(|node| &node.labels)
    }

    /// All addresses of nodes.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.by_address.keys().chain(&self.own_addresses).copied()
    }
}

fn addresses(node: Option<&Arc<Node>>) -> BTreeSet<IpAddr> {
    let addresses = node.into_iter().flat_map(|node| &node.addresses);
    addresses.map(IpAddr::to_canonical).collect()
}
