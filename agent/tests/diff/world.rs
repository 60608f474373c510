//! Random worlds: what is desired of them, what they say of a packet, and what the judge says.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;
use proptest::{collection::vec, prelude::*, sample::select};
use ringfence_agent::{
    compile::{Desired, DesiredCell, Endpoint, Row, Table},
    dataplane::fake::FakeMaps,
    model::{Located, PodKey},
};
use ringfence_common::{
    cell::{Tier, Verdict},
    judge::{Tables as _, decide},
};

/// Networks that worlds choose from: overlapping, and exact ones among them.
pub(super) const NETS: [&str; 9] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.1/32",
    "10.1.1.2/32",
    "10.1.2.0/24",
    "10.2.0.1/32",
    "10.2.0.2/32",
    "0.0.0.0/0",
];

/// Addresses that are asked about: inside and outside of them all.
pub(super) const ASKED: [&str; 8] = [
    "10.1.1.1",
    "10.1.1.2",
    "10.1.1.3",
    "10.1.2.1",
    "10.1.3.1",
    "10.2.0.1",
    "10.2.0.2",
    "192.0.2.1",
];

pub(super) const PORTS: [u16; 5] = [0, 80, 256, 443, 65535];

/// A world: signatures (by number) of networks, and for each of two endpoints the verdicts by signature and column.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) nets: BTreeMap<&'static str, u8>,
    pub(super) tables: Vec<Option<BTreeMap<u8, [bool; 2]>>>,
    pub(super) split: u16,
}

pub(super) fn world() -> impl Strategy<Value = World> {
    let nets = proptest::collection::btree_map(select(&NETS[..]), 0_u8..5, 0..NETS.len());
    let rows = proptest::collection::btree_map(0_u8..5, any::<[bool; 2]>(), 0..5);
    let tables = vec(proptest::option::of(rows), 2);
    (nets, tables, select(&PORTS[1..])).prop_map(|(nets, tables, split)| World {
        nets,
        tables,
        split,
    })
}

pub(super) fn desired(world: &World) -> Desired {
    let mut numbers: Vec<u8> = world
        .nets
        .values()
        .copied()
        .filter(|&number| number > 0)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let index = |number: u8| {
        numbers
            .iter()
            .position(|&n| n == number)
            .map_or(0, |at| at + 1)
    };
    let mut desired = Desired {
        rules: vec!["allow".to_owned(), "deny".to_owned()].into(),
        signatures: std::iter::once(Vec::new())
            .chain(
                numbers
                    .iter()
                    .map(|number| vec![format!("atom {number}").into()]),
            )
            .collect(),
        addresses: world
            .nets
            .iter()
            .map(|(net, &n)| (net.parse::<IpNet>().unwrap(), index(n)))
            .collect(),
        ..Desired::default()
    };
    for (at, rows) in world.tables.iter().enumerate() {
        let ingress = rows.as_ref().map(|rows| {
            let table = table(rows, &numbers, world.split);
            let known = desired.tables.values().position(|other| *other == table);
            known.unwrap_or_else(|| {
                let number = desired.tables.len();
                desired.tables.insert(number, table);
                number
            })
        });
        let located = Located {
            ifindex: u32::try_from(at).unwrap() + 10,
            interface: format!("veth{at}"),
            hardware_address: None,
            addresses: Vec::new(),
        };
        let endpoint = Endpoint {
            uid: String::new(),
            located,
            addresses: vec![IpAddr::from([10, 9, 0, u8::try_from(at).unwrap()])],
            ingress,
            egress: None,
            metadata: std::sync::Arc::default(),
            encapsulates: false,
            cgroup: format!("pod{at}"),
        };
        let key = PodKey {
            namespace: "ns".to_owned(),
            name: format!("pod{at}"),
        };
        desired.endpoints.insert(key, endpoint);
    }
    desired
}

/// A table with two columns: ports below `split` and the rest.
pub(super) fn table(rows: &BTreeMap<u8, [bool; 2]>, numbers: &[u8], split: u16) -> Table {
    let row = |number: u8| -> Vec<DesiredCell> {
        let cell = |&allow: &bool| DesiredCell {
            binds_own_node: false,
            would_bind_own_node: !allow,
            live: if allow { Verdict::Allow } else { Verdict::Deny },
            staged: Verdict::Deny,
            tier: Tier::NetworkPolicy,
            rule: Some(usize::from(!allow)),
        };
        rows.get(&number)
            .unwrap_or(&[false, false])
            .iter()
            .map(cell)
            .collect()
    };
    let mut distinct = vec![row(0)];
    let mut classes = Vec::new();
    for (at, &number) in numbers.iter().enumerate() {
        let row = row(number);
        let class = distinct
            .iter()
            .position(|known| *known == row)
            .unwrap_or_else(|| {
                distinct.push(row);
                distinct.len() - 1
            });
        if class != 0 {
            classes.push((at + 1, u32::try_from(class).unwrap()));
        }
    }
    let ports = vec![(0, 0), (split, 1)];
    Table {
        columns: 2,
        ports: [ports.clone(), ports.clone(), ports],
        rows: distinct.into_iter().map(Row::from).collect(),
        classes: classes.into_iter().collect(),
        looks_at_networks: true,
    }
}

/// What a world says, computed without any of the above: longest network, its number, the row.
pub(super) fn says(world: &World, endpoint: usize, address: IpAddr, port: u16) -> bool {
    let Some(rows) = &world.tables[endpoint] else {
        return true;
    };
    let number = world
        .nets
        .iter()
        .map(|(net, number)| (net.parse::<IpNet>().unwrap(), *number))
        .filter(|(net, _)| net.contains(&address))
        .max_by_key(|(net, _)| net.prefix_len())
        .map_or(0, |(_, number)| number);
    rows.get(&number).unwrap_or(&[false, false])[usize::from(port >= world.split)]
}

pub(super) fn judged(
    maps: &FakeMaps,
    endpoint: usize,
    address: Ipv4Addr,
    port: u16,
) -> Option<bool> {
    let word = maps.endpoint(u32::try_from(endpoint).unwrap() + 10);
    let record = maps.record(word.slot())?;
    let cell =
        decide(maps, &record.ingress, &address.octets(), 6, port).expect("every cell is written");
    Some(cell.live() == Some(Verdict::Allow))
}

pub(super) fn cells() -> impl Iterator<Item = (usize, Ipv4Addr, u16)> {
    (0..2).flat_map(|endpoint| {
        ASKED.iter().flat_map(move |address| {
            PORTS
                .iter()
                .map(move |&port| (endpoint, address.parse().unwrap(), port))
        })
    })
}
