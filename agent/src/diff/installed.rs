//! What the maps hold, as plain values.

use std::{collections::BTreeMap, net::IpAddr, ops::Range};

use imbl::{OrdMap, OrdSet};
use ipnet::IpNet;
use ringfence_common::{
    V6,
    cell::RuleId,
    endpoint::{EndpointRecord, EndpointWord, Generation},
    identity::Identity,
    metadata::{MetadataWord, PortKey},
    table::TableRef,
};

use super::{classes::Classes, digest::Digest};
use crate::compile::Translated;

/// What the maps hold. Read from them at start, then kept beside them. A copy shares what is large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Last generation that was given out.
    pub generation: Generation,
    /// How often the maps have been changed.
    pub revision: u64,
    /// Last rule id, endpoint, identity and table that were given out.
    pub last: Last,
    /// A plan was begun and did not get as far as being in force. Addresses may have moved without their endpoints
    /// having a new generation, so every endpoint needs one.
    pub interrupted: bool,
    /// Rule ids by name.
    pub rules: OrdMap<String, RuleId>,
    /// Endpoint numbers by `namespace/name uid`.
    pub names: OrdMap<String, u32>,
    /// Digests of the identities' signatures.
    pub identities: OrdMap<Identity, Digest>,
    /// Identities of addresses and networks.
    pub addresses: OrdMap<IpNet, Identity>,
    /// Tables by id.
    pub tables: OrdMap<u32, TableState>,
    /// Classes of identities, table by table.
    pub classes: Classes,
    /// Endpoints by ifindex.
    pub endpoints: OrdMap<u32, EndpointState>,
    /// What addresses are to nodes: bits of [`ringfence_common::service::node`].
    pub node_addresses: OrdMap<IpAddr, u8>,
    /// Destinations that the node translates.
    pub services: OrdSet<Translated>,
    /// Places in `SOURCES` of this node's pods' addresses.
    pub locals: OrdMap<IpAddr, u16>,
    /// Metadata grants by cgroup id.
    pub grants: BTreeMap<u64, u64>,
    /// Metadata endpoints by address, IPv4 mapped.
    pub metadata: OrdMap<V6, MetadataWord>,
    /// Lists of metadata ports.
    pub metadata_ports: OrdSet<PortKey>,
    /// What has no grant for a metadata endpoint passes, and is told of.
    pub metadata_audited: bool,
}

/// The last numbers that were given out; none is given out twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// Rule id.
    pub rule: RuleId,
    /// Endpoint.
    pub endpoint: u32,
    /// Identity.
    pub identity: Identity,
    /// Table.
    pub table: u32,
}

/// A table as it lies in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableState {
    /// Digest of its content.
    pub digest: Digest,
    /// Where it lies.
    pub table: TableRef,
    /// Rows.
    pub rows: u32,
    /// Pages of its port map.
    pub pages: u32,
}

impl TableState {
    /// Its cells, as a range of elements of `CELLS`: row by row, each with all columns.
    #[must_use]
    pub fn cells(&self) -> Range<u32> {
        self.with_rows(self.rows)
    }

    /// The cells that it would have with so many rows.
    pub(super) fn with_rows(&self, rows: u32) -> Range<u32> {
        let first = self.table.cells;
        first..first.saturating_add(rows.saturating_mul(self.table.columns.into()))
    }
}

/// An endpoint as it lies in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointState {
    /// Element of `ENDPOINTS`.
    pub element: u32,
    /// The word there.
    pub word: EndpointWord,
    /// The record that it names.
    pub record: EndpointRecord,
}

/// Entries that the maps have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `ADDRESSES4` and `ADDRESSES6`, each.
    pub addresses: u32,
    /// `NETWORKS4` and `NETWORKS6`, each.
    pub networks: u32,
    /// `CLASSES`.
    pub classes: u32,
    /// `CELLS`.
    pub cells: u32,
    /// `PAGES`.
    pub pages: u32,
    /// `RECORDS`, `NAMES` and the far part of `ENDPOINTS`. Records are replaced, not edited, so about twice the number of pods.
    pub endpoints: u32,
    /// `RULES`.
    pub rules: u32,
    /// `IDENTITIES`.
    pub identities: u32,
    /// `TABLES`.
    pub tables: u32,
    /// `CONNECTIONS4`; `CONNECTIONS6` has half as many.
    pub connections: u32,
    /// `SERVICES`.
    pub services: u32,
    /// Endpoints that the packet mark can tell apart.
    pub sources: u32,
}

/// Entries of `NODE_ADDRESSES`.
pub const NODE_ADDRESSES: u32 = 16_384;
/// Entries of `LOCALS`.
pub const LOCALS: u32 = 16_384;
/// Entries of `METADATA`.
pub const METADATA: u32 = 1024;
/// Entries of `METADATA_PORTS`.
pub const METADATA_PORTS: u32 = 4096;
/// Entries of `GRANTS`.
pub const GRANTS: u32 = 4096;

impl Default for Limits {
    fn default() -> Self {
        Self {
            addresses: 131_072,
            networks: 65_536,
            classes: 262_144,
            cells: 524_288,
            pages: 4096,
            endpoints: 4096,
            rules: 16_384,
            identities: 65_536,
            tables: 4096,
            connections: 262_144,
            services: 65_536,
            sources: ringfence_common::mark::MarkLayout::DEFAULT.sources(),
        }
    }
}
