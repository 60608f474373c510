//! The judge's view of maps made of plain values.

use ringfence_common::{
    Hook, V6,
    cell::Cell,
    config::Config,
    connection::{Connection, ConnectionWord},
    endpoint::{EndpointRecord, EndpointWord, SourceWord},
    judge::{ConnectionRef, Context, Outcome, RateWord, Seen, Socket, Tables},
    metadata::{Grants, MetadataWord, PortKey, sieve_bit},
    service::ServiceKey,
    table::ClassKey,
};

use super::{FakeMaps, FakeRef};
use crate::dataplane::maps::unmapped;

impl Tables for FakeMaps {
    fn config(&self) -> &Config {
        &self.config
    }

    fn now(&self) -> u32 {
        self.now
    }

    fn endpoint(&self, ifindex: u32) -> EndpointWord {
        self.endpoints
            .get(&ifindex)
            .copied()
            .unwrap_or(EndpointWord::NONE)
    }

    fn record(&self, slot: u32) -> Option<&EndpointRecord> {
        if slot == 0 {
            None
        } else {
            self.records.get(&slot)
        }
    }

    fn class(&self, key: ClassKey) -> Option<u16> {
        self.classes.get(&key)?.class(key)
    }

    fn page_entry(&self, page: u32, entry: u8) -> Option<u16> {
        self.pages.get(&page).map(|page| page.0[usize::from(entry)])
    }

    fn cell(&self, index: u32) -> Option<Cell> {
        self.cells.get(&index).copied()
    }

    fn may_be_metadata(&self, address: &V6) -> bool {
        let bit = sieve_bit(address);
        let word = self.sieve.get(&(bit / 64)).copied().unwrap_or(0);
        self.sieve.is_empty() || word >> (bit % 64) & 1 == 1
    }

    fn metadata(&self, address: &V6) -> Option<MetadataWord> {
        self.metadata.get(address).copied()
    }

    fn is_metadata_port(&self, key: &PortKey) -> bool {
        self.metadata_ports.contains(key)
    }

    fn socket(&self) -> Socket {
        self.socket
    }

    fn grants_of(&self, cgroup: u64) -> Grants {
        let known = self.catalogue.grants.get(&cgroup).copied();
        Grants(known.unwrap_or(0))
    }

    fn take_metadata_packet(&self, sender: u64, limit: u32) -> bool {
        let mut rates = self.metadata_rates.borrow_mut();
        let next = match rates.get(&sender) {
            Some(word) => word.next(self.now, limit),
            None => Some(RateWord::first(self.now)),
        };
        next.map(|word| rates.insert(sender, word)).is_some()
    }

    fn node(&self, address: &V6) -> u8 {
        let known = self.node_addresses.get(&unmapped(*address));
        known.copied().unwrap_or(0)
    }

    fn is_uplink(&self, ifindex: u32) -> bool {
        !self.bridges.contains(&ifindex)
    }

    fn is_service(&self, address: &V6, port: u16, protocol: u8) -> bool {
        self.services.contains_key(&ServiceKey {
            address: *address,
            port,
            protocol,
            _pad: 0,
        })
    }

    fn source(&self, place: u16) -> SourceWord {
        self.sources
            .get(&place)
            .copied()
            .unwrap_or(SourceWord::NONE)
    }

    fn local(&self, address: &V6) -> Option<u16> {
        self.locals.get(&unmapped(*address)).copied()
    }

    fn count(&self, _hook: Hook, _outcome: &Outcome) {}

    fn report(&self, _context: &Context, _endpoint: u32, outcome: &Outcome, seen: &Seen) {
        if outcome.is_event() {
            self.reports.borrow_mut().push((*outcome, *seen));
        }
    }
}

impl FakeRef {
    fn change(self, change: impl FnOnce(&mut Connection)) {
        let mut connection = self.0.get();
        change(&mut connection);
        self.0.set(connection);
    }
}

impl ConnectionRef for FakeRef {
    fn word(self) -> ConnectionWord {
        self.0.get().word
    }
    fn set_word(self, word: ConnectionWord) {
        self.change(|connection| connection.word = word);
    }
    fn cell(self) -> Cell {
        self.0.get().cell
    }
    fn set_cell(self, cell: Cell) {
        self.change(|connection| connection.cell = cell);
    }
    fn seen(self) -> u32 {
        self.0.get().seen
    }
    fn set_seen(self, tick: u32) {
        self.change(|connection| connection.seen = tick);
    }
    fn state(self) -> u32 {
        self.0.get().state
    }
    fn set_state(self, state: u32) {
        self.change(|connection| connection.state = state);
    }
}
