//! What a change of zones may have changed for others.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::blocks;
use crate::model::{Enforcement, IpBlock, Members, Zone};

/// What a change of zones may have changed.
#[derive(Debug, Default)]
pub(in crate::compile) struct Changes {
    /// Of whom workloads may be.
    pub(in crate::compile) workloads: bool,
    /// Of what nodes are.
    pub(in crate::compile) nodes: bool,
    /// Networks that are named, or were.
    pub(in crate::compile) nets: BTreeSet<IpNet>,
    /// What is in these networks.
    pub(in crate::compile) blocks: Vec<IpNet>,
    /// What zones say of whoever is in them.
    pub(in crate::compile) meaning: bool,
    /// Verdicts begin to count different zones, or end to.
    pub(in crate::compile) flipped: bool,
}

impl Changes {
    /// Notes what the change of one zone may change.
    pub(super) fn note(&mut self, old: Option<&Zone>, new: Option<&Zone>) {
        let counting = |zone: Option<&Zone>| {
            zone.filter(|zone| zone.enforcement != Enforcement::Disabled)
                .map(|zone| zone.enforcement)
        };
        let same = counting(old) == counting(new);
        let parts = |zone: Option<&Zone>, of: fn(&Members) -> bool| -> Vec<Members> {
            let members = zone.into_iter().flat_map(|zone| &zone.members);
            members.filter(|it| of(it)).cloned().collect()
        };
        let differ = |of: fn(&Members) -> bool| {
            let (old, new) = (parts(old, of), parts(new, of));
            old != new || !same && !new.is_empty()
        };
        self.workloads |= differ(|it| matches!(it, Members::Workloads(_)));
        self.nodes |= differ(|it| matches!(it, Members::Nodes(_)));
        let all = |zone: Option<&Zone>| -> BTreeSet<IpBlock> {
            zone.into_iter().flat_map(blocks).collect()
        };
        let (was, is) = (all(old), all(new));
        for (these, others) in [(&was, &is), (&is, &was)] {
            for block in these.iter().filter(|it| !same || !others.contains(*it)) {
                let like = others.iter().find(|it| same && it.cidr == block.cidr);
                self.differ(block, like);
            }
        }
        let meaning = |zone: Option<&Zone>| {
            zone.map(|zone| {
                let mut members = zone.members.iter();
                let networks = members.any(|it| matches!(it, Members::Networks { .. }));
                (zone.ingress, zone.egress, zone.intra_zone, networks)
            })
        };
        self.meaning |= !same || meaning(old) != meaning(new);
    }

    /// Notes a block that is there no more or was not there before, or only with other exceptions.
    fn differ(&mut self, block: &IpBlock, like: Option<&IpBlock>) {
        let Some(like) = like else {
            self.blocks.push(block.cidr);
            self.nets.insert(block.cidr);
            self.nets.extend(&block.except);
            return;
        };
        for &except in block.except.iter().filter(|it| !like.except.contains(it)) {
            self.blocks.push(except);
            self.nets.insert(except);
        }
    }
}
