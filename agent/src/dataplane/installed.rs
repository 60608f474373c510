//! Reads back what the maps hold: the agent adopts what an earlier one left.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::MapError;
use imbl::OrdMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ringfence_common::{
    catalogue::NameEntry,
    endpoint::{EndpointWord, NEAR_IFINDEX},
};

use super::{
    KernelError,
    maps::{Maps, state, translated, unmapped},
};
use crate::diff::{EndpointState, Installed, Last, TableState};

fn trouble(error: MapError) -> KernelError {
    KernelError::Other(format!("cannot read the maps back: {error}"))
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Reads everything that a plan depends on.
///
/// # Errors
///
/// If a map cannot be read.
pub fn read(maps: &Maps) -> Result<Installed, KernelError> {
    let number = |at| maps.state.get(&at, 0).map_err(trouble);
    let mut installed = Installed {
        generation: number(state::GENERATION)?,
        revision: number(state::REVISION)?,
        interrupted: number(state::REVISION)? != number(state::DONE)?,
        last: Last {
            rule: narrow(number(state::RULE)?),
            endpoint: narrow(number(state::ENDPOINT)?),
            identity: narrow(number(state::IDENTITY)?),
            table: narrow(number(state::TABLE)?),
        },
        ..Installed::default()
    };
    for item in maps.rules.iter() {
        let (id, name) = item.map_err(trouble)?;
        installed.rules.insert(text(&name)?, id);
    }
    for item in maps.names.iter() {
        let (id, name) = item.map_err(trouble)?;
        installed.names.insert(text(&name)?, id);
    }
    for item in maps.identities.iter() {
        let (id, entry) = item.map_err(trouble)?;
        installed.identities.insert(id, entry.digest);
    }
    for item in maps.tables.iter() {
        let (id, entry) = item.map_err(trouble)?;
        let state = TableState {
            digest: entry.digest,
            table: entry.table,
            rows: entry.rows,
            pages: entry.page_count,
        };
        installed.tables.insert(id, state);
    }
    let mut classes = Vec::new();
    for item in maps.classes.iter() {
        let (key, word) = item.map_err(trouble)?;
        classes.push((key.table, key.identity, word.class(key).unwrap_or(0)));
    }
    installed.classes = classes.into_iter().collect();
    read_addresses(maps, &mut installed)?;
    for item in maps.grants.iter() {
        let (cgroup, bits) = item.map_err(trouble)?;
        installed.grants.insert(cgroup, bits);
    }
    for item in maps.metadata.iter() {
        let (address, word) = item.map_err(trouble)?;
        installed.metadata.insert(address, word);
    }
    for key in maps.metadata_ports.keys() {
        installed.metadata_ports.insert(key.map_err(trouble)?);
    }
    let config = maps.config.get(&0, 0).map_err(trouble)?;
    installed.metadata_audited = config.is_metadata_audited();
    installed.endpoints = read_endpoints(maps)?;
    Ok(installed)
}

fn text(entry: &NameEntry) -> Result<String, KernelError> {
    entry.as_str().map(str::to_owned).ok_or_else(|| {
        KernelError::Other("a name in the pinned maps is not text: they are not ours".to_owned())
    })
}

fn read_addresses(maps: &Maps, installed: &mut Installed) -> Result<(), KernelError> {
    let addresses = &mut installed.addresses;
    for item in maps.addresses4.iter() {
        let (address, word) = item.map_err(trouble)?;
        addresses.insert(
            IpNet::from(std::net::IpAddr::from(address)),
            word.identity(),
        );
    }
    for item in maps.addresses6.iter() {
        let (address, word) = item.map_err(trouble)?;
        addresses.insert(
            IpNet::from(std::net::IpAddr::from(address)),
            word.identity(),
        );
    }
    for item in maps.networks4.iter() {
        let (key, identity) = item.map_err(trouble)?;
        let length = u8::try_from(key.prefix_len()).unwrap_or(32).min(32);
        addresses.insert(
            Ipv4Net::new_assert(key.data().into(), length).into(),
            identity,
        );
    }
    for item in maps.networks6.iter() {
        let (key, identity) = item.map_err(trouble)?;
        let length = u8::try_from(key.prefix_len()).unwrap_or(128).min(128);
        addresses.insert(
            Ipv6Net::new_assert(key.data().into(), length).into(),
            identity,
        );
    }
    for item in maps.node_addresses.iter() {
        let (address, word) = item.map_err(trouble)?;
        installed
            .node_addresses
            .insert(unmapped(address), word.bits(&address));
    }
    for key in maps.services.keys() {
        installed
            .services
            .extend(translated(&key.map_err(trouble)?));
    }
    for item in maps.locals.iter() {
        let (address, word) = item.map_err(trouble)?;
        installed
            .locals
            .insert(unmapped(address), word.source(&address).unwrap_or(0));
    }
    Ok(())
}

fn read_endpoints(maps: &Maps) -> Result<OrdMap<u32, EndpointState>, KernelError> {
    let mut far = BTreeMap::new();
    for item in maps.far_endpoints.iter() {
        let (ifindex, word) = item.map_err(trouble)?;
        if let Some(element) = word.element(ifindex) {
            far.insert(element, ifindex);
        }
    }
    let mut endpoints = OrdMap::new();
    let elements: BTreeSet<u32> = (0..NEAR_IFINDEX).chain(far.keys().copied()).collect();
    for element in elements {
        let word = maps.endpoints.get(&element, 0).map_err(trouble)?;
        if word == EndpointWord::NONE {
            continue;
        }
        let ifindex = far.get(&element).copied().unwrap_or(element);
        let record = maps.records.get(&word.slot(), 0).map_err(trouble)?;
        endpoints.insert(
            ifindex,
            EndpointState {
                element,
                word,
                record,
            },
        );
    }
    Ok(endpoints)
}
