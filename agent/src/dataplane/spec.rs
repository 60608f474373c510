//! Every map's type and size: what pins are compared with.

use aya::maps::MapType;
use ringfence_common::{
    V4, V6,
    catalogue::{IdentityEntry, NameEntry, TableEntry},
    cell::Cell,
    config::Config,
    connection::{Connection, ConnectionKey, ConnectionWord, FragmentKey, FragmentWord},
    endpoint::{EndpointRecord, EndpointWord, FarWord, LocalWord, NEAR_IFINDEX, SourceWord},
    event::{COUNTERS, DENIED_BYTES, Event, RateState},
    identity::{Identity, IdentityWord},
    mark::MAX_SOURCES,
    metadata::{MetadataWord, PortKey, SIEVE_WORDS},
    packet::Packet,
    service::{NodeWord, ServiceKey},
    table::{ClassKey, ClassWord, Page},
};

use crate::diff::{GRANTS, LOCALS, Limits, NODE_ADDRESSES};

/// One map.
#[derive(Clone, Copy, Debug)]
pub struct MapSpec {
    /// Name in the object, of the pin, and (its first 15 bytes) in the kernel.
    pub name: &'static str,
    /// Type.
    pub kind: MapType,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// Entries that it is created with.
    pub max_entries: u32,
}

/// Bytes of the ring buffer `EVENTS`.
pub const RING_BYTES: u32 = 1 << 20;

/// Revoked IPv4 connections that are remembered.
const REVOKED: u32 = 65_536;

const fn map<K, V>(name: &'static str, kind: MapType, max_entries: u32) -> MapSpec {
    // Layouts are a few hundred bytes.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "layouts are a few hundred bytes"
    )]
    let (key, value) = (size_of::<K>() as u32, size_of::<V>() as u32);
    MapSpec {
        name,
        kind,
        key,
        value,
        max_entries,
    }
}

/// A trie's key: prefix length, then the address.
type Prefix<A> = (u32, A);

/// Every map, with the sizes that these limits give.
#[must_use]
pub fn maps(limits: &Limits) -> Vec<MapSpec> {
    use MapType::{Array, Hash, LpmTrie, LruHash, PerCpuArray, RingBuf};
    // A prefix of 4 and 16 bytes has no padding behind the length: 8 and 20 bytes.
    const _: () = assert!(size_of::<Prefix<V4>>() == 8 && size_of::<Prefix<V6>>() == 20);
    vec![
        map::<u32, Config>("CONFIG", Array, 1),
        map::<u32, EndpointWord>("ENDPOINTS", Array, NEAR_IFINDEX + limits.endpoints),
        map::<u32, FarWord>("FAR_ENDPOINTS", Hash, limits.endpoints),
        map::<u32, EndpointRecord>("RECORDS", Array, limits.endpoints),
        map::<V4, IdentityWord>("ADDRESSES4", Hash, limits.addresses),
        map::<V6, IdentityWord>("ADDRESSES6", Hash, limits.addresses),
        map::<Prefix<V4>, Identity>("NETWORKS4", LpmTrie, limits.networks),
        map::<Prefix<V6>, Identity>("NETWORKS6", LpmTrie, limits.networks),
        map::<V6, NodeWord>("NODE_ADDRESSES", Hash, NODE_ADDRESSES),
        map::<ServiceKey, u32>("SERVICES", Hash, limits.services),
        map::<u32, u32>("UPLINKS", Hash, 1024),
        map::<u32, ServiceKey>("SERVICE_KEY", PerCpuArray, 1),
        #[expect(clippy::cast_possible_truncation, reason = "16384")]
        map::<u32, SourceWord>("SOURCES", Array, MAX_SOURCES as u32),
        map::<V6, LocalWord>("LOCALS", Hash, LOCALS),
        map::<ClassKey, ClassWord>("CLASSES", Hash, limits.classes),
        map::<u32, Page>("PAGES", Array, limits.pages),
        map::<u32, Cell>("CELLS", Array, limits.cells),
        map::<ConnectionKey<V4>, Connection>("CONNECTIONS4", LruHash, limits.connections),
        map::<ConnectionKey<V6>, Connection>(
            "CONNECTIONS6",
            LruHash,
            (limits.connections / 2).max(1),
        ),
        map::<u32, Connection>("CONNECTION", PerCpuArray, 1),
        map::<ConnectionKey<V4>, ConnectionWord>("REVOKED4", LruHash, REVOKED),
        map::<ConnectionKey<V6>, ConnectionWord>("REVOKED6", LruHash, REVOKED / 2),
        map::<FragmentKey<V4>, FragmentWord>("FRAGMENTS4", LruHash, 8192),
        map::<FragmentKey<V6>, FragmentWord>("FRAGMENTS6", LruHash, 8192),
        map::<u32, ConnectionKey<V4>>("CONNECTION_KEY4", PerCpuArray, 1),
        map::<u32, ConnectionKey<V6>>("CONNECTION_KEY6", PerCpuArray, 1),
        map::<u32, Packet<V4>>("PACKET4", PerCpuArray, 1),
        map::<u32, Packet<V6>>("PACKET6", PerCpuArray, 1),
        map::<u32, FragmentKey<V4>>("FRAGMENT_KEY4", PerCpuArray, 1),
        map::<u32, FragmentKey<V6>>("FRAGMENT_KEY6", PerCpuArray, 1),
        map::<V6, MetadataWord>("METADATA", Hash, 1024),
        #[expect(clippy::cast_possible_truncation, reason = "64")]
        map::<u32, u64>("METADATA_SIEVE", Array, SIEVE_WORDS as u32),
        map::<PortKey, u32>("METADATA_PORTS", Hash, 4096),
        map::<u64, u64>("METADATA_RATES", LruHash, 8192),
        map::<u64, u64>("GRANTS", Hash, GRANTS),
        map::<(), ()>("EVENTS", RingBuf, RING_BYTES),
        map::<u32, Event>("EVENT", PerCpuArray, 1),
        #[expect(clippy::cast_possible_truncation, reason = "a few hundred")]
        map::<u32, u64>("COUNTERS", PerCpuArray, COUNTERS as u32),
        #[expect(clippy::cast_possible_truncation, reason = "a few hundred")]
        map::<u32, u64>("DENIED_BYTES", PerCpuArray, DENIED_BYTES as u32),
        map::<u32, RateState>("RATE", PerCpuArray, 1),
        map::<u32, NameEntry>("RULES", Hash, limits.rules),
        map::<u32, NameEntry>("NAMES", Hash, limits.endpoints),
        map::<Identity, IdentityEntry>("IDENTITIES", Hash, limits.identities),
        map::<u32, TableEntry>("TABLES", Hash, limits.tables),
        map::<u32, u64>("STATE", Array, 8),
    ]
}
