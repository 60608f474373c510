//! Endpoints: records beside the old ones, then one word each.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use imbl::OrdMap;
use ringfence_common::{
    V4, V6,
    endpoint::{
        EndpointRecord, EndpointWord, MAX_ADDRESSES4, MAX_ADDRESSES6, NEAR_IFINDEX, NODE_IFINDEX,
        SourceWord, flags,
    },
    service::node,
    table::TableRef,
};

use super::{
    Bits, Wanted,
    addresses::Identities,
    allocate,
    installed::{EndpointState, GRANTS},
    plan::{Builder, Full, Op, fits},
    tables::TableIds,
};
use crate::{
    compile::{Access, Endpoint},
    model::PodKey,
};

impl Builder<'_> {
    /// Writes a record for every endpoint whose record changes, and a word for every one whose record or
    /// generation does; `shaken` is what [`Self::shaken`] says.
    pub(super) fn endpoints(
        &mut self,
        wanted: Wanted<'_>,
        tables: &TableIds,
        shaken: &BTreeSet<u32>,
        bits: &Bits,
    ) -> Result<(), Full> {
        let generation = self.installed.generation + 1;
        // What the node was let in for by an address that it no longer has is to be judged again.
        let fewer_node_addresses = self.installed.node_addresses.iter().any(|(address, bits)| {
            bits & node::OWN != 0 && !wanted.desired.node_addresses.contains(address)
        });
        let mut used: BTreeSet<u32> = self
            .installed
            .endpoints
            .values()
            .map(|state| state.word.slot())
            .collect();
        let mut numbers = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut locals = OrdMap::new();
        let mut places: BTreeSet<u16> = self
            .installed
            .endpoints
            .values()
            .map(|state| state.record.source)
            .collect();
        for (pod, endpoint) in &wanted.desired.endpoints {
            let ifindex = endpoint.located.ifindex;
            let old = self.installed.endpoints.get(&ifindex).copied();
            let name = name(pod, &endpoint.uid);
            let number = self.number(&name);
            numbers.insert(number);
            seen.insert(ifindex);
            let same = old.filter(|old| old.record.endpoint == number);
            let source = match same {
                Some(old) => old.record.source,
                // Nothing that it sends is judged again elsewhere.
                None if pod.is_node() => 0,
                None => {
                    let place = self.place(number, &places)?;
                    places.insert(place);
                    self.beside
                        .push(Op::Source(place, SourceWord::new(ifindex, number)));
                    place
                }
            };
            for &address in &endpoint.addresses {
                locals.entry(address).or_insert(source);
            }
            let record = EndpointRecord {
                born: same.map_or(generation, |old| old.record.born),
                endpoint: number,
                source,
                ..self.record(endpoint, tables, bits)
            };
            let touched = self.installed.interrupted
                || fewer_node_addresses
                || [record.ingress.id, record.egress.id]
                    .iter()
                    .any(|id| shaken.contains(id));
            let unchanged = same.is_some_and(|old| old.record == record);
            if unchanged && !touched {
                continue;
            }
            let slot = match same {
                Some(old) if unchanged => old.word.slot(),
                _ => {
                    let slot = self.slot(&used)?;
                    used.insert(slot);
                    self.beside.push(Op::Record(slot, Box::new(record)));
                    slot
                }
            };
            // Only what packets are judged by makes a new generation.
            let judged_alike = same.is_some_and(|old| {
                !touched
                    && old.record.ingress == record.ingress
                    && old.record.egress == record.egress
            });
            let generation = match same {
                Some(old) if judged_alike => old.word.generation(),
                _ => {
                    self.after.generation = generation;
                    generation
                }
            };
            let element = match old {
                Some(old) => old.element,
                None => self.element(ifindex)?,
            };
            let word = EndpointWord::new(slot, generation);
            self.swap.push(Op::Swap(ifindex, element, word));
            self.after.endpoints.insert(
                ifindex,
                EndpointState {
                    element,
                    word,
                    record,
                },
            );
        }
        fits(
            "GRANTS",
            "fewer pods with metadata access",
            wanted.grants.len(),
            GRANTS,
        )?;
        self.grants(granted(wanted.grants, bits));
        for (&ifindex, state) in &self.installed.endpoints {
            if !seen.contains(&ifindex) {
                self.swap
                    .push(Op::Swap(ifindex, state.element, EndpointWord::NONE));
                self.after.endpoints.remove(&ifindex);
            }
        }
        self.locals(locals)?;
        let kept: BTreeSet<u16> = self
            .after
            .endpoints
            .values()
            .map(|state| state.record.source)
            .collect();
        for state in self.installed.endpoints.values() {
            let place = state.record.source;
            if place != 0 && !kept.contains(&place) {
                self.forget.push(Op::Source(place, SourceWord::NONE));
            }
        }
        for (name, &number) in &self.installed.names {
            if !numbers.contains(&number) {
                self.after.names.remove(name);
                self.remove.push(Op::RemoveName(number));
            }
        }
        fits(
            "NAMES",
            "--endpoint-entries",
            self.after.names.len(),
            self.limits.endpoints,
        )
    }

    /// Gives every endpoint a new generation whose tables tell the old and the new identity of an address apart: all that
    /// [`Self::endpoints`] does where neither endpoints nor tables change.
    pub(super) fn renew(&mut self, shaken: &BTreeSet<u32>) {
        if shaken.is_empty() {
            return;
        }
        let generation = self.installed.generation + 1;
        for (&ifindex, state) in &self.installed.endpoints {
            let record = &state.record;
            if !shaken.contains(&record.ingress.id) && !shaken.contains(&record.egress.id) {
                continue;
            }
            let word = EndpointWord::new(state.word.slot(), generation);
            self.after.generation = generation;
            self.swap.push(Op::Swap(ifindex, state.element, word));
            self.after
                .endpoints
                .insert(ifindex, EndpointState { word, ..*state });
        }
    }

    /// Tables that stay and that tell apart the old and the new identity of an address that moves: their endpoints
    /// need a new generation.
    pub(super) fn shaken(&self, tables: &TableIds, identities: &Identities) -> BTreeSet<u32> {
        let staying = tables.staying.iter().map(|&(_, table)| table);
        let tells_apart = |table: &u32| {
            let [now, before] = [&self.after, self.installed].map(|it| it.classes.of(*table));
            now.tells_apart(&before, &identities.moves)
        };
        staying.filter(tells_apart).collect()
    }

    /// A place in `SOURCES` that nobody has. They are given out in turn, so that a mark from before is nobody's for long.
    fn place(&self, number: u32, used: &BTreeSet<u16>) -> Result<u16, Full> {
        let places = self.limits.sources;
        (0..places)
            .map(|step| 1 + (number.wrapping_sub(1).wrapping_add(step)) % places)
            .filter_map(|place| u16::try_from(place).ok())
            .find(|place| !used.contains(place))
            .ok_or(Full {
                map: "SOURCES",
                needed: used.len() + 1,
                limit: places as usize,
                flag: "--mark-source-mask",
            })
    }

    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.after.names.get(name) {
            return number;
        }
        self.after.last.endpoint += 1;
        // Entries of the connection table that are nobody's have these 24 bits zero.
        if self.after.last.endpoint.trailing_zeros() >= 24 {
            self.after.last.endpoint += 1;
        }
        let number = self.after.last.endpoint;
        self.after.names.insert(name.to_owned(), number);
        self.beside.push(Op::Name(number, name.to_owned()));
        number
    }

    /// A slot that no word names, now or after this plan. Slot 0 is never used.
    fn slot(&self, used: &BTreeSet<u32>) -> Result<u32, Full> {
        allocate::find(
            used.iter().map(|&slot| (slot, 1)),
            1,
            1,
            self.limits.endpoints,
        )
        .ok_or(Full {
            map: "RECORDS",
            needed: used.len() + 2,
            limit: self.limits.endpoints as usize,
            flag: "--endpoint-entries",
        })
    }

    fn element(&self, ifindex: u32) -> Result<u32, Full> {
        if ifindex < NEAR_IFINDEX {
            return Ok(ifindex);
        }
        let far = |states: &OrdMap<u32, EndpointState>| -> Vec<_> {
            states
                .values()
                .map(|state| state.element)
                .filter(|&at| at >= NEAR_IFINDEX)
                .collect()
        };
        let mut used = far(&self.after.endpoints);
        used.extend(far(&self.installed.endpoints));
        used.sort_unstable();
        used.dedup();
        let count = used.len();
        let limit = NEAR_IFINDEX + self.limits.endpoints;
        allocate::find(used.into_iter().map(|at| (at, 1)), NEAR_IFINDEX, 1, limit).ok_or(Full {
            map: "ENDPOINTS",
            needed: count + 1,
            limit: self.limits.endpoints as usize,
            flag: "--endpoint-entries",
        })
    }

    fn record(&self, endpoint: &Endpoint, tables: &TableIds, bits: &Bits) -> EndpointRecord {
        let reference = |index: Option<usize>| {
            index.map_or(TableRef::NONE, |index| {
                self.after.tables[&tables.wanted[&index]].table
            })
        };
        let (addresses4, addresses6) = own_addresses(endpoint);
        let hardware = endpoint.located.hardware_address;
        let encapsulates = if endpoint.encapsulates {
            flags::ENCAPSULATES
        } else {
            0
        };
        EndpointRecord {
            born: 0,
            endpoint: 0,
            flags: match hardware {
                _ if endpoint.located.ifindex == NODE_IFINDEX => flags::NODE,
                Some(_) => flags::HARDWARE_ADDRESS | encapsulates,
                None => encapsulates,
            },
            addresses4,
            ingress: reference(endpoint.ingress),
            egress: reference(endpoint.egress),
            grants: bits.grants(&endpoint.metadata).0,
            addresses6,
            hardware_address: hardware.unwrap_or_default(),
            source: 0,
        }
    }

    fn grants(&mut self, grants: BTreeMap<u64, u64>) {
        for (&cgroup, &bits) in &grants {
            if self.installed.grants.get(&cgroup) != Some(&bits) {
                self.swap.push(Op::Grant(cgroup, bits));
            }
        }
        for &cgroup in self.installed.grants.keys() {
            if !grants.contains_key(&cgroup) {
                self.swap.push(Op::Revoke(cgroup));
            }
        }
        self.after.grants = grants;
    }
}

/// The grants of cgroups, as the kernel has them.
pub(super) fn granted(wanted: &BTreeMap<u64, Arc<Access>>, bits: &Bits) -> BTreeMap<u64, u64> {
    let grants = wanted.iter();
    let grants = grants.map(|(&cgroup, access)| (cgroup, bits.grants(access).0));
    grants.collect()
}

/// What an endpoint's name is in the catalogue: another UID is another endpoint.
fn name(pod: &PodKey, uid: &str) -> String {
    if uid.is_empty() {
        pod.to_string()
    } else {
        format!("{pod} {uid}")
    }
}

/// The addresses that a record holds; the compiler has complained about others.
fn own_addresses(endpoint: &Endpoint) -> ([V4; MAX_ADDRESSES4], [V6; MAX_ADDRESSES6]) {
    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    for address in endpoint.sender_addresses() {
        match address {
            IpAddr::V4(address) => v4.push(address.octets()),
            IpAddr::V6(address) => v6.push(address.octets()),
        }
    }
    (
        std::array::from_fn(|at| v4.get(at).copied().unwrap_or_default()),
        std::array::from_fn(|at| v6.get(at).copied().unwrap_or_default()),
    )
}
