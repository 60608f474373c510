//! Every map. Sizes are defaults: the agent sets `max_entries` when it loads them (a flag for each).
//!
//! User space writes all but `CONNECTIONS*`, `REVOKED*`, `FRAGMENTS*`, `EVENTS`, `COUNTERS`, `DENIED_BYTES`, `METADATA_RATES`
//! and `RATE`.

use aya_ebpf::{
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use ringfence_common::{
    V4, V6,
    catalogue::{IdentityEntry, NameEntry, TableEntry},
    cell::Cell,
    config::Config,
    connection::{Connection, ConnectionKey, ConnectionWord, FragmentKey, FragmentWord},
    endpoint::{EndpointRecord, EndpointWord, FarWord, LocalWord, SourceWord},
    event::{COUNTERS as COUNTER_COUNT, DENIED_BYTES as DENIED_BYTE_COUNT, Event, RateState},
    identity::{Identity, IdentityWord},
    mark::MAX_SOURCES,
    metadata::{MetadataWord, PortKey, SIEVE_WORDS},
    packet::Packet,
    service::{NodeWord, ServiceKey},
    table::{ClassKey, ClassWord, Page},
};

/// One element, written before anything is attached. A map and not read-only data, because how long a jiffy is has to
/// be measured with a loaded program.
#[btf_map]
pub static CONFIG: Array<Config, 1> = Array::new();

/// By ifindex; elements behind `NEAR_IFINDEX` are reached through `FAR_ENDPOINTS`.
#[btf_map]
pub static ENDPOINTS: Array<EndpointWord, 36_864> = Array::new();

/// Interfaces with a large index.
#[btf_map]
pub static FAR_ENDPOINTS: HashMap<u32, FarWord, 4096> = HashMap::new();

/// By slot; slot 0 is never used.
#[btf_map]
pub static RECORDS: Array<EndpointRecord, 4096> = Array::new();

/// Exact addresses of the cluster's pods and of networks of one address.
#[btf_map]
pub static ADDRESSES4: HashMap<V4, IdentityWord, 131_072> = HashMap::new();

/// The same for IPv6.
#[btf_map]
pub static ADDRESSES6: HashMap<V6, IdentityWord, 131_072> = HashMap::new();

/// Networks; asked only where an address is in none of the above and the table wants to know.
#[btf_map]
pub static NETWORKS4: LpmTrie<V4, Identity, 65_536> = LpmTrie::new();

/// The same for IPv6.
#[btf_map]
pub static NETWORKS6: LpmTrie<V6, Identity, 65_536> = LpmTrie::new();

/// Addresses of this node and of the cluster's others (key: IPv6, IPv4 mapped).
#[btf_map]
pub static NODE_ADDRESSES: HashMap<V6, NodeWord, 16_384> = HashMap::new();

/// Destinations that this node translates.
#[btf_map]
pub static SERVICES: HashMap<ServiceKey, u32, 65_536> = HashMap::new();

/// Devices that lead off the node, by index.
#[btf_map]
pub static UPLINKS: HashMap<u32, u32, 1024> = HashMap::new();

/// Room for one key of `SERVICES`: the stack has none.
#[btf_map]
pub static SERVICE_KEY: PerCpuArray<ServiceKey, 1> = PerCpuArray::new();

/// Endpoints by the number that the packet mark has of them; 0 is never used.
#[btf_map]
pub static SOURCES: Array<SourceWord, MAX_SOURCES> = Array::new();

/// Addresses of this node's pods -> place in `SOURCES` (key: IPv6, IPv4 mapped).
#[btf_map]
pub static LOCALS: HashMap<V6, LocalWord, 16_384> = HashMap::new();

/// (table, identity) -> class.
#[btf_map]
pub static CLASSES: HashMap<ClassKey, ClassWord, 262_144> = HashMap::new();

/// Port maps.
#[btf_map]
pub static PAGES: Array<Page, 4096> = Array::new();

/// Verdicts.
#[btf_map]
pub static CELLS: Array<Cell, 262_144> = Array::new();

/// Tracked connections.
#[btf_map]
pub static CONNECTIONS4: LruHashMap<ConnectionKey<V4>, Connection, 262_144> = LruHashMap::new();

/// The same for IPv6.
#[btf_map]
pub static CONNECTIONS6: LruHashMap<ConnectionKey<V6>, Connection, 131_072> = LruHashMap::new();

/// TCP connections that policy took back: eviction by a flood of other flows does not make them unheard of.
#[btf_map]
pub static REVOKED4: LruHashMap<ConnectionKey<V4>, ConnectionWord, 65_536> = LruHashMap::new();

/// The same for IPv6.
#[btf_map]
pub static REVOKED6: LruHashMap<ConnectionKey<V6>, ConnectionWord, 32_768> = LruHashMap::new();

/// Room for one entry of `CONNECTIONS*`: the stack has none.
#[btf_map]
pub static CONNECTION: PerCpuArray<Connection, 1> = PerCpuArray::new();

/// Room for one key of `CONNECTIONS4`, where the stack has none.
#[btf_map]
pub static CONNECTION_KEY4: PerCpuArray<ConnectionKey<V4>, 1> = PerCpuArray::new();

/// Room for one key of `CONNECTIONS6`.
#[btf_map]
pub static CONNECTION_KEY6: PerCpuArray<ConnectionKey<V6>, 1> = PerCpuArray::new();

/// Room for what is known of an IPv4 packet.
#[btf_map]
pub static PACKET4: PerCpuArray<Packet<V4>, 1> = PerCpuArray::new();

/// The same for IPv6.
#[btf_map]
pub static PACKET6: PerCpuArray<Packet<V6>, 1> = PerCpuArray::new();

/// Ports of first fragments.
#[btf_map]
pub static FRAGMENTS4: LruHashMap<FragmentKey<V4>, FragmentWord, 8192> = LruHashMap::new();

/// The same for IPv6.
#[btf_map]
pub static FRAGMENTS6: LruHashMap<FragmentKey<V6>, FragmentWord, 8192> = LruHashMap::new();

/// Room for one key of `FRAGMENTS4`.
#[btf_map]
pub static FRAGMENT_KEY4: PerCpuArray<FragmentKey<V4>, 1> = PerCpuArray::new();

/// Room for one key of `FRAGMENTS6`.
#[btf_map]
pub static FRAGMENT_KEY6: PerCpuArray<FragmentKey<V6>, 1> = PerCpuArray::new();

/// Metadata endpoints by address.
#[btf_map]
pub static METADATA: HashMap<V6, MetadataWord, 1024> = HashMap::new();

/// What `METADATA` certainly does not hold.
#[btf_map]
pub static METADATA_SIEVE: Array<u64, SIEVE_WORDS> = Array::new();

/// Ports of metadata endpoints that have others too.
#[btf_map]
pub static METADATA_PORTS: HashMap<PortKey, u32, 4096> = HashMap::new();

/// What senders with a grant have sent in the current tick.
#[btf_map]
pub static METADATA_RATES: LruHashMap<u64, u64, 8192> = LruHashMap::new();

/// Cgroup id -> [`ringfence_common::metadata::Grants`] of its processes.
#[btf_map]
pub static GRANTS: HashMap<u64, u64, 4096> = HashMap::new();

/// Denials, and what audit would change.
#[btf_map]
pub static EVENTS: RingBuf<Event, { 1 << 20 }> = RingBuf::new();

/// Room for one event: the stack has none.
#[btf_map]
pub static EVENT: PerCpuArray<Event, 1> = PerCpuArray::new();

/// Packets by hook, reason and verdict.
#[btf_map]
pub static COUNTERS: PerCpuArray<u64, COUNTER_COUNT> = PerCpuArray::new();

/// Bytes of denied packets by hook and reason. A map of its own, and not more places in `COUNTERS`: an agent whose layouts
/// are the same but for this one finds it missing, and makes it.
#[btf_map]
pub static DENIED_BYTES: PerCpuArray<u64, DENIED_BYTE_COUNT> = PerCpuArray::new();

/// What this CPU has sent in the current tick.
#[btf_map]
pub static RATE: PerCpuArray<RateState, 1> = PerCpuArray::new();

/// Catalogue: rule id -> name.
#[btf_map]
pub static RULES: HashMap<u32, NameEntry, 16_384, NO_PREALLOC> = HashMap::new();

/// Catalogue: endpoint -> `namespace/name uid`.
#[btf_map]
pub static NAMES: HashMap<u32, NameEntry, 4096, NO_PREALLOC> = HashMap::new();

/// Catalogue: identity -> digest of its signature.
#[btf_map]
pub static IDENTITIES: HashMap<Identity, IdentityEntry, 65_536, NO_PREALLOC> = HashMap::new();

/// Catalogue: table id -> where it lies, digest of its content.
#[btf_map]
pub static TABLES: HashMap<u32, TableEntry, 4096, NO_PREALLOC> = HashMap::new();

/// Counters that must not go back: 0 the last generation, 1 the revision, 2 the last rule id, 3 the last
/// endpoint, 4 the last identity, 5 the last table, 6 the last revision that came into force.
#[btf_map]
pub static STATE: Array<u64, 8> = Array::new();

/// Memory is taken as entries come: these maps are small as a rule and never on a packet's way.
const NO_PREALLOC: usize = 1;
