//! Typed handles of the maps, and what one [`Op`] does to them.

mod address;
mod layout;
mod write;

use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf, lpm_trie::LpmTrie},
};
use ringfence_common::{
    V4, V6,
    catalogue::{IdentityEntry, NameEntry, TableEntry},
    cell::Cell,
    config::Config,
    connection::{Connection, ConnectionKey},
    endpoint::{EndpointRecord, EndpointWord, FarWord, LocalWord, NEAR_IFINDEX, SourceWord},
    identity::{Identity, IdentityWord},
    metadata::{MetadataWord, PortKey},
    service::{NodeWord, ServiceKey},
    table::{ClassKey, ClassWord, Page},
};

use super::KernelError;
use crate::diff::{Op, TableState};

use write::{drop_all, drop_key, gone, not_written, put, put_all, set, write};

pub(super) use layout::named;
pub use layout::{mapped, service_key, translated, unmapped};
pub(super) use write::refused;

/// Places in `STATE`.
pub mod state {
    /// Last generation.
    pub const GENERATION: u32 = 0;
    /// Revision.
    pub const REVISION: u32 = 1;
    /// Last rule id.
    pub const RULE: u32 = 2;
    /// Last endpoint.
    pub const ENDPOINT: u32 = 3;
    /// Last identity.
    pub const IDENTITY: u32 = 4;
    /// Last table.
    pub const TABLE: u32 = 5;
    /// Last revision that came into force.
    pub const DONE: u32 = 6;
}

type Hash<K, V> = HashMap<MapData, K, V>;

/// The maps.
#[expect(
    missing_docs,
    reason = "the names are those of the maps, documented in the kernel half"
)]
pub struct Maps {
    pub config: Array<MapData, Config>,
    pub endpoints: Array<MapData, EndpointWord>,
    pub far_endpoints: Hash<u32, FarWord>,
    pub records: Array<MapData, EndpointRecord>,
    pub addresses4: Hash<V4, IdentityWord>,
    pub addresses6: Hash<V6, IdentityWord>,
    pub networks4: LpmTrie<MapData, V4, Identity>,
    pub networks6: LpmTrie<MapData, V6, Identity>,
    pub node_addresses: Hash<V6, NodeWord>,
    pub services: Hash<ServiceKey, u32>,
    pub uplinks: Hash<u32, u32>,
    pub sources: Array<MapData, SourceWord>,
    pub locals: Hash<V6, LocalWord>,
    pub classes: Hash<ClassKey, ClassWord>,
    pub pages: Array<MapData, Page>,
    pub cells: Array<MapData, Cell>,
    pub connections4: Hash<ConnectionKey<V4>, Connection>,
    pub connections6: Hash<ConnectionKey<V6>, Connection>,
    pub metadata: Hash<V6, MetadataWord>,
    pub metadata_ports: Hash<PortKey, u32>,
    pub metadata_sieve: Array<MapData, u64>,
    pub grants: Hash<u64, u64>,
    pub events: RingBuf<MapData>,
    pub counters: PerCpuArray<MapData, u64>,
    pub denied_bytes: PerCpuArray<MapData, u64>,
    pub rules: Hash<u32, NameEntry>,
    pub names: Hash<u32, NameEntry>,
    pub identities: Hash<Identity, IdentityEntry>,
    pub tables: Hash<u32, TableEntry>,
    pub state: Array<MapData, u64>,
}

fn take<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &str) -> Result<M, KernelError> {
    let map = ebpf
        .take_map(name)
        .ok_or_else(|| KernelError::Other(format!("the kernel half has no map {name}")))?;
    M::try_from(map).map_err(|error| KernelError::Other(format!("map {name}: {error}")))
}

impl Maps {
    /// Takes the maps out of a loaded object.
    ///
    /// # Errors
    ///
    /// If the object is not the kernel half of this binary.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self {
            config: take(ebpf, "CONFIG")?,
            endpoints: take(ebpf, "ENDPOINTS")?,
            far_endpoints: take(ebpf, "FAR_ENDPOINTS")?,
            records: take(ebpf, "RECORDS")?,
            addresses4: take(ebpf, "ADDRESSES4")?,
            addresses6: take(ebpf, "ADDRESSES6")?,
            networks4: take(ebpf, "NETWORKS4")?,
            networks6: take(ebpf, "NETWORKS6")?,
            node_addresses: take(ebpf, "NODE_ADDRESSES")?,
            services: take(ebpf, "SERVICES")?,
            uplinks: take(ebpf, "UPLINKS")?,
            sources: take(ebpf, "SOURCES")?,
            locals: take(ebpf, "LOCALS")?,
            classes: take(ebpf, "CLASSES")?,
            pages: take(ebpf, "PAGES")?,
            cells: take(ebpf, "CELLS")?,
            connections4: take(ebpf, "CONNECTIONS4")?,
            connections6: take(ebpf, "CONNECTIONS6")?,
            metadata: take(ebpf, "METADATA")?,
            metadata_ports: take(ebpf, "METADATA_PORTS")?,
            metadata_sieve: take(ebpf, "METADATA_SIEVE")?,
            grants: take(ebpf, "GRANTS")?,
            events: take(ebpf, "EVENTS")?,
            counters: take(ebpf, "COUNTERS")?,
            denied_bytes: take(ebpf, "DENIED_BYTES")?,
            rules: take(ebpf, "RULES")?,
            names: take(ebpf, "NAMES")?,
            identities: take(ebpf, "IDENTITIES")?,
            tables: take(ebpf, "TABLES")?,
            state: take(ebpf, "STATE")?,
        })
    }

    /// Does steps of a plan that follow each other, all of which [`Self::are_alike`].
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn execute_all(&mut self, ops: &[Op]) -> Result<(), KernelError> {
        match ops {
            [Op::Class(..), _, ..] => {
                let classes = ops.iter().filter_map(class);
                put_all(&mut self.classes, "CLASSES", classes)
            }
            [Op::RemoveClass(..), _, ..] => {
                let gone = ops.iter().filter_map(removed_class);
                drop_all(&mut self.classes, "CLASSES", gone)
            }
            ops => ops.iter().try_for_each(|op| self.execute(op)),
        }
    }

    /// True of steps that few calls of the kernel can do, in any order: a table has a class for each of thousands of identities.
    #[must_use]
    pub const fn are_alike(one: &Op, next: &Op) -> bool {
        matches!(
            (one, next),
            (Op::Class(..), Op::Class(..)) | (Op::RemoveClass(..), Op::RemoveClass(..))
        )
    }

    /// Does one step of a plan. [`Op::Grace`] is the caller's, and so is [`Op::MetadataAudit`]: `CONFIG` has one writer.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn execute(&mut self, op: &Op) -> Result<(), KernelError> {
        match op {
            Op::Reserve {
                generation,
                revision,
                last,
            } => {
                for (at, value) in [
                    (state::GENERATION, *generation),
                    (state::REVISION, *revision),
                    (state::RULE, last.rule.into()),
                    (state::ENDPOINT, last.endpoint.into()),
                    (state::IDENTITY, last.identity.into()),
                    (state::TABLE, last.table.into()),
                ] {
                    set(&mut self.state, "STATE", at, value)?;
                }
                Ok(())
            }
            Op::Rule(id, name) => put(&mut self.rules, "RULES", *id, named(name)?),
            Op::Name(id, name) => put(&mut self.names, "NAMES", *id, named(name)?),
            Op::Identity(id, digest) => put(
                &mut self.identities,
                "IDENTITIES",
                *id,
                IdentityEntry { digest: *digest },
            ),
            Op::Table(
                id,
                TableState {
                    digest,
                    table,
                    rows,
                    pages,
                },
            ) => {
                let entry = TableEntry {
                    digest: *digest,
                    table: *table,
                    rows: *rows,
                    page_count: *pages,
                };
                put(&mut self.tables, "TABLES", *id, entry)
            }
            Op::Pages(at, pages) => write(&mut self.pages, "PAGES", *at, pages),
            Op::Cells(at, cells) => write(&mut self.cells, "CELLS", *at, cells),
            Op::Class(..) => put_all(&mut self.classes, "CLASSES", class(op).into_iter()),
            Op::Address(net, identity) => self.address(net, *identity),
            Op::RemoveAddress(net) => self.remove_address(net),
            Op::NodeAddress(address, bits) => {
                let key = mapped(*address);
                let word = NodeWord::new(&key, *bits);
                put(&mut self.node_addresses, "NODE_ADDRESSES", key, word)
            }
            Op::Service(translated) => {
                put(&mut self.services, "SERVICES", service_key(translated), 1)
            }
            Op::RemoveService(translated) => {
                drop_key(&mut self.services, "SERVICES", &service_key(translated))
            }
            Op::Source(place, word) => set(&mut self.sources, "SOURCES", u32::from(*place), *word),
            Op::Local(address, place) => {
                let key = mapped(*address);
                put(
                    &mut self.locals,
                    "LOCALS",
                    key,
                    LocalWord::new(&key, *place),
                )
            }
            Op::RemoveLocal(address) => drop_key(&mut self.locals, "LOCALS", &mapped(*address)),
            Op::RemoveNodeAddress(address) => drop_key(
                &mut self.node_addresses,
                "NODE_ADDRESSES",
                &mapped(*address),
            ),
            Op::Metadata(address, word) => put(&mut self.metadata, "METADATA", *address, *word),
            Op::RemoveMetadata(address) => drop_key(&mut self.metadata, "METADATA", address),
            Op::Sieve(at, bits) => set(&mut self.metadata_sieve, "METADATA_SIEVE", *at, *bits),
            Op::MetadataPort(key) => put(&mut self.metadata_ports, "METADATA_PORTS", *key, 1),
            Op::RemoveMetadataPort(key) => {
                drop_key(&mut self.metadata_ports, "METADATA_PORTS", key)
            }
            Op::Record(slot, record) => write(&mut self.records, "RECORDS", *slot, &[**record]),
            Op::Swap(ifindex, element, word) => self.swap(*ifindex, *element, *word),
            Op::RemoveFar(ifindex) => drop_key(&mut self.far_endpoints, "FAR_ENDPOINTS", ifindex),
            Op::Grant(cgroup, bits) => put(&mut self.grants, "GRANTS", *cgroup, *bits),
            Op::Revoke(cgroup) => drop_key(&mut self.grants, "GRANTS", cgroup),
            Op::Done(revision) => set(&mut self.state, "STATE", state::DONE, *revision),
            Op::Grace | Op::MetadataAudit(_) => Ok(()),
            Op::RemoveClass(..) => {
                drop_all(&mut self.classes, "CLASSES", removed_class(op).into_iter())
            }
            Op::RemoveTable(id) => drop_key(&mut self.tables, "TABLES", id),
            Op::RemoveIdentity(id) => drop_key(&mut self.identities, "IDENTITIES", id),
            Op::RemoveRule(id) => drop_key(&mut self.rules, "RULES", id),
            Op::RemoveName(id) => drop_key(&mut self.names, "NAMES", id),
        }
    }

    /// Puts a word into force. A far element is written before its interface leads to it, and the other way round
    /// when it goes.
    fn swap(&mut self, ifindex: u32, element: u32, word: EndpointWord) -> Result<(), KernelError> {
        set(&mut self.endpoints, "ENDPOINTS", element, word)?;
        if element < NEAR_IFINDEX {
            return Ok(());
        }
        if word == EndpointWord::NONE {
            return drop_key(&mut self.far_endpoints, "FAR_ENDPOINTS", &ifindex);
        }
        put(
            &mut self.far_endpoints,
            "FAR_ENDPOINTS",
            ifindex,
            FarWord::new(ifindex, element),
        )
    }
}

/// What an [`Op::Class`] writes.
fn class(op: &Op) -> Option<(ClassKey, ClassWord)> {
    let Op::Class(table, identity, class) = *op else {
        return None;
    };
    let key = ClassKey { table, identity };
    Some((key, ClassWord::new(key, class)))
}

/// What an [`Op::RemoveClass`] removes.
fn removed_class(op: &Op) -> Option<ClassKey> {
    let Op::RemoveClass(table, identity) = *op else {
        return None;
    };
    Some(ClassKey { table, identity })
}
