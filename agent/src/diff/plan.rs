//! The plan, and the hand that writes it.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use ringfence_common::{
    V6,
    cell::{Cell, RuleId},
    endpoint::{EndpointRecord, EndpointWord, Generation, SourceWord},
    identity::Identity,
    metadata::{MetadataWord, PortKey},
    table::Page,
};

use super::{
    digest::Digest,
    installed::{Installed, Last, Limits, TableState},
    memory::Memory,
};
use crate::compile::{Desired, Translated};

/// One change of the maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Remembers numbers that are about to be used, so that no crash makes them be used twice.
    Reserve {
        /// Last generation.
        generation: Generation,
        /// Revision that this plan makes.
        revision: u64,
        /// Last numbers.
        last: Last,
    },
    /// Names a rule.
    Rule(RuleId, String),
    /// Names an endpoint.
    Name(u32, String),
    /// Describes an identity.
    Identity(Identity, Digest),
    /// Describes a table.
    Table(u32, TableState),
    /// Writes a table's pages from this one on.
    Pages(u32, Vec<Page>),
    /// Writes a table's cells from this one on.
    Cells(u32, Vec<Cell>),
    /// Says of an address what metadata endpoint it is.
    Metadata(V6, MetadataWord),
    /// Opens an address that is no metadata endpoint any more.
    RemoveMetadata(V6),
    /// Writes a word of the sieve before the metadata addresses.
    Sieve(u32, u64),
    /// Puts a port on a list of metadata ports.
    MetadataPort(PortKey),
    /// Takes it off.
    RemoveMetadataPort(PortKey),
    /// Says whether what has no grant for a metadata endpoint passes and is told of.
    MetadataAudit(bool),
    /// Gives an identity its class in a table.
    Class(u32, Identity, u16),
    /// Gives an address or a network its identity.
    Address(IpNet, Identity),
    /// Forgets an address or a network.
    RemoveAddress(IpNet),
    /// Says what an address is to nodes: bits of [`ringfence_common::service::node`].
    NodeAddress(IpAddr, u8),
    /// Removes an address that is no node's any more.
    RemoveNodeAddress(IpAddr),
    /// Adds a destination that the node translates.
    Service(Translated),
    /// Removes one.
    RemoveService(Translated),
    /// Gives an endpoint its place in `SOURCES`.
    Source(u16, SourceWord),
    /// Says which endpoint of this node has an address, by its place.
    Local(IpAddr, u16),
    /// Forgets that.
    RemoveLocal(IpAddr),
    /// Writes a record into a slot that no word names. Boxed: of thousands of changes few are records.
    Record(u32, Box<EndpointRecord>),
    /// Puts a new word into force: ifindex, element, word.
    Swap(u32, u32, EndpointWord),
    /// Forgets where the word of an interface is that has a high index; only who compares finds one too many.
    RemoveFar(u32),
    /// Grants metadata access to a cgroup.
    Grant(u64, u64),
    /// Takes it back.
    Revoke(u64),
    /// Notes that the revision is in force.
    Done(u64),
    /// Waits until no packet can still be using what was. From the first one after [`Op::Done`] on everything is in force.
    Grace,
    /// Forgets a class.
    RemoveClass(u32, Identity),
    /// Forgets a table.
    RemoveTable(u32),
    /// Forgets an identity.
    RemoveIdentity(Identity),
    /// Forgets a rule's name.
    RemoveRule(RuleId),
    /// Forgets an endpoint's name.
    RemoveName(u32),
}

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Map.
    pub map: &'static str,
    /// Entries that it would take while old and new stand side by side.
    pub needed: usize,
    /// Entries that it has.
    pub limit: usize,
    /// Flag that raises the limit.
    pub flag: &'static str,
}

/// The changes, in order, and what the maps hold after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Changes; empty if there is nothing to do.
    pub ops: Vec<Op>,
    /// What the maps hold then.
    pub after: Installed,
    /// Endpoints that get a new word.
    pub swapped: usize,
    /// What the next plan can build on.
    pub(super) memory: Memory,
}

/// How tables are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// With room to grow.
    Loose,
    /// One behind the other, wherever there is a gap.
    Close,
}

impl Packing {
    /// Plans with room to grow, and without if that does not fit.
    pub(super) fn try_both(plan: impl Fn(Self) -> Result<Plan, Full>) -> Result<Plan, Full> {
        match plan(Self::Loose) {
            Err(full) if full.map == "CELLS" => plan(Self::Close),
            planned => planned,
        }
    }
}

/// Collects a plan's operations by phase.
pub(super) struct Builder<'a> {
    pub(super) installed: &'a Installed,
    pub(super) limits: &'a Limits,
    pub(super) packing: Packing,
    pub(super) after: Installed,
    /// What denies: before everything else.
    pub(super) first: Vec<Op>,
    pub(super) beside: Vec<Op>,
    pub(super) addresses: Vec<Op>,
    pub(super) swap: Vec<Op>,
    pub(super) forget: Vec<Op>,
    pub(super) remove: Vec<Op>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(installed: &'a Installed, limits: &'a Limits, packing: Packing) -> Self {
        Self {
            installed,
            limits,
            packing,
            after: installed.clone(),
            first: Vec::new(),
            beside: Vec::new(),
            addresses: Vec::new(),
            swap: Vec::new(),
            forget: Vec::new(),
            remove: Vec::new(),
        }
    }

    /// Gives every rule a number; a name that is known keeps its own.
    pub(super) fn rules(&mut self, desired: &Desired) -> Result<(), Full> {
        let wanted: BTreeSet<&String> = desired.rules.values().collect();
        let known = self.installed;
        let gone = known.rules.keys().filter(|name| !wanted.contains(name));
        self.name_rules(wanted.iter().copied(), gone)
    }

    /// The same for names that may be new, and names that are gone.
    pub(super) fn name_rules<'n>(
        &mut self,
        wanted: impl Iterator<Item = &'n String>,
        gone: impl Iterator<Item = &'n String>,
    ) -> Result<(), Full> {
        for name in wanted {
            if self.after.rules.contains_key(name) {
                continue;
            }
            self.after.last.rule += 1;
            self.after.rules.insert(name.clone(), self.after.last.rule);
            self.beside
                .push(Op::Rule(self.after.last.rule, name.clone()));
        }
        fits(
            "RULES",
            "--rule-entries",
            self.after.rules.len(),
            self.limits.rules,
        )?;
        for name in gone {
            if let Some(id) = self.after.rules.remove(name) {
                self.remove.push(Op::RemoveRule(id));
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self, memory: Memory) -> Plan {
        let phases = [
            &self.first,
            &self.beside,
            &self.addresses,
            &self.swap,
            &self.forget,
            &self.remove,
        ];
        if phases.iter().all(|phase| phase.is_empty()) && !self.installed.interrupted {
            return Plan {
                ops: Vec::new(),
                after: self.after,
                swapped: 0,
                memory,
            };
        }
        self.after.revision += 1;
        self.after.interrupted = false;
        let swapped = self
            .swap
            .iter()
            .filter(|op| matches!(op, Op::Swap(..)))
            .count();
        let mut ops = vec![Op::Reserve {
            generation: self.after.generation,
            revision: self.after.revision,
            last: self.after.last,
        }];
        ops.extend(self.first);
        ops.extend(self.beside);
        ops.extend(self.addresses);
        ops.extend(self.swap);
        ops.push(Op::Done(self.after.revision));
        // Slots that words have left are free for the next plan, so a grace period is due for them too.
        if swapped > 0 || !self.forget.is_empty() || !self.remove.is_empty() {
            ops.push(Op::Grace);
        }
        if !self.forget.is_empty() {
            ops.extend(self.forget);
            ops.push(Op::Grace);
        }
        ops.extend(self.remove);
        Plan {
            ops,
            after: self.after,
            swapped,
            memory,
        }
    }
}

/// Checks a map's size.
pub(super) fn fits(
    map: &'static str,
    flag: &'static str,
    needed: usize,
    limit: u32,
) -> Result<(), Full> {
    let limit = limit as usize;
    if needed <= limit {
        Ok(())
    } else {
        Err(Full {
            map,
            needed,
            limit,
            flag,
        })
    }
}
