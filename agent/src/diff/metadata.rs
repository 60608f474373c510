//! The metadata firewall's set: addresses, their ports, and which bit of a grant is which endpoint's.
//!
//! **Invariant.** An address that is denied before and after a change is at no step open to a pod that has no grant for it
//! before or after, unless one of them is an audit. An endpoint keeps the bit that its addresses have; an address that gets another
//! one is nobody's until every packet sees the new grants.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ringfence_common::{
    V6,
    metadata::{Grants, MetadataWord, PortKey, SIEVE_WORDS, mapped, sieve_bit},
};

use super::{
    installed::{Installed, METADATA, METADATA_PORTS},
    plan::{Builder, Full, Op, fits},
};
use crate::compile::{Access, Denied, Desired, Metadata};

/// The bit that no grant has.
pub const NOBODY: u8 = 31;

/// The bit of each endpoint that has an address. Others need none: there is nothing to reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits(BTreeMap<Arc<str>, u8>);

/// Ports of one list, with their protocols' numbers.
type Ports = BTreeSet<(u8, u16)>;

impl Bits {
    /// The bits that endpoints have, or get next.
    #[must_use]
    pub fn of(installed: &Installed, metadata: &Metadata) -> Self {
        let mut bits = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (&address, denied) in &metadata.addresses {
            let known = installed.metadata.get(&key(address));
            let bit = known.map_or(NOBODY, |word| bit(*word));
            if bit != NOBODY && !bits.contains_key(&denied.endpoint) && taken.insert(bit) {
                bits.insert(denied.endpoint.clone(), bit);
            }
        }
        let used: BTreeSet<u8> = installed.metadata.values().map(|it| bit(*it)).collect();
        for denied in metadata.addresses.values() {
            if bits.contains_key(&denied.endpoint) {
                continue;
            }
            let free = || (0..NOBODY).filter(|bit| !taken.contains(bit));
            let fresh = free().find(|bit| !used.contains(bit)).or(free().next());
            // More endpoints than bits: it is nobody's.
            let Some(bit) = fresh else { break };
            taken.insert(bit);
            bits.insert(denied.endpoint.clone(), bit);
        }
        Self(bits)
    }

    /// What the kernel calls this access.
    #[must_use]
    pub fn grants(&self, access: &Access) -> Grants {
        let mask = |names: &BTreeSet<Arc<str>>| {
            let bits = names.iter().filter_map(|name| self.0.get(name));
            bits.fold(0, |mask, bit| mask | 1_u32 << bit)
        };
        Grants::new(mask(&access.reach), mask(&access.ask))
    }

    /// The endpoints that these grants reach.
    #[must_use]
    pub fn names(&self, grants: Grants) -> Vec<String> {
        let reached = |bit: &u8| grants.reach() >> bit & 1 == 1;
        let names = self.0.iter().filter(|(_, bit)| reached(bit));
        names.map(|(name, _)| name.to_string()).collect()
    }

    fn word(&self, address: IpAddr, denied: &Denied, list: u16) -> MetadataWord {
        let bit = self.0.get(&denied.endpoint).copied().unwrap_or(NOBODY);
        MetadataWord::new(&key(address), bit, denied.open, list)
    }
}

/// The operations that deny what is not denied yet, to everybody: what holds until there is a plan.
#[must_use]
pub fn deny_missing(installed: &Installed, metadata: &Metadata) -> Vec<Op> {
    let mut lists = Lists::of(installed);
    let mut ops = Vec::new();
    let mut after: BTreeMap<V6, MetadataWord> = installed
        .metadata
        .iter()
        .map(|(address, word)| (*address, *word))
        .collect();
    let mut words = Vec::new();
    for (&address, denied) in &metadata.addresses {
        if installed.metadata.contains_key(&key(address)) {
            continue;
        }
        let Ok(list) = lists.number(denied, &mut ops) else {
            continue;
        };
        let word = MetadataWord::new(&key(address), NOBODY, denied.open, list);
        after.insert(key(address), word);
        words.push(Op::Metadata(key(address), word));
    }
    let sieve = sieve(after.keys());
    ops.extend((0..).zip(sieve).map(|(at, bits)| Op::Sieve(at, bits)));
    ops.extend(words);
    ops
}

impl Builder<'_> {
    /// Denies what is new, before anything else; what is no longer denied goes last.
    pub(super) fn metadata(&mut self, desired: &Desired) -> Result<Bits, Full> {
        let metadata = &desired.metadata;
        let bits = Bits::of(self.installed, metadata);
        let mut lists = Lists::of(self.installed);
        let before = &self.installed.metadata;
        let mut words = BTreeMap::new();
        let mut ops = Vec::new();
        for (&address, denied) in &metadata.addresses {
            let list = lists.number(denied, &mut ops)?;
            words.insert(key(address), bits.word(address, denied, list));
        }
        let all: BTreeSet<&V6> = before.keys().chain(words.keys()).collect();
        fits(
            "METADATA",
            "fewer addresses in the MetadataFirewall",
            all.len(),
            METADATA,
        )?;
        let (old, both, new) = (
            sieve(before.keys()),
            sieve(all.into_iter()),
            sieve(words.keys()),
        );
        ops.extend(differing(&old, &both));
        let mut moved = false;
        for (&address, &word) in &words {
            let known = before.get(&address).copied();
            if known == Some(word) {
                continue;
            }
            let moves = known.is_some_and(|known| bit(known) != bit(word));
            if moves && bit(word) != NOBODY {
                if known.is_some_and(|known| bit(known) != NOBODY) {
                    moved = true;
                    let nobodys = MetadataWord(word.0 & !0x1f | u64::from(NOBODY));
                    ops.push(Op::Metadata(address, nobodys));
                }
                // Whoever has read an old grant must be through before the new bit counts.
                self.forget.push(Op::Metadata(address, word));
            } else {
                ops.push(Op::Metadata(address, word));
            }
        }
        if moved {
            // Whoever has read an old word must be through before new grants count.
            ops.push(Op::Grace);
        }
        for &address in before.keys() {
            if !words.contains_key(&address) {
                self.forget.push(Op::RemoveMetadata(address));
            }
        }
        self.forget.extend(differing(&both, &new));
        let used: BTreeSet<u16> = words.values().map(|word| word.list()).collect();
        let (kept, gone): (Vec<PortKey>, Vec<PortKey>) =
            lists.keys().partition(|key| used.contains(&key.list));
        fits(
            "METADATA_PORTS",
            "fewer ports in the MetadataFirewall",
            kept.len() + gone.len(),
            METADATA_PORTS,
        )?;
        self.remove
            .extend(gone.into_iter().map(Op::RemoveMetadataPort));
        self.first.extend(ops);
        self.after.metadata = words.into_iter().collect();
        self.after.metadata_ports = kept.into_iter().collect();
        Ok(bits)
    }
}

impl Builder<'_> {
    /// Whether what has no grant is denied. An audit begins before any grant is taken away, and ends when those that are given are in
    /// force: who may before and after a change may at every step of it. Goes behind what swaps.
    pub(super) fn metadata_audit(&mut self, desired: &Desired) {
        let audited = desired.metadata.audited;
        if audited == self.installed.metadata_audited {
            return;
        }
        let op = Op::MetadataAudit(audited);
        if audited {
            self.first.insert(0, op);
        } else {
            self.swap.push(op);
        }
        self.after.metadata_audited = audited;
    }
}

/// Lists of ports by number. A list never changes while an address has it.
struct Lists(BTreeMap<u16, Ports>);

impl Lists {
    fn of(installed: &Installed) -> Self {
        let mut lists: BTreeMap<u16, Ports> = BTreeMap::new();
        for key in &installed.metadata_ports {
            let list = lists.entry(key.list).or_default();
            list.insert((key.protocol, key.port));
        }
        Self(lists)
    }

    /// The list of what is denied; 0 if that is everything. A new one is written first.
    fn number(&mut self, denied: &Denied, ops: &mut Vec<Op>) -> Result<u16, Full> {
        let Some(ports) = &denied.ports else {
            return Ok(0);
        };
        let ports: Ports = ports
            .iter()
            .map(|(protocol, port)| (protocol.number(), *port))
            .collect();
        if let Some((&list, _)) = self.0.iter().find(|(_, known)| **known == ports) {
            return Ok(list);
        }
        let mut free = 1..=u16::MAX;
        let list = free.find(|it| !self.0.contains_key(it)).ok_or(Full {
            map: "METADATA_PORTS",
            needed: self.0.len() + 1,
            limit: usize::from(u16::MAX),
            flag: "fewer ports in the MetadataFirewall",
        })?;
        ops.extend(keys_of(list, &ports).map(Op::MetadataPort));
        self.0.insert(list, ports);
        Ok(list)
    }

    fn keys(&self) -> impl Iterator<Item = PortKey> {
        let lists = self.0.iter();
        lists.flat_map(|(list, ports)| keys_of(*list, ports))
    }
}

fn keys_of(list: u16, ports: &Ports) -> impl Iterator<Item = PortKey> {
    let ports = ports.iter();
    ports.map(move |&(protocol, port)| PortKey {
        list,
        port,
        protocol,
        _pad: [0; 3],
    })
}

fn key(address: IpAddr) -> V6 {
    match address {
        IpAddr::V4(address) => mapped(&address.octets()),
        IpAddr::V6(address) => address.octets(),
    }
}

/// The number of a word's bit.
fn bit(word: MetadataWord) -> u8 {
    word.0.to_le_bytes()[0] & 31
}

/// What the sieve lets through if these addresses are in the set.
pub(super) fn sieve<'a>(addresses: impl Iterator<Item = &'a V6>) -> [u64; SIEVE_WORDS] {
    let mut sieve = [0_u64; SIEVE_WORDS];
    for address in addresses {
        let bit = sieve_bit(address);
        sieve[(bit / 64) as usize] |= 1 << (bit % 64);
    }
    sieve
}

fn differing(before: &[u64; SIEVE_WORDS], after: &[u64; SIEVE_WORDS]) -> Vec<Op> {
    let words = (0..).zip(before.iter().zip(after));
    words
        .filter(|(_, (before, after))| before != after)
        .map(|(at, (_, after))| Op::Sieve(at, *after))
        .collect()
}
