//! What the maps must hold, as the operations that would write it: for whoever compares.

use std::collections::BTreeSet;

use ringfence_common::{
    endpoint::{EndpointWord, NEAR_IFINDEX, NODE_IFINDEX, SourceWord},
    mark::MAX_SOURCES,
};

use super::{EndpointState, Installed, Op, Planner, metadata::sieve, tables};

/// Something that the maps must hold. Each says what is there; writing it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// What would write it.
    pub op: Op,
    /// The table that it belongs to, for content that nothing else tells of.
    table: Option<u32>,
}

impl From<Op> for Expected {
    fn from(op: Op) -> Self {
        Self { op, table: None }
    }
}

impl Planner {
    /// What the maps must hold, piece by piece; made as it is asked for, from the state as it is now. `None` while it is not
    /// known how things lie.
    #[must_use]
    pub fn expected(&self) -> Option<Box<dyn Iterator<Item = Expected> + Send>> {
        let memory = self.memory()?;
        let installed = self.installed().clone();
        let desired = memory.desired.clone();
        let laid_out = memory.tables.clone().into_iter();
        let known = installed.clone();
        let content = laid_out.flat_map(move |(number, id)| {
            let mut ops = Vec::new();
            if let (Some(table), Some(state)) = (desired.tables.get(&number), known.tables.get(&id))
            {
                if state.pages > 0 {
                    ops.push(Op::Pages(state.table.pages, tables::pages(table)));
                }
                let cells = tables::cells(&desired, table.rows.iter(), &known.rules);
                ops.push(Op::Cells(state.table.cells, cells));
            }
            ops.into_iter().map(move |op| Expected {
                op,
                table: Some(id),
            })
        });
        Some(Box::new(
            entries(installed).map(Expected::from).chain(content),
        ))
    }

    /// True if the maps must still hold this.
    #[must_use]
    pub fn still_expects(&self, expected: &Expected) -> bool {
        match expected.table {
            // A number is given to one table, which never moves; what it had once it has still, in front of what it got since.
            Some(id) => self.installed().tables.contains_key(&id),
            None => holds(self.installed(), &expected.op),
        }
    }

    /// True if what this operation removes must be there.
    #[must_use]
    pub fn still_needs(&self, remove: &Op) -> bool {
        let it = self.installed();
        match remove {
            Op::RemoveRule(id) => it.rules.values().any(|known| known == id),
            Op::RemoveName(id) => it.names.values().any(|known| known == id),
            Op::RemoveIdentity(id) => it.identities.contains_key(id),
            Op::RemoveTable(id) => it.tables.contains_key(id),
            Op::RemoveClass(table, identity) => it.classes.of(*table).get(*identity).is_some(),
            Op::RemoveAddress(net) => it.addresses.contains_key(net),
            Op::RemoveNodeAddress(address) => it.node_addresses.contains_key(address),
            Op::RemoveService(translated) => it.services.contains(translated),
            Op::RemoveLocal(address) => it.locals.contains_key(address),
            Op::RemoveFar(ifindex) => it
                .endpoints
                .get(ifindex)
                .is_some_and(|state| state.element >= NEAR_IFINDEX),
            Op::Revoke(cgroup) => it.grants.contains_key(cgroup),
            Op::RemoveMetadata(address) => it.metadata.contains_key(address),
            Op::RemoveMetadataPort(key) => it.metadata_ports.contains(key),
            _ => true,
        }
    }
}

/// Everything but the content of tables.
fn entries(it: Installed) -> impl Iterator<Item = Op> + Send {
    let reserve = Op::Reserve {
        generation: it.generation,
        revision: it.revision,
        last: it.last,
    };
    let taken: BTreeSet<u32> = it.endpoints.values().map(|state| state.element).collect();
    let free = (0..NEAR_IFINDEX)
        .filter(move |element| !taken.contains(element))
        .map(|element| Op::Swap(element, element, EndpointWord::NONE));
    let places: BTreeSet<u16> = it
        .endpoints
        .values()
        .map(|state| state.record.source)
        .filter(|&place| place != 0)
        .collect();
    let nobodys = (0..MAX_SOURCES)
        .filter_map(|place| u16::try_from(place).ok())
        .filter(move |place| !places.contains(place))
        .map(|place| Op::Source(place, SourceWord::NONE));
    let endpoints = it.endpoints.into_iter().flat_map(|(ifindex, state)| {
        let of_pod = Op::Source(state.record.source, source(ifindex, &state));
        [
            Op::Record(state.word.slot(), Box::new(state.record)),
            Op::Swap(ifindex, state.element, state.word),
        ]
        .into_iter()
        .chain((ifindex != NODE_IFINDEX).then_some(of_pod))
    });
    let classes = it.classes.iter();
    let classes: Vec<Op> = classes
        .map(|(table, identity, class)| Op::Class(table, identity, class))
        .collect();
    // What the sieve does not let through is not looked up.
    let sieve = (0..).zip(sieve(it.metadata.keys()));
    [reserve, Op::Done(it.revision)]
        .into_iter()
        .chain(sieve.map(|(at, bits)| Op::Sieve(at, bits)))
        .chain(it.metadata_ports.into_iter().map(Op::MetadataPort))
        .chain(
            it.metadata
                .into_iter()
                .map(|(address, word)| Op::Metadata(address, word)),
        )
        .chain(endpoints)
        .chain(free)
        .chain(nobodys)
        .chain(it.rules.into_iter().map(|(name, id)| Op::Rule(id, name)))
        .chain(it.names.into_iter().map(|(name, id)| Op::Name(id, name)))
        .chain(
            it.identities
                .into_iter()
                .map(|(id, digest)| Op::Identity(id, digest)),
        )
        .chain(
            it.tables
                .into_iter()
                .map(|(id, state)| Op::Table(id, state)),
        )
        .chain(classes)
        .chain(
            it.addresses
                .into_iter()
                .map(|(net, identity)| Op::Address(net, identity)),
        )
        .chain(
            it.node_addresses
                .into_iter()
                .map(|(address, bits)| Op::NodeAddress(address, bits)),
        )
        .chain(it.services.into_iter().map(Op::Service))
        .chain(
            it.locals
                .into_iter()
                .map(|(address, place)| Op::Local(address, place)),
        )
        .chain(
            it.grants
                .into_iter()
                .map(|(cgroup, bits)| Op::Grant(cgroup, bits)),
        )
}

fn source(ifindex: u32, state: &EndpointState) -> SourceWord {
    SourceWord::new(ifindex, state.record.endpoint)
}

fn holds(it: &Installed, op: &Op) -> bool {
    match op {
        Op::Reserve {
            generation,
            revision,
            last,
        } => (it.generation, it.revision, it.last) == (*generation, *revision, *last),
        Op::Done(revision) => it.revision == *revision,
        Op::Rule(id, name) => it.rules.get(name) == Some(id),
        Op::Name(id, name) => it.names.get(name) == Some(id),
        Op::Identity(id, digest) => it.identities.get(id) == Some(digest),
        Op::Table(id, state) => it.tables.get(id) == Some(state),
        Op::Class(table, identity, class) => it.classes.of(*table).get(*identity) == Some(*class),
        Op::Address(net, identity) => it.addresses.get(net) == Some(identity),
        Op::NodeAddress(address, bits) => it.node_addresses.get(address) == Some(bits),
        Op::Service(translated) => it.services.contains(translated),
        Op::Local(address, place) => it.locals.get(address) == Some(place),
        Op::Sieve(at, bits) => {
            let mut words = sieve(it.metadata.keys()).into_iter();
            words.nth(*at as usize) == Some(*bits)
        }
        Op::Metadata(address, word) => it.metadata.get(address) == Some(word),
        Op::MetadataPort(key) => it.metadata_ports.contains(key),
        Op::Grant(cgroup, bits) => it.grants.get(cgroup) == Some(bits),
        Op::Record(slot, record) => it
            .endpoints
            .values()
            .any(|state| state.word.slot() == *slot && state.record == **record),
        Op::Source(place, word) => {
            let mut whose = it.endpoints.iter().filter(|&(&ifindex, state)| {
                ifindex != NODE_IFINDEX && state.record.source == *place
            });
            match whose.next() {
                Some((ifindex, state)) => source(*ifindex, state) == *word,
                None => *word == SourceWord::NONE,
            }
        }
        Op::Swap(_, element, EndpointWord::NONE) => {
            !it.endpoints.values().any(|state| state.element == *element)
        }
        Op::Swap(ifindex, element, word) => it
            .endpoints
            .get(ifindex)
            .is_some_and(|state| (state.element, state.word) == (*element, *word)),
        _ => false,
    }
}
