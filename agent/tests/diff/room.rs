//! Where tables lie: they grow where they are, and room to grow is no reason to refuse a state.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::IpNet;
use ringfence_agent::{
    compile::{Desired, DesiredCell, Endpoint, Row, Table},
    dataplane::fake::FakeMaps,
    diff::{Limits, Op, Planner, Wanted},
    model::{Located, PodKey},
};
use ringfence_common::{
    cell::{Tier, Verdict},
    judge::Tables as _,
};

use super::world::judged;

/// A row that allows the columns whose bit is set in `allowed`.
fn row(columns: usize, allowed: usize) -> Row {
    let cell = |column: usize| {
        let verdict = if allowed >> (column % 16) & 1 == 1 {
            Verdict::Allow
        } else {
            Verdict::Deny
        };
        DesiredCell {
            binds_own_node: false,
            would_bind_own_node: false,
            live: verdict,
            staged: verdict,
            tier: Tier::NetworkPolicy,
            rule: None,
        }
    };
    (0..columns).map(cell).collect()
}

/// A table of so many rows; port N has column N.
fn table(number: usize, rows: usize, columns: usize) -> Table {
    let ports: Vec<(u16, usize)> = (0..columns)
        .map(|it| (u16::try_from(it).unwrap(), it))
        .collect();
    Table {
        columns,
        ports: [ports.clone(), ports.clone(), ports],
        rows: (0..rows).map(|at| row(columns, at ^ number)).collect(),
        classes: (1..rows).zip(1..).collect(),
        looks_at_networks: false,
    }
}

/// A state with these tables, one for each of as many endpoints; signature N is that of 10.0.0.N.
fn desired(tables: Vec<Table>, signatures: usize) -> Desired {
    let mut desired = Desired {
        signatures: (0..signatures)
            .map(|number| match number {
                0 => Vec::new(),
                number => vec![format!("atom {number}").into()],
            })
            .collect(),
        addresses: (1..signatures)
            .map(|number| {
                let address = IpAddr::from([10, 0, 0, u8::try_from(number).unwrap()]);
                (IpNet::from(address), number)
            })
            .collect(),
        ..Desired::default()
    };
    for (number, table) in tables.into_iter().enumerate() {
        desired.tables.insert(number, table);
        let key = PodKey {
            namespace: "ns".to_owned(),
            name: format!("pod{number:03}"),
        };
        let endpoint = Endpoint {
            uid: String::new(),
            located: Located {
                ifindex: u32::try_from(number).unwrap() + 10,
                interface: format!("veth{number}"),
                hardware_address: None,
                addresses: Vec::new(),
            },
            addresses: vec![IpAddr::from([10, 9, 0, u8::try_from(number).unwrap()])],
            ingress: Some(number),
            egress: None,
            metadata: Arc::default(),
            encapsulates: false,
            cgroup: format!("pod{number}"),
        };
        desired.endpoints.insert(key, endpoint);
    }
    desired
}

#[test]
fn room_to_grow_is_no_reason_to_refuse_a_state() {
    let grants = BTreeMap::new();
    for (small, large) in [
        ((3, 40), (200, 40)),
        ((2, 20), (300, 20)),
        ((1, 2), (1, 1000)),
    ] {
        // Four times what it takes, packed as close as can be.
        let count = 60;
        let cells = u32::try_from(count * small.0 * small.1 + large.0 * large.1).unwrap();
        let limits = Limits {
            cells: 4 * cells,
            ..Limits::default()
        };
        let tables: Vec<Table> = (0..count).map(|it| table(it, small.0, small.1)).collect();
        let mut planner = Planner::default();
        let before = desired(tables.clone(), 2);
        let wanted = |desired| Wanted {
            desired,
            grants: &grants,
        };
        planner.done(planner.plan(wanted(&before), &limits).unwrap());
        let more = [tables, vec![table(count, large.0, large.1)]].concat();
        let after = desired(more, 2);
        planner.done(planner.plan(wanted(&after), &limits).unwrap());
        assert_eq!(planner.installed().tables.len(), count + 1);
    }
}

#[test]
fn a_table_grows_where_it_lies_and_a_crash_at_any_point_of_it_is_none() {
    let limits = Limits::default();
    let grants = BTreeMap::new();
    let wanted = |desired| Wanted {
        desired,
        grants: &grants,
    };
    let before = desired(vec![table(0, 3, 4)], 3);
    // Its rows are the same ones, and one more is behind them.
    let mut grown = before.tables[&0].clone();
    grown.rows.push_back(row(4, 0b1111));
    grown.classes.set(3, 3);
    let mut after = desired(vec![grown], 4);
    after.rules.clone_from(&before.rules);

    let mut planner = Planner::default();
    let first = planner.plan(wanted(&before), &limits).unwrap();
    planner.done(first.clone());
    let plan = planner.plan(wanted(&after), &limits).unwrap();
    let written = plan.ops.iter().filter_map(|op| match op {
        Op::Cells(at, cells) => Some((*at, cells.len())),
        _ => None,
    });
    let lies = planner.installed().tables.values().next().unwrap();
    assert_eq!(
        written.collect::<Vec<_>>(),
        [(lies.table.cells + 12, 4)],
        "one row"
    );
    assert_eq!(plan.after.tables.len(), 1);
    let state = plan.after.tables.values().next().unwrap();
    assert_eq!(
        (state.table, state.rows),
        (lies.table, 4),
        "it lies where it was"
    );

    let [first_peer, second_peer, newcomer] = [1, 2, 3].map(|it| Ipv4Addr::new(10, 0, 0, it));
    for crash in 0..=plan.ops.len() {
        let mut maps = FakeMaps::default();
        first.ops.iter().for_each(|op| maps.execute(op));
        for op in &plan.ops[..crash] {
            maps.execute(op);
            // Row 1 allows column 0, row 2 column 1; the newcomer is a stranger at first, and then allowed.
            assert_eq!(judged(&maps, 0, first_peer, 0), Some(true), "{op:?}");
            assert_eq!(judged(&maps, 0, second_peer, 0), Some(false), "{op:?}");
            assert!(maps.endpoint(10).slot() != 0);
        }
        let mut planner = Planner::new(maps.read());
        let rest = planner.plan(wanted(&after), &limits).unwrap();
        rest.ops.iter().for_each(|op| maps.execute(op));
        for port in 0..4 {
            assert_eq!(
                judged(&maps, 0, newcomer, port),
                Some(true),
                "after {crash}"
            );
        }
        assert_eq!(judged(&maps, 0, second_peer, 1), Some(true));
        planner.done(rest);
        assert_eq!(planner.plan(wanted(&after), &limits).unwrap().ops, []);
    }
}
