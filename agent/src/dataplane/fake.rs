//! Maps made of collections: the judge runs on them as it does on the kernel's.

mod tables;

use std::{
    cell::{Cell as Shared, RefCell},
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    rc::Rc,
};

use ipnet::IpNet;
use ringfence_common::{
    V4, V6,
    cell::Cell,
    config::Config,
    connection::{Connection, ConnectionKey, ConnectionWord, FragmentKey, FragmentWord, Whole},
    endpoint::{EndpointRecord, EndpointWord, SourceWord},
    identity::Identity,
    judge::{FamilyTables, Outcome, RateWord, Seen, Socket},
    metadata::{MetadataWord, PortKey},
    service::ServiceKey,
    table::{ClassKey, ClassWord, Page},
};

use super::maps::service_key;
use crate::{
    compile::Translated,
    diff::{EndpointState, Installed, Op},
};

/// Maps made of collections.
#[derive(Debug, Default)]
pub struct FakeMaps {
    /// `CONFIG`.
    pub config: Config,
    /// The tick that the judge sees.
    pub now: u32,
    /// `ENDPOINTS` and `FAR_ENDPOINTS` in one, by ifindex.
    pub endpoints: BTreeMap<u32, EndpointWord>,
    /// Elements of `ENDPOINTS`, by ifindex.
    pub elements: BTreeMap<u32, u32>,
    /// `RECORDS`.
    pub records: BTreeMap<u32, EndpointRecord>,
    /// `ADDRESSES*` and `NETWORKS*`.
    pub addresses: BTreeMap<IpNet, Identity>,
    /// `NODE_ADDRESSES`.
    pub node_addresses: BTreeMap<IpAddr, u8>,
    /// `SERVICES`.
    pub services: BTreeMap<ServiceKey, Translated>,
    /// `SOURCES`.
    pub sources: BTreeMap<u16, SourceWord>,
    /// `LOCALS`.
    pub locals: BTreeMap<IpAddr, u16>,
    /// `CLASSES`.
    pub classes: BTreeMap<ClassKey, ClassWord>,
    /// `PAGES`.
    pub pages: BTreeMap<u32, Page>,
    /// `CELLS`.
    pub cells: BTreeMap<u32, Cell>,
    /// `METADATA`.
    pub metadata: BTreeMap<V6, MetadataWord>,
    /// `METADATA_SIEVE`; while it is empty nothing is sieved out.
    pub sieve: BTreeMap<u32, u64>,
    /// `METADATA_PORTS`.
    pub metadata_ports: BTreeSet<PortKey>,
    /// `METADATA_RATES`.
    pub metadata_rates: RefCell<BTreeMap<u64, RateWord>>,
    /// Who on this machine sends the packet that is judged.
    pub socket: Socket,
    /// Devices that are not in `UPLINKS`.
    pub bridges: BTreeSet<u32>,
    /// The catalogues, as they are read back.
    pub catalogue: Installed,
    /// The last revision that came into force.
    pub done: u64,
    /// `CONNECTIONS4`.
    pub connections4: RefCell<BTreeMap<ConnectionKey<V4>, FakeConnection>>,
    /// `CONNECTIONS6`.
    pub connections6: RefCell<BTreeMap<ConnectionKey<V6>, FakeConnection>>,
    /// `REVOKED4`.
    pub revoked4: RefCell<BTreeMap<ConnectionKey<V4>, ConnectionWord>>,
    /// `REVOKED6`.
    pub revoked6: RefCell<BTreeMap<ConnectionKey<V6>, ConnectionWord>>,
    /// `FRAGMENTS4`.
    pub fragments4: RefCell<BTreeMap<FragmentKey<V4>, FragmentWord>>,
    /// `FRAGMENTS6`.
    pub fragments6: RefCell<BTreeMap<FragmentKey<V6>, FragmentWord>>,
    /// What was reported.
    pub reports: RefCell<Vec<(Outcome, Seen)>>,
}

/// An entry of the connection table. It is never freed: the kernel's entries are not either while a program looks.
#[derive(Clone, Debug)]
pub struct FakeConnection(Rc<Shared<Connection>>);

/// A handle on a [`FakeConnection`]; leaked, because the judge copies it.
#[derive(Clone, Copy, Debug)]
pub struct FakeRef(&'static Shared<Connection>);

impl FakeMaps {
    /// Does one step of a plan, as the real maps do.
    pub fn execute(&mut self, op: &Op) {
        match op {
            Op::Pages(at, pages) => self.pages.extend((*at..).zip(pages.iter().copied())),
            Op::Cells(at, cells) => self.cells.extend((*at..).zip(cells.iter().copied())),
            Op::Class(table, identity, class) => {
                let key = ClassKey {
                    table: *table,
                    identity: *identity,
                };
                self.classes.insert(key, ClassWord::new(key, *class));
            }
            Op::RemoveClass(table, identity) => {
                self.classes.remove(&ClassKey {
                    table: *table,
                    identity: *identity,
                });
            }
            Op::Address(net, identity) => {
                self.addresses.insert(*net, *identity);
            }
            Op::RemoveAddress(net) => {
                self.addresses.remove(net);
            }
            Op::NodeAddress(address, bits) => {
                self.node_addresses.insert(*address, *bits);
            }
            Op::RemoveNodeAddress(address) => {
                self.node_addresses.remove(address);
            }
            Op::Service(translated) => {
                self.services.insert(service_key(translated), *translated);
            }
            Op::RemoveService(translated) => {
                self.services.remove(&service_key(translated));
            }
            Op::Source(place, word) => {
                self.sources.insert(*place, *word);
            }
            Op::Local(address, place) => {
                self.locals.insert(*address, *place);
            }
            Op::RemoveLocal(address) => {
                self.locals.remove(address);
            }
            Op::Metadata(address, word) => {
                self.metadata.insert(*address, *word);
            }
            Op::RemoveMetadata(address) => {
                self.metadata.remove(address);
            }
            Op::Sieve(at, bits) => {
                self.sieve.insert(*at, *bits);
            }
            Op::MetadataPort(key) => {
                self.metadata_ports.insert(*key);
            }
            Op::RemoveMetadataPort(key) => {
                self.metadata_ports.remove(key);
            }
            Op::MetadataAudit(audited) => self.config.metadata_audit = u32::from(*audited),
            Op::Record(slot, record) => {
                self.records.insert(*slot, **record);
            }
            Op::Swap(ifindex, element, word) => {
                self.endpoints.insert(*ifindex, *word);
                self.elements.insert(*ifindex, *element);
            }
            other => self.catalogue(other),
        }
    }

    /// Does a step that does not concern the judge of packets.
    fn catalogue(&mut self, op: &Op) {
        let catalogue = &mut self.catalogue;
        match op {
            Op::Reserve {
                generation,
                revision,
                last,
            } => {
                (catalogue.generation, catalogue.revision, catalogue.last) =
                    (*generation, *revision, *last);
            }
            Op::Done(revision) => self.done = *revision,
            Op::Rule(id, name) => {
                catalogue.rules.insert(name.clone(), *id);
            }
            Op::RemoveRule(id) => {
                let kept = catalogue.rules.iter().filter(|(_, known)| *known != id);
                catalogue.rules = kept.map(|(name, id)| (name.clone(), *id)).collect();
            }
            Op::Name(id, name) => {
                catalogue.names.insert(name.clone(), *id);
            }
            Op::RemoveName(id) => {
                let kept = catalogue.names.iter().filter(|(_, known)| *known != id);
                catalogue.names = kept.map(|(name, id)| (name.clone(), *id)).collect();
            }
            Op::Identity(id, digest) => {
                catalogue.identities.insert(*id, *digest);
            }
            Op::RemoveIdentity(id) => {
                catalogue.identities.remove(id);
            }
            Op::Table(id, state) => {
                catalogue.tables.insert(*id, *state);
            }
            Op::RemoveTable(id) => {
                catalogue.tables.remove(id);
            }
            Op::Grant(cgroup, bits) => {
                catalogue.grants.insert(*cgroup, *bits);
            }
            Op::Revoke(cgroup) => {
                catalogue.grants.remove(cgroup);
            }
            _ => {}
        }
    }

    /// Reads everything back, as an agent does when it starts.
    #[must_use]
    pub fn read(&self) -> Installed {
        let endpoint = |(&ifindex, &word): (&u32, &EndpointWord)| {
            let record = *self.records.get(&word.slot())?;
            Some((
                ifindex,
                EndpointState {
                    element: self.elements[&ifindex],
                    word,
                    record,
                },
            ))
        };
        let class = |(key, word): (&ClassKey, &ClassWord)| {
            Some((key.table, key.identity, word.class(*key)?))
        };
        Installed {
            interrupted: self.catalogue.revision != self.done,
            addresses: self.addresses.iter().map(|(net, it)| (*net, *it)).collect(),
            classes: self.classes.iter().filter_map(class).collect(),
            endpoints: self.endpoints.iter().filter_map(endpoint).collect(),
            node_addresses: self.node_addresses.clone().into(),
            services: self.services.values().copied().collect(),
            locals: self.locals.clone().into(),
            metadata: self.metadata.clone().into(),
            metadata_ports: self.metadata_ports.iter().copied().collect(),
            metadata_audited: self.config.is_metadata_audited(),
            ..self.catalogue.clone()
        }
    }

    fn longest(&self, address: IpAddr) -> Option<Identity> {
        let exact = IpNet::from(address);
        std::iter::successors(exact.supernet(), IpNet::supernet)
            .find_map(|net| self.addresses.get(&net).copied())
    }
}

macro_rules! family {
    ($address:ty, $connections:ident, $revoked:ident, $fragments:ident) => {
        impl FamilyTables<$address> for FakeMaps {
            type Connection = FakeRef;

            fn identity(&self, address: &$address) -> Option<Identity> {
                self.addresses
                    .get(&IpNet::from(IpAddr::from(*address)))
                    .copied()
            }

            fn network(&self, address: &$address) -> Option<Identity> {
                self.longest(IpAddr::from(*address))
            }

            fn connection(&self, key: &ConnectionKey<$address>) -> Option<FakeRef> {
                let entry = self.$connections.borrow().get(key)?.0.clone();
                // The entry lives as long as the process: one more count is never given back.
                Some(FakeRef(Box::leak(Box::new(entry))))
            }

            fn track(&self, key: &ConnectionKey<$address>, connection: &Connection) {
                let entry = FakeConnection(Rc::new(Shared::new(*connection)));
                self.$connections.borrow_mut().insert(*key, entry);
            }

            fn revoked(&self, key: &ConnectionKey<$address>) -> ConnectionWord {
                let known = self.$revoked.borrow().get(key).copied();
                known.unwrap_or(ConnectionWord(0))
            }

            fn remember_revoked(&self, key: &ConnectionKey<$address>, word: ConnectionWord) {
                self.$revoked.borrow_mut().insert(*key, word);
            }

            fn fragment(&self, whole: &Whole<'_, $address>) -> FragmentWord {
                let known = self.$fragments.borrow().get(&whole.key()).copied();
                known.unwrap_or(FragmentWord::NONE)
            }

            fn remember_fragment(&self, whole: &Whole<'_, $address>, word: FragmentWord) {
                self.$fragments.borrow_mut().insert(whole.key(), word);
            }
        }
    };
}

family!(V4, connections4, revoked4, fragments4);
family!(V6, connections6, revoked6, fragments6);
