//! What is said of addresses besides identities: nodes', Services', and whose pods of this node they are.

use std::{collections::BTreeSet, net::IpAddr};

use imbl::{OrdMap, ordset::DiffItem};
use ringfence_common::service::node;

use super::{
    installed::{LOCALS, NODE_ADDRESSES},
    plan::{Builder, Full, Op, fits},
};
use crate::compile::Desired;

impl Builder<'_> {
    /// Nodes' addresses and translated destinations. None of it is judged by alone, so it changes with the addresses.
    pub(super) fn surroundings(&mut self, desired: &Desired) -> Result<(), Full> {
        let nodes: OrdMap<IpAddr, u8> = desired
            .other_nodes
            .iter()
            .map(|&address| {
                let broadcast = desired.broadcasts.contains(&address);
                let bits = if broadcast { node::BROADCAST } else { 0 };
                (address, node::OTHER | bits)
            })
            .chain(
                desired
                    .node_addresses
                    .iter()
                    .map(|&address| (address, node::OWN)),
            )
            .collect();
        fits(
            "NODE_ADDRESSES",
            "fewer addresses of nodes",
            nodes.len(),
            NODE_ADDRESSES,
        )?;
        fits(
            "SERVICES",
            "--service-entries",
            desired.services.len(),
            self.limits.services,
        )?;
        for (&address, &bits) in &nodes {
            if self.installed.node_addresses.get(&address) != Some(&bits) {
                self.addresses.push(Op::NodeAddress(address, bits));
            }
        }
        for &address in self.installed.node_addresses.keys() {
            if !nodes.contains_key(&address) {
                self.addresses.push(Op::RemoveNodeAddress(address));
            }
        }
        self.after.node_addresses = nodes;
        for item in self.installed.services.diff(&desired.services) {
            self.addresses.push(match item {
                DiffItem::Add(&new) => Op::Service(new),
                DiffItem::Remove(&old) => Op::RemoveService(old),
            });
        }
        self.after.services.clone_from(&desired.services);
        Ok(())
    }

    /// The addresses of this node's pods. One that goes is forgotten after the swap: until then its pod may send.
    pub(super) fn locals(&mut self, locals: OrdMap<IpAddr, u16>) -> Result<(), Full> {
        let all: BTreeSet<_> = locals.keys().chain(self.installed.locals.keys()).collect();
        fits("LOCALS", "fewer pods on the node", all.len(), LOCALS)?;
        for (&address, &place) in &locals {
            if self.installed.locals.get(&address) != Some(&place) {
                self.beside.push(Op::Local(address, place));
            }
        }
        for &address in self.installed.locals.keys() {
            if !locals.contains_key(&address) {
                self.forget.push(Op::RemoveLocal(address));
            }
        }
        self.after.locals = locals;
        Ok(())
    }
}
