//! The metadata firewall's set: no plan writes it, for it is the same on every node.

use std::collections::BTreeMap;

use ringfence_common::{
    V6,
    metadata::{MetadataWord, SIEVE_WORDS, sieve_bit},
};

use crate::{
    dataplane::{
        KernelError,
        maps::{Maps, mapped, refused, unmapped},
    },
    metadata,
};

/// What was not as it must be: the kind, and what it was.
pub(super) type Wrong = (&'static str, String);

/// Makes the set what it must be; what it was not. The sieve comes first, for what it does not let through is not looked up.
///
/// # Errors
///
/// If a map cannot be read or written.
pub(super) fn settle(maps: &mut Maps) -> Result<Vec<Wrong>, KernelError> {
    let wanted: BTreeMap<V6, MetadataWord> = metadata::catalogue()
        .iter()
        .zip(0_u8..)
        .map(|(endpoint, bit)| {
            let address = mapped(endpoint.address);
            (address, MetadataWord::new(&address, bit, endpoint.open, 0))
        })
        .collect();
    let mut wrong = Vec::new();
    sieve(maps, wanted.keys(), &mut wrong)?;
    let trouble = |error| refused("METADATA", &error);
    let found: BTreeMap<V6, MetadataWord> = maps
        .metadata
        .iter()
        .collect::<Result<_, _>>()
        .map_err(trouble)?;
    for (address, word) in &wanted {
        let kind = match found.get(address) {
            Some(there) if there == word => continue,
            Some(_) => "changed",
            None => "missing",
        };
        maps.metadata.insert(address, word, 0).map_err(trouble)?;
        wrong.push((kind, told(*address)));
    }
    for address in found.keys().filter(|found| !wanted.contains_key(*found)) {
        maps.metadata.remove(address).map_err(trouble)?;
        wrong.push(("unknown", told(*address)));
    }
    Ok(wrong)
}

fn sieve<'a>(
    maps: &mut Maps,
    addresses: impl Iterator<Item = &'a V6>,
    wrong: &mut Vec<Wrong>,
) -> Result<(), KernelError> {
    let mut sieve = [0_u64; SIEVE_WORDS];
    for address in addresses {
        let bit = sieve_bit(address);
        sieve[(bit / 64) as usize] |= 1 << (bit % 64);
    }
    let trouble = |error| refused("METADATA_SIEVE", &error);
    for (at, bits) in (0..).zip(sieve) {
        if maps.metadata_sieve.get(&at, 0).map_err(trouble)? != bits {
            maps.metadata_sieve.set(at, bits, 0).map_err(trouble)?;
            wrong.push(("changed", format!("word {at} of the metadata sieve")));
        }
    }
    Ok(())
}

fn told(address: V6) -> String {
    format!("metadata address {}", unmapped(address))
}
