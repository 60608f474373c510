//! Addresses: which identity each gets, without changing a verdict on the way.

use std::collections::{BTreeMap, BTreeSet};

use imbl::OrdMap;
use ipnet::IpNet;
use ringfence_common::identity::{ENCAPSULATES, Identity, POD, UNKNOWN};

use super::{
    digest::{self, Digest},
    plan::{Builder, Full, Op, fits},
    tables::TableIds,
};
use crate::compile::{Desired, Signature, encapsulates, is_pod};

/// What became of the identities.
pub(super) struct Identities {
    /// Number of the signature of each identity that addresses were given.
    pub(super) signatures: BTreeMap<Identity, usize>,
    /// Those that are new.
    pub(super) new: BTreeSet<Identity>,
    /// (old, new) identity of every address that moves; one that was not listed has the identity of the network
    /// around it.
    pub(super) moves: BTreeSet<(Identity, Identity)>,
}

/// Identities that mean the same, by number of the signature.
pub(super) type Candidates = BTreeMap<usize, Vec<Identity>>;

impl Builder<'_> {
    /// Gives every wanted address an identity.
    pub(super) fn addresses(
        &mut self,
        desired: &Desired,
        tables: &TableIds,
    ) -> Result<Identities, Full> {
        let numbers: BTreeMap<Digest, usize> = desired
            .signatures
            .iter()
            .map(|(&number, signature)| (digest::signature(signature), number))
            .collect();
        let mut candidates = Candidates::new();
        if let Some(&unknown) = numbers.get(&digest::signature(&Vec::new())) {
            candidates.insert(unknown, vec![UNKNOWN]);
        }
        for (&identity, digest) in &self.installed.identities {
            if let Some(&number) = numbers.get(digest) {
                candidates.entry(number).or_default().push(identity);
            }
        }
        let targets: BTreeMap<IpNet, usize> = desired
            .addresses
            .iter()
            .map(|(&net, &signature)| (net, signature))
            .chain(self.unlisted(desired, self.installed.addresses.keys()))
            .collect();
        let identities = self.assign(desired, targets, candidates, tables);
        self.check_addresses()?;
        self.check_identities()?;
        Ok(identities)
    }

    /// Gives these addresses the identities of these signatures.
    ///
    /// An address keeps its identity as long as that means the same. Otherwise it gets one that means the new thing
    /// *and* has the same class as the old one in every table that leaves: one of those there are, or a new one.
    pub(super) fn assign(
        &mut self,
        desired: &Desired,
        targets: BTreeMap<IpNet, usize>,
        mut candidates: Candidates,
        tables: &TableIds,
    ) -> Identities {
        let mut identities = Identities {
            signatures: BTreeMap::from([(UNKNOWN, 0)]),
            new: BTreeSet::new(),
            moves: BTreeSet::new(),
        };
        let mut chosen: BTreeMap<(Identity, usize), Identity> = BTreeMap::new();
        // The longest first: what a network holds must have moved before the network around it does.
        let mut targets: Vec<(IpNet, usize)> = targets.into_iter().collect();
        targets.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
        for (net, signature) in targets {
            let old = self.before(&net);
            let new = match chosen.get(&(old, signature)) {
                Some(&identity) => identity,
                None => {
                    let candidates = candidates.entry(signature).or_default();
                    let identity =
                        self.known_identity(old, candidates, tables)
                            .unwrap_or_else(|| {
                                let text = desired.signatures.get(&signature);
                                let digest = digest::signature(text.unwrap_or(&Vec::new()));
                                let kind = text.map_or(0, kind);
                                let identity = self.new_identity(old, (digest, kind), tables);
                                candidates.push(identity);
                                identities.new.insert(identity);
                                identity
                            });
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
        identities
    }

    /// The identity that packets of this address have now.
    fn before(&self, net: &IpNet) -> Identity {
        if let Some(&identity) = self.installed.addresses.get(net) {
            return identity;
        }
        around(&self.installed.addresses, net).unwrap_or(UNKNOWN)
    }

    /// One of these identities that leaving tables treat like `old`.
    fn known_identity(
        &self,
        old: Identity,
        candidates: &[Identity],
        tables: &TableIds,
    ) -> Option<Identity> {
        if candidates.contains(&old) {
            return Some(old);
        }
        let same = |candidate: &Identity| {
            tables.leaving.iter().all(|&table| {
                self.after.classes.of(table).class(*candidate)
                    == self.installed.classes.of(table).class(old)
            })
        };
        candidates.iter().copied().find(same)
    }

    /// A new identity of this meaning (digest, and [`kind`]), that leaving tables treat like `old`.
    fn new_identity(
        &mut self,
        old: Identity,
        (digest, kind): (Digest, Identity),
        tables: &TableIds,
    ) -> Identity {
        self.after.last.identity += 1;
        let identity = self.after.last.identity | kind;
        self.after.identities.insert(identity, digest);
        self.beside.push(Op::Identity(identity, digest));
        for &table in &tables.leaving {
            let class = self.installed.classes.of(table).class(old);
            self.classes_in(table, [(identity, class.into())].into_iter());
        }
        identity
    }

    /// Those of these that are no longer listed, with the signature that each must get: that of the network around it.
    /// It goes only when no packet can meet an old table any more: then its going changes nothing.
    pub(super) fn unlisted<'n>(
        &self,
        desired: &Desired,
        nets: impl Iterator<Item = &'n IpNet>,
    ) -> Vec<(IpNet, usize)> {
        nets.filter(|net| !desired.addresses.contains_key(*net))
            .map(|net| (*net, around(&desired.addresses, net).unwrap_or(0)))
            .collect()
    }

    fn check_addresses(&self) -> Result<(), Full> {
        // Networks that go are there until after the swap.
        let gone = self
            .installed
            .addresses
            .keys()
            .filter(|net| !self.after.addresses.contains_key(*net));
        let mut counts = Counts::default();
        for net in self.after.addresses.keys().chain(gone) {
            counts.add(net);
        }
        self.check_counts(counts)
    }

    /// Checks that so many addresses and networks fit.
    pub(super) fn check_counts(&self, counts: Counts) -> Result<(), Full> {
        for (family, addresses, networks) in [
            (0, "ADDRESSES4", "NETWORKS4"),
            (1, "ADDRESSES6", "NETWORKS6"),
        ] {
            fits(
                addresses,
                "--address-entries",
                counts.exact[family],
                self.limits.addresses,
            )?;
            fits(
                networks,
                "--network-entries",
                counts.networks[family],
                self.limits.networks,
            )?;
        }
        Ok(())
    }

    /// Checks that identities fit.
    pub(super) fn check_identities(&self) -> Result<(), Full> {
        fits(
            "IDENTITIES",
            "--identity-entries",
            self.after.identities.len(),
            self.limits.identities,
        )
    }

    /// Gives every identity in use its class in every wanted table.
    pub(super) fn classes(
        &mut self,
        desired: &Desired,
        tables: &TableIds,
        identities: &Identities,
    ) -> Result<(), Full> {
        for (number, &id) in &tables.wanted {
            let table = &desired.tables[number];
            let signatures = identities.signatures.iter();
            let classes = signatures.map(|(&identity, &it)| (identity, table.class(it)));
            self.classes_in(id, classes);
        }
        self.check_classes(self.after.classes.len())
    }

    /// Gives identities their classes in a table; how many entries more that takes.
    pub(super) fn classes_in(
        &mut self,
        table: u32,
        classes: impl Iterator<Item = (Identity, usize)>,
    ) -> usize {
        let before = self.after.classes.len();
        let written = self.after.classes.change(table, |it| it.insert(classes));
        let written = written.into_iter();
        self.beside
            .extend(written.map(|(it, class)| Op::Class(table, it, class)));
        self.after.classes.len() - before
    }

    /// Checks that so many classes fit.
    pub(super) fn check_classes(&self, most: usize) -> Result<(), Full> {
        fits("CLASSES", "--class-entries", most, self.limits.classes)
    }

    /// Removes, after the grace period, what nothing points at any more.
    pub(super) fn retire(&mut self, tables: &TableIds) {
        let used: BTreeSet<Identity> = self.after.addresses.values().copied().collect();
        let leaving: BTreeSet<u32> = tables.leaving.iter().copied().collect();
        let mut gone: BTreeMap<u32, Vec<Identity>> = BTreeMap::new();
        for (table, identity, _) in self.after.classes.iter() {
            if leaving.contains(&table) || !used.contains(&identity) {
                gone.entry(table).or_default().push(identity);
            }
        }
        for (table, identities) in gone {
            self.remove_classes(table, identities.into_iter());
        }
        self.remove_tables(tables);
        let gone: Vec<_> = self
            .after
            .identities
            .keys()
            .copied()
            .filter(|identity| !used.contains(identity))
            .collect();
        for identity in gone {
            self.remove_identity(identity);
        }
    }

    /// Forgets what classes these have in a table.
    pub(super) fn remove_classes(&mut self, table: u32, of: impl Iterator<Item = Identity>) {
        let removed = self.after.classes.change(table, |it| it.remove(of));
        let removed = removed.into_iter();
        self.remove
            .extend(removed.map(|identity| Op::RemoveClass(table, identity)));
    }

    pub(super) fn remove_tables(&mut self, tables: &TableIds) {
        for &table in &tables.leaving {
            self.after.tables.remove(&table);
            self.remove.push(Op::RemoveTable(table));
        }
    }

    pub(super) fn remove_identity(&mut self, identity: Identity) {
        self.after.identities.remove(&identity);
        self.remove.push(Op::RemoveIdentity(identity));
    }
}

/// How many exact addresses and how many networks there are, of IPv4 and of IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    exact: [usize; 2],
    networks: [usize; 2],
}

impl Counts {
    /// One more.
    pub(super) fn add(&mut self, net: &IpNet) {
        *self.of(net) += 1;
    }

    /// One less.
    pub(super) fn remove(&mut self, net: &IpNet) {
        let count = self.of(net);
        *count = count.saturating_sub(1);
    }

    fn of(&mut self, net: &IpNet) -> &mut usize {
        let family = usize::from(matches!(net, IpNet::V6(_)));
        if net.prefix_len() == net.max_prefix_len() {
            &mut self.exact[family]
        } else {
            &mut self.networks[family]
        }
    }
}

/// The bits of identities of this meaning.
fn kind(signature: &Signature) -> Identity {
    match (is_pod(signature), encapsulates(signature)) {
        (false, _) => 0,
        (true, false) => POD,
        (true, true) => POD | ENCAPSULATES,
    }
}

/// What belongs to the longest network around this one.
fn around<T: Copy>(addresses: &OrdMap<IpNet, T>, net: &IpNet) -> Option<T> {
    std::iter::successors(net.supernet(), IpNet::supernet)
        .find_map(|wider| addresses.get(&wider).copied())
}
