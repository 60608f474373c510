//! Addresses: which identity each gets, without changing a verdict on the way.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use ringfence_common::identity::{Identity, POD, UNKNOWN};

use super::{
    digest::{self, Digest},
    plan::{Builder, Full, Op, fits},
    tables::TableIds,
};
use crate::compile::{Desired, is_pod};

/// What became of the identities.
pub(super) struct Identities {
    /// Index of the signature of each identity in use.
    pub(super) signatures: BTreeMap<Identity, usize>,
    /// (old, new) identity of every address that moves; one that was not listed has the identity of the network
    /// around it.
    pub(super) moves: BTreeSet<(Identity, Identity)>,
}

impl Builder<'_> {
    /// Gives every wanted address an identity.
    ///
    /// An address keeps its identity as long as that means the same. Otherwise it gets one that means the new thing
    /// *and* has the same class as the old one in every table that leaves: one of those there are, or a new one.
    pub(super) fn addresses(
        &mut self,
        desired: &Desired,
        tables: &TableIds,
    ) -> Result<Identities, Full> {
        let digests: Vec<_> = desired.signatures.iter().map(digest::signature).collect();
        let mut by_digest: BTreeMap<Digest, Vec<Identity>> =
            BTreeMap::from([(digest::signature(&Vec::new()), vec![UNKNOWN])]);
        for (&identity, &digest) in &self.installed.identities {
            by_digest.entry(digest).or_default().push(identity);
        }
        let mut identities = Identities {
            signatures: BTreeMap::from([(UNKNOWN, 0)]),
            moves: BTreeSet::new(),
        };
        let mut chosen: BTreeMap<(Identity, usize), Identity> = BTreeMap::new();
        // The longest first: what a network holds must have moved before the network around it does.
        let mut targets: Vec<(IpNet, usize)> = self.targets(desired).into_iter().collect();
        targets.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
        for (net, signature) in targets {
            let old = self.before(&net);
            let new = match chosen.get(&(old, signature)) {
                Some(&identity) => identity,
                None => {
                    let kind = if is_pod(&desired.signatures[signature]) {
                        POD
                    } else {
                        0
                    };
                    let meaning = (digests[signature], kind);
                    let identity = self.identity_for(old, meaning, &mut by_digest, tables);
                    chosen.insert((old, signature), identity);
                    identity
                }
            };
            identities.signatures.insert(new, signature);
            if self.installed.addresses.get(&net) != Some(&new) {
                self.addresses.push(Op::Address(net, new));
            }
            if desired.addresses.contains_key(&net) {
                self.after.addresses.insert(net, new);
            } else {
                self.after.addresses.remove(&net);
                self.forget.push(Op::RemoveAddress(net));
            }
            if old != new {
                identities.moves.insert((old, new));
            }
        }
        self.check_addresses()?;
        fits(
            "IDENTITIES",
            "--identity-entries",
            self.after.identities.len(),
            self.limits.identities,
        )?;
        Ok(identities)
    }

    /// The identity that packets of this address have now.
    fn before(&self, net: &IpNet) -> Identity {
        if let Some(&identity) = self.installed.addresses.get(net) {
            return identity;
        }
        around(&self.installed.addresses, net).unwrap_or(UNKNOWN)
    }

    /// An identity of this meaning (digest, and [`POD`] if it is of pods) that leaving tables treat like `old`.
    fn identity_for(
        &mut self,
        old: Identity,
        (digest, kind): (Digest, Identity),
        by_digest: &mut BTreeMap<Digest, Vec<Identity>>,
        tables: &TableIds,
    ) -> Identity {
        let candidates = by_digest.entry(digest).or_default();
        if candidates.contains(&old) {
            return old;
        }
        let class = |classes: &BTreeMap<(u32, Identity), u16>, table, identity| {
            classes.get(&(table, identity)).copied().unwrap_or(0)
        };
        let same = |candidate: &Identity| {
            tables.leaving.iter().all(|&table| {
                class(&self.after.classes, table, *candidate)
                    == class(&self.installed.classes, table, old)
            })
        };
        if let Some(&identity) = candidates.iter().find(|candidate| same(candidate)) {
            return identity;
        }
        self.after.last.identity += 1;
        let identity = self.after.last.identity | kind;
        candidates.push(identity);
        self.after.identities.insert(identity, digest);
        self.beside.push(Op::Identity(identity, digest));
        for &table in &tables.leaving {
            let class = class(&self.installed.classes, table, old);
            if class != 0 {
                self.after.classes.insert((table, identity), class);
                self.beside.push(Op::Class(table, identity, class));
            }
        }
        identity
    }

    /// The signature that every address must get. What is no longer listed gets that of the network around it, and
    /// goes only when no packet can meet an old table any more: then its going changes nothing.
    fn targets(&self, desired: &Desired) -> BTreeMap<IpNet, usize> {
        let mut targets = desired.addresses.clone();
        for net in self.installed.addresses.keys() {
            targets
                .entry(*net)
                .or_insert_with(|| around(&desired.addresses, net).unwrap_or(0));
        }
        targets
    }

    fn check_addresses(&self) -> Result<(), Full> {
        // Networks that go are there until after the swap.
        let all: BTreeSet<_> = self
            .after
            .addresses
            .keys()
            .chain(self.installed.addresses.keys())
            .collect();
        let count = |v4: bool, exact: bool| {
            all.iter()
                .filter(|net| {
                    matches!(net, IpNet::V4(_)) == v4
                        && (net.prefix_len() == net.max_prefix_len()) == exact
                })
                .count()
        };
        for (v4, addresses, networks) in [
            (true, "ADDRESSES4", "NETWORKS4"),
            (false, "ADDRESSES6", "NETWORKS6"),
        ] {
            fits(
                addresses,
                "--address-entries",
                count(v4, true),
                self.limits.addresses,
            )?;
            fits(
                networks,
                "--network-entries",
                count(v4, false),
                self.limits.networks,
            )?;
        }
        Ok(())
    }

    /// Gives every identity in use its class in every wanted table.
    pub(super) fn classes(
        &mut self,
        desired: &Desired,
        tables: &TableIds,
        identities: &Identities,
    ) -> Result<(), Full> {
        for (table, &id) in desired.tables.iter().zip(&tables.wanted) {
            for (&identity, &signature) in &identities.signatures {
                let Ok(class) = u16::try_from(table.classes[signature]) else {
                    continue;
                };
                if class != 0 && self.after.classes.get(&(id, identity)) != Some(&class) {
                    self.after.classes.insert((id, identity), class);
                    self.beside.push(Op::Class(id, identity, class));
                }
            }
        }
        fits(
            "CLASSES",
            "--class-entries",
            self.after.classes.len(),
            self.limits.classes,
        )
    }

    /// Removes, after the grace period, what nothing points at any more.
    pub(super) fn retire(&mut self, tables: &TableIds) {
        let used: BTreeSet<Identity> = self.after.addresses.values().copied().collect();
        let keep = |&(table, identity): &(u32, Identity)| {
            !tables.leaving.contains(&table) && used.contains(&identity)
        };
        let gone: Vec<_> = self
            .after
            .classes
            .keys()
            .copied()
            .filter(|key| !keep(key))
            .collect();
        for key in gone {
            self.after.classes.remove(&key);
            self.remove.push(Op::RemoveClass(key.0, key.1));
        }
        for &table in &tables.leaving {
            self.after.tables.remove(&table);
            self.remove.push(Op::RemoveTable(table));
        }
        let gone: Vec<_> = self
            .after
            .identities
            .keys()
            .copied()
            .filter(|identity| !used.contains(identity))
            .collect();
        for identity in gone {
            self.after.identities.remove(&identity);
            self.remove.push(Op::RemoveIdentity(identity));
        }
    }
}

/// What belongs to the longest network around this one.
fn around<T: Copy>(addresses: &BTreeMap<IpNet, T>, net: &IpNet) -> Option<T> {
    std::iter::successors(net.supernet(), IpNet::supernet)
        .find_map(|wider| addresses.get(&wider).copied())
}
