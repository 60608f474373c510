//! The judge's tables, answered from the world's rules at each question.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ringfence_common::{
    Hook, V4, V6,
    cell::{Cell, Tier, Verdict},
    config::Config,
    connection::{Connection, ConnectionKey, ConnectionWord, FragmentKey, FragmentWord, Whole},
    endpoint::{EndpointRecord, EndpointWord, Generation, SourceWord, flags},
    identity::{ENCAPSULATES, Identity, POD},
    judge::{ConnectionRef, Context, FamilyTables, Outcome, Seen, Socket, Tables},
    metadata::{Grants, MetadataWord, PortKey, open},
    service::{ANY_NODE_ADDRESS, node},
    table::{ClassKey, DIRECTORIES, LOOKS_AT_NETWORKS, TableRef, UNIFORM},
};

use crate::world::{self, HARDWARE, NODE_PORT, Peer, Policy, Rule, SERVICE_PORT, Side};

/// The pod's device.
pub const IFINDEX: u32 = 5;
/// A device that leads off the node.
pub const UPLINK: u32 = 7;
/// The pod's place in `SOURCES`.
pub const PLACE: u16 = 3;
/// The pod's number.
const ENDPOINT: u32 = 9;
/// What the tables' numbers are apart.
const STRIDE: u32 = 1000;
/// Columns of a table: one for each set of rules.
const COLUMNS: u16 = 16;

thread_local! {
    /// Entries of the connection table: handles on them must be plain numbers.
    static ENTRIES: RefCell<Vec<Connection>> = const { RefCell::new(Vec::new()) };
}

/// A handle on a connection.
#[derive(Clone, Copy, Debug)]
pub struct Entry(usize);

impl Entry {
    fn get(self) -> Connection {
        ENTRIES.with_borrow(|entries| entries[self.0])
    }

    fn change(self, change: impl FnOnce(&mut Connection)) {
        ENTRIES.with_borrow_mut(|entries| change(&mut entries[self.0]));
    }
}

impl ConnectionRef for Entry {
    fn word(self) -> ConnectionWord {
        self.get().word
    }
    fn set_word(self, word: ConnectionWord) {
        self.change(|it| it.word = word);
    }
    fn cell(self) -> Cell {
        self.get().cell
    }
    fn set_cell(self, cell: Cell) {
        self.change(|it| it.cell = cell);
    }
    fn seen(self) -> u32 {
        self.get().seen
    }
    fn set_seen(self, tick: u32) {
        self.change(|it| it.seen = tick);
    }
    fn state(self) -> u32 {
        self.get().state
    }
    fn set_state(self, state: u32) {
        self.change(|it| it.state = state);
    }
}

/// What one family remembers.
#[derive(Debug)]
struct Memory<A> {
    connections: RefCell<BTreeMap<ConnectionKey<A>, Entry>>,
    revoked: RefCell<BTreeMap<ConnectionKey<A>, ConnectionWord>>,
    fragments: RefCell<BTreeMap<FragmentKey<A>, FragmentWord>>,
}

impl<A> Default for Memory<A> {
    fn default() -> Self {
        Self {
            connections: RefCell::default(),
            revoked: RefCell::default(),
            fragments: RefCell::default(),
        }
    }
}

/// The tables.
#[derive(Debug)]
pub struct World {
    /// What holds.
    pub policy: Policy,
    /// What the programs were told.
    pub config: Config,
    /// The tick.
    pub now: u32,
    generation: Generation,
    record: EndpointRecord,
    v4: Memory<V4>,
    v6: Memory<V6>,
}

impl World {
    /// The world under this policy.
    #[must_use]
    pub fn new(policy: Policy, granted: bool) -> Self {
        ENTRIES.with_borrow_mut(Vec::clear);
        let (IpAddr::V4(own4), IpAddr::V6(own6)) = (
            world::address(Peer::Own, false),
            world::address(Peer::Own, true),
        ) else {
            unreachable!("the first is of IPv4 and the second of IPv6")
        };
        let mut world = Self {
            policy: Policy::default(),
            config: Config::default(),
            now: 1000,
            generation: 0,
            record: EndpointRecord {
                endpoint: ENDPOINT,
                flags: flags::HARDWARE_ADDRESS,
                hardware_address: HARDWARE,
                addresses4: [own4.octets(), [0; 4]],
                addresses6: [own6.octets(), [0; 16], [0; 16], [0; 16]],
                grants: Grants::new(u32::from(granted), 0).0,
                source: PLACE,
                born: 1,
                ..EndpointRecord::default()
            },
            v4: Memory::default(),
            v6: Memory::default(),
        };
        world.switch(policy);
        world
    }

    /// Puts another policy in force.
    pub fn switch(&mut self, policy: Policy) {
        self.policy = policy;
        self.generation += 1;
        self.record.ingress = table(1, self.policy.ingress.is_some());
        self.record.egress = table(2, self.policy.egress.is_some());
    }

    /// Another pod has the address from here on.
    pub fn bear(&mut self) {
        self.generation += 1;
        self.record.born = self.generation;
    }

    fn side(&self, number: u32) -> &[Rule] {
        let side: &Side = if number == 1 {
            &self.policy.ingress
        } else {
            &self.policy.egress
        };
        side.as_deref().unwrap_or_default()
    }
}

fn table(number: u32, isolated: bool) -> TableRef {
    if !isolated {
        return TableRef::NONE;
    }
    TableRef {
        id: number,
        cells: number * STRIDE,
        pages: number * STRIDE,
        columns: COLUMNS,
        flags: LOOKS_AT_NETWORKS,
    }
}

/// The rules that cover a port, as bits; the column is what differs from those that cover everything.
fn column(rules: &[Rule], ports: Option<(u8, u16)>) -> u16 {
    let mut column = 0;
    for (index, rule) in rules.iter().enumerate() {
        let covers = match (rule.ports, ports) {
            (None, _) => false,
            (Some(_), None) => false,
            (Some(_), Some((protocol, port))) => rule.covers(protocol, port),
        };
        column |= u16::from(covers) << index;
    }
    column
}

/// A NAT64, mapped or other form is judged as what it embeds by the parts that look for it; here only as it is.
fn address4(address: &V6) -> Option<IpAddr> {
    Ipv6Addr::from(*address).to_ipv4_mapped().map(IpAddr::V4)
}

fn canonical(address: &V6) -> IpAddr {
    address4(address).unwrap_or(IpAddr::V6(Ipv6Addr::from(*address)))
}

impl Tables for World {
    fn config(&self) -> &Config {
        &self.config
    }

    fn now(&self) -> u32 {
        self.now
    }

    fn endpoint(&self, ifindex: u32) -> EndpointWord {
        if ifindex == IFINDEX {
            EndpointWord::new(1, self.generation)
        } else {
            EndpointWord::NONE
        }
    }

    fn record(&self, slot: u32) -> Option<&EndpointRecord> {
        (slot == 1).then_some(&self.record)
    }

    fn class(&self, key: ClassKey) -> Option<u16> {
        u16::try_from(key.identity & !(POD | ENCAPSULATES)).ok()
    }

    fn page_entry(&self, page: u32, entry: u8) -> Option<u16> {
        let rules = self.side(page / STRIDE);
        let page = page % STRIDE;
        let protocol = |index: u32| world::PROTOCOLS[index as usize];
        if page >= DIRECTORIES {
            let (index, high) = ((page - DIRECTORIES) / 256, (page - DIRECTORIES) % 256);
            let port = u16::try_from(high).ok()? << 8 | u16::from(entry);
            return Some(column(rules, Some((protocol(index), port))));
        }
        let (low, high) = (u16::from(entry) << 8, u16::from(entry) << 8 | 0xff);
        let uniform = rules.iter().all(|rule| {
            rule.ports.is_none_or(|(_, first, last)| {
                first <= low && high <= last || last < low || high < first
            })
        });
        if uniform {
            return Some(UNIFORM | column(rules, Some((protocol(page), low))));
        }
        u16::try_from(DIRECTORIES + page * 256 + u32::from(entry)).ok()
    }

    fn cell(&self, index: u32) -> Option<Cell> {
        let rules = self.side(index / STRIDE);
        let (class, column) = (
            index % STRIDE / u32::from(COLUMNS),
            index % u32::from(STRIDE) % u32::from(COLUMNS),
        );
        let allowed = rules.iter().enumerate().any(|(number, rule)| {
            rule.peers >> class & 1 == 1 && (rule.ports.is_none() || column >> number & 1 == 1)
        });
        let verdict = if allowed {
            Verdict::Allow
        } else {
            Verdict::Deny
        };
        Some(Cell::new(verdict, verdict, Tier::NetworkPolicy, 1))
    }

    fn may_be_metadata(&self, _address: &V6) -> bool {
        true
    }

    fn metadata(&self, address: &V6) -> Option<MetadataWord> {
        (world::peer(canonical(address)) == Peer::Metadata)
            .then(|| MetadataWord::new(address, 0, open::DNS | open::NTP, 0))
    }

    fn is_metadata_port(&self, _key: &PortKey) -> bool {
        false
    }

    fn socket(&self) -> Socket {
        Socket::NOBODY
    }

    fn grants_of(&self, _cgroup: u64) -> Grants {
        Grants::NONE
    }

    fn take_metadata_packet(&self, _sender: u64, _limit: u32) -> bool {
        true
    }

    fn node(&self, address: &V6) -> u8 {
        if world::peer(canonical(address)) == Peer::Node {
            node::OWN
        } else {
            0
        }
    }

    fn is_uplink(&self, _ifindex: u32) -> bool {
        true
    }

    fn is_service(&self, address: &V6, port: u16, protocol: u8) -> bool {
        if *address == ANY_NODE_ADDRESS {
            return (protocol, port) == (6, NODE_PORT);
        }
        world::peer(canonical(address)) == Peer::Service
            && port == SERVICE_PORT
            && matches!(protocol, 6 | 17)
    }

    fn source(&self, place: u16) -> SourceWord {
        if place == PLACE {
            SourceWord::new(IFINDEX, ENDPOINT).guarded()
        } else {
            SourceWord::NONE
        }
    }

    fn local(&self, address: &V6) -> Option<u16> {
        (world::peer(canonical(address)) == Peer::Own).then_some(PLACE)
    }

    fn count(&self, _hook: Hook, _outcome: &Outcome) {}

    fn report(&self, _context: &Context, _endpoint: u32, _outcome: &Outcome, _seen: &Seen) {}
}

/// The identity of an exact address: pods have one.
fn exact(of: IpAddr) -> Option<Identity> {
    match world::peer(of) {
        Peer::Friend => Some(POD | 1),
        Peer::Stranger => Some(POD | 2),
        _ => None,
    }
}

/// The identity of a network.
fn network(of: IpAddr) -> Option<Identity> {
    match world::peer(of) {
        Peer::Network => Some(3),
        Peer::Except => Some(4),
        _ => None,
    }
}

macro_rules! family {
    ($address:ty, $ip:ty, $memory:ident) => {
        impl FamilyTables<$address> for World {
            type Connection = Entry;

            fn identity(&self, address: &$address) -> Option<Identity> {
                exact(<$ip>::from(*address).into())
            }

            fn network(&self, address: &$address) -> Option<Identity> {
                network(<$ip>::from(*address).into())
            }

            fn connection(&self, key: &ConnectionKey<$address>) -> Option<Entry> {
                self.$memory.connections.borrow().get(key).copied()
            }

            fn track(&self, key: &ConnectionKey<$address>, connection: &Connection) {
                let entry = ENTRIES.with_borrow_mut(|entries| {
                    entries.push(*connection);
                    Entry(entries.len() - 1)
                });
                self.$memory.connections.borrow_mut().insert(*key, entry);
            }

            fn revoked(&self, key: &ConnectionKey<$address>) -> ConnectionWord {
                let revoked = self.$memory.revoked.borrow();
                revoked.get(key).copied().unwrap_or(ConnectionWord(0))
            }

            fn remember_revoked(&self, key: &ConnectionKey<$address>, word: ConnectionWord) {
                self.$memory.revoked.borrow_mut().insert(*key, word);
            }

            fn fragment(&self, whole: &Whole<'_, $address>) -> FragmentWord {
                let fragments = self.$memory.fragments.borrow();
                fragments
                    .get(&whole.key())
                    .copied()
                    .unwrap_or(FragmentWord::NONE)
            }

            fn remember_fragment(&self, whole: &Whole<'_, $address>, word: FragmentWord) {
                self.$memory
                    .fragments
                    .borrow_mut()
                    .insert(whole.key(), word);
            }
        }
    };
}

family!(V4, Ipv4Addr, v4);
family!(V6, Ipv6Addr, v6);
