//! Whether the maps hold what an operation writes, and what would remove what nobody wants there.

use aya::{
    Pod,
    maps::{Array, HashMap, MapData, MapError, lpm_trie::Key},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ringfence_common::{
    V6,
    catalogue::{IdentityEntry, TableEntry},
    endpoint::{FarWord, LocalWord, NEAR_IFINDEX, SourceWord},
    identity::IdentityWord,
    metadata::PortKey,
    service::{NodeWord, ServiceKey},
    table::{ClassKey, ClassWord},
};

use zerocopy::FromBytes as _;

use super::{
    KernelError,
    maps::{Maps, mapped, named, refused, service_key, state, translated, unmapped},
};
use crate::diff::{Op, TableState};

/// The hash maps and tries that a plan writes, with what a key of theirs takes.
pub(super) const KEYED: [(&str, usize); 16] = [
    ("RULES", 4),
    ("NAMES", 4),
    ("IDENTITIES", 4),
    ("TABLES", 4),
    ("CLASSES", 8),
    ("ADDRESSES4", 4),
    ("ADDRESSES6", 16),
    ("NETWORKS4", 8),
    ("NETWORKS6", 20),
    ("NODE_ADDRESSES", 16),
    ("SERVICES", 20),
    ("LOCALS", 16),
    ("GRANTS", 8),
    ("METADATA", 16),
    ("METADATA_PORTS", 8),
    ("FAR_ENDPOINTS", 4),
];

/// How an entry differs from what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Not at all.
    Same,
    /// It is not there.
    Missing,
    /// It is another one.
    Changed,
}

impl Maps {
    /// Looks whether the maps hold what this operation writes.
    ///
    /// # Errors
    ///
    /// If a map cannot be read.
    pub(super) fn find(&self, op: &Op) -> Result<Found, KernelError> {
        match op {
            Op::Reserve {
                generation,
                revision,
                last,
            } => {
                let wanted = [
                    (state::GENERATION, *generation),
                    (state::REVISION, *revision),
                    (state::RULE, last.rule.into()),
                    (state::ENDPOINT, last.endpoint.into()),
                    (state::IDENTITY, last.identity.into()),
                    (state::TABLE, last.table.into()),
                ];
                all(wanted.map(|(at, value)| element(&self.state, "STATE", at, value)))
            }
            Op::Done(revision) => element(&self.state, "STATE", state::DONE, *revision),
            Op::Rule(id, name) => entry(&self.rules, "RULES", *id, named(name)?),
            Op::Name(id, name) => entry(&self.names, "NAMES", *id, named(name)?),
            Op::Identity(id, digest) => {
                let wanted = IdentityEntry { digest: *digest };
                entry(&self.identities, "IDENTITIES", *id, wanted)
            }
            Op::Table(
                id,
                TableState {
                    digest,
                    table,
                    rows,
                    pages,
                },
            ) => {
                let wanted = TableEntry {
                    digest: *digest,
                    table: *table,
                    rows: *rows,
                    page_count: *pages,
                };
                entry(&self.tables, "TABLES", *id, wanted)
            }
            Op::Class(table, identity, class) => {
                let key = ClassKey {
                    table: *table,
                    identity: *identity,
                };
                entry(&self.classes, "CLASSES", key, ClassWord::new(key, *class))
            }
            Op::Address(net, identity) => self.find_address(net, *identity),
            Op::NodeAddress(address, bits) => {
                let key = mapped(*address);
                let word = NodeWord::new(&key, *bits);
                entry(&self.node_addresses, "NODE_ADDRESSES", key, word)
            }
            Op::Service(it) => entry(&self.services, "SERVICES", service_key(it), 1),
            Op::Local(address, place) => {
                let key = mapped(*address);
                entry(&self.locals, "LOCALS", key, LocalWord::new(&key, *place))
            }
            Op::Source(place, word) => {
                let found = element(&self.sources, "SOURCES", (*place).into(), *word)?;
                if found == Found::Same || *word == SourceWord::NONE {
                    return Ok(found);
                }
                // Whether its hook is there yet is not for a plan to say.
                element(&self.sources, "SOURCES", (*place).into(), word.guarded())
            }
            Op::Grant(cgroup, bits) => entry(&self.grants, "GRANTS", *cgroup, *bits),
            Op::Metadata(address, word) => entry(&self.metadata, "METADATA", *address, *word),
            Op::Sieve(at, bits) => element(&self.metadata_sieve, "METADATA_SIEVE", *at, *bits),
            Op::MetadataPort(key) => entry(&self.metadata_ports, "METADATA_PORTS", *key, 1),
            Op::Record(slot, record) => element(&self.records, "RECORDS", *slot, **record),
            Op::Swap(ifindex, at, word) => {
                let near = element(&self.endpoints, "ENDPOINTS", *at, *word)?;
                if near != Found::Same || *at < NEAR_IFINDEX {
                    return Ok(near);
                }
                let far = FarWord::new(*ifindex, *at);
                entry(&self.far_endpoints, "FAR_ENDPOINTS", *ifindex, far)
            }
            Op::Pages(at, pages) => all((*at..)
                .zip(pages)
                .map(|(at, page)| element(&self.pages, "PAGES", at, *page))),
            Op::Cells(at, cells) => all((*at..)
                .zip(cells)
                .map(|(at, cell)| element(&self.cells, "CELLS", at, *cell))),
            _ => Ok(Found::Same),
        }
    }

    fn find_address(&self, net: &IpNet, identity: u32) -> Result<Found, KernelError> {
        let exact = net.prefix_len() == net.max_prefix_len();
        match net {
            IpNet::V4(net) if exact => {
                let key = net.addr().octets();
                let word = IdentityWord::v4(&key, identity);
                entry(&self.addresses4, "ADDRESSES4", key, word)
            }
            IpNet::V6(net) if exact => {
                let key = net.addr().octets();
                let word = IdentityWord::v6(&key, identity);
                entry(&self.addresses6, "ADDRESSES6", key, word)
            }
            // A trie gives the longest prefix: one that is missing under a shorter one with the same identity is not seen, and
            // not missed either.
            IpNet::V4(net) => {
                let key = Key::new(net.prefix_len().into(), net.network().octets());
                compare("NETWORKS4", self.networks4.get(&key, 0), identity)
            }
            IpNet::V6(net) => {
                let key = Key::new(net.prefix_len().into(), net.network().octets());
                compare("NETWORKS6", self.networks6.get(&key, 0), identity)
            }
        }
    }
}

fn all(found: impl IntoIterator<Item = Result<Found, KernelError>>) -> Result<Found, KernelError> {
    for found in found {
        match found? {
            Found::Same => {}
            other => return Ok(other),
        }
    }
    Ok(Found::Same)
}

fn compare<V: PartialEq>(
    map: &str,
    found: Result<V, MapError>,
    wanted: V,
) -> Result<Found, KernelError> {
    match found {
        Ok(found) if found == wanted => Ok(Found::Same),
        Ok(_) => Ok(Found::Changed),
        Err(MapError::KeyNotFound) => Ok(Found::Missing),
        Err(error) => Err(refused(map, &error)),
    }
}

fn entry<K: Pod, V: Pod + PartialEq>(
    map: &HashMap<MapData, K, V>,
    name: &str,
    key: K,
    wanted: V,
) -> Result<Found, KernelError> {
    compare(name, map.get(&key, 0), wanted)
}

fn element<V: Pod + PartialEq>(
    map: &Array<MapData, V>,
    name: &str,
    at: u32,
    wanted: V,
) -> Result<Found, KernelError> {
    compare(name, map.get(&at, 0), wanted)
}

/// What would remove this key of a map; `None` if it is none.
pub(super) fn removal(map: &str, key: &[u8]) -> Option<Op> {
    let number = |at: usize| Some(u32::from_ne_bytes(key.get(at..at + 4)?.try_into().ok()?));
    let wide = || -> Option<V6> { key.try_into().ok() };
    Some(match map {
        "RULES" => Op::RemoveRule(number(0)?),
        "NAMES" => Op::RemoveName(number(0)?),
        "IDENTITIES" => Op::RemoveIdentity(number(0)?),
        "TABLES" => Op::RemoveTable(number(0)?),
        "CLASSES" => Op::RemoveClass(number(0)?, number(4)?),
        "ADDRESSES4" => {
            let address: [u8; 4] = key.try_into().ok()?;
            Op::RemoveAddress(IpNet::from(std::net::IpAddr::from(address)))
        }
        "ADDRESSES6" => Op::RemoveAddress(IpNet::from(std::net::IpAddr::from(wide()?))),
        "NETWORKS4" => {
            let address: [u8; 4] = key.get(4..)?.try_into().ok()?;
            let length = u8::try_from(number(0)?).ok()?;
            Op::RemoveAddress(Ipv4Net::new(address.into(), length).ok()?.into())
        }
        "NETWORKS6" => {
            let address: V6 = key.get(4..)?.try_into().ok()?;
            let length = u8::try_from(number(0)?).ok()?;
            Op::RemoveAddress(Ipv6Net::new(address.into(), length).ok()?.into())
        }
        "NODE_ADDRESSES" => Op::RemoveNodeAddress(unmapped(wide()?)),
        "SERVICES" => Op::RemoveService(translated(&ServiceKey {
            address: key.get(..16)?.try_into().ok()?,
            port: u16::from_ne_bytes(key.get(16..18)?.try_into().ok()?),
            protocol: *key.get(18)?,
            _pad: 0,
        })?),
        "LOCALS" => Op::RemoveLocal(unmapped(wide()?)),
        "GRANTS" => Op::Revoke(u64::from_ne_bytes(key.try_into().ok()?)),
        "METADATA" => Op::RemoveMetadata(wide()?),
        "METADATA_PORTS" => Op::RemoveMetadataPort(PortKey::read_from_bytes(key).ok()?),
        "FAR_ENDPOINTS" => Op::RemoveFar(number(0)?),
        _ => return None,
    })
}
