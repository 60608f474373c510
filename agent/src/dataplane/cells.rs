//! Decision tables as they lie in the maps, with the names of what is in them: whatever a packet can meet, and which rule it
//! is.

use std::collections::BTreeMap;

use ipnet::IpNet;
use ringfence_common::{
    Direction,
    cell::Cell,
    identity::Identity,
    table::{NO_PAGES, Page, UNIFORM},
};

use super::{CellFilter, CellView, KernelError, PortRun, kernel::Names, maps::Maps};
use crate::{
    diff::{Installed, TableState},
    model::Protocol,
};

/// Cells that endpoints' packets can meet: each once for every endpoint, direction, row and column.
///
/// # Errors
///
/// If the maps cannot be read.
pub fn cells(
    maps: &Maps,
    installed: &Installed,
    names: &Names,
    wanted: &CellFilter,
) -> Result<Vec<CellView>, KernelError> {
    let mut nets: BTreeMap<Identity, Vec<IpNet>> = BTreeMap::new();
    for (&net, &identity) in &installed.addresses {
        nets.entry(identity).or_default().push(net);
    }
    let mut views = Vec::new();
    for state in installed.endpoints.values() {
        let name = names.endpoints.get(&state.record.endpoint);
        let name = name.cloned().unwrap_or_default();
        if wanted
            .endpoint
            .as_ref()
            .is_some_and(|wanted| *wanted != name)
        {
            continue;
        }
        for (direction, table) in [
            (Direction::Ingress, state.record.ingress),
            (Direction::Egress, state.record.egress),
        ] {
            let table = installed.tables.get(&table.id);
            let Some(table) = table.filter(|it| wanted.is_in(it)) else {
                continue;
            };
            let columns = columns(&pages(maps, table)?, table.table.columns);
            let peers = peers(installed, table.table.id, &nets);
            for class in 0..table.rows {
                for (column, ports) in (0..).zip(&columns) {
                    let element =
                        table.table.cells + class * u32::from(table.table.columns) + column;
                    if wanted.element.is_some_and(|wanted| wanted != element) {
                        continue;
                    }
                    let cell = read(maps, element)?;
                    views.push(CellView {
                        endpoint: name.clone(),
                        direction,
                        table: table.table.id,
                        element,
                        class,
                        peers: peers.get(&class).cloned().unwrap_or_default(),
                        ports: ports.clone(),
                        live: cell.live(),
                        staged: cell.staged(),
                        tier: cell.tier(),
                        rule: names.rules.get(&cell.rule()).cloned(),
                    });
                }
            }
        }
    }
    Ok(views)
}

impl CellFilter {
    /// True if the element may be one of this table's.
    fn is_in(&self, table: &TableState) -> bool {
        self.element
            .is_none_or(|element| table.cells().contains(&element))
    }
}

fn read(maps: &Maps, element: u32) -> Result<Cell, KernelError> {
    let cell = maps.cells.get(&element, 0);
    cell.map_err(|error| KernelError::Other(format!("cannot read CELLS[{element}]: {error}")))
}

/// The networks of each class but 0, which is everybody else's.
fn peers(
    installed: &Installed,
    table: u32,
    nets: &BTreeMap<Identity, Vec<IpNet>>,
) -> BTreeMap<u32, Vec<IpNet>> {
    let mut peers: BTreeMap<u32, Vec<IpNet>> = BTreeMap::new();
    for (identity, class) in installed.classes.of(table).iter() {
        let of_class = peers.entry(u32::from(class)).or_default();
        of_class.extend(nets.get(&identity).into_iter().flatten());
    }
    for nets in peers.values_mut() {
        nets.sort_unstable();
    }
    peers
}

fn pages(maps: &Maps, state: &TableState) -> Result<Vec<Page>, KernelError> {
    if state.table.pages == NO_PAGES {
        return Ok(Vec::new());
    }
    let read = |at| {
        let page = maps.pages.get(&at, 0);
        page.map_err(|error| KernelError::Other(format!("cannot read PAGES[{at}]: {error}")))
    };
    let places = state.table.pages..state.table.pages + state.pages;
    places.map(read).collect()
}

/// The ports of each column of a port map; column 0 has the protocols without ports, too.
fn columns(pages: &[Page], count: u16) -> Vec<Vec<PortRun>> {
    let mut columns = vec![Vec::new(); usize::from(count)];
    if let Some(first) = columns.first_mut() {
        first.push(PortRun::OTHER);
    }
    for (protocol, directory) in Protocol::ALL.into_iter().zip(0..) {
        let mut runs: Vec<(u16, PortRun)> = Vec::new();
        for high in 0..=u8::MAX {
            for (low, column, count) in stretches(pages, directory, high) {
                let port = u16::from_be_bytes([high, low]);
                match runs.last_mut() {
                    Some((of, run)) if *of == column => run.last = port + (count - 1),
                    _ => {
                        let mut run = PortRun::new(protocol, port);
                        run.last += count - 1;
                        runs.push((column, run));
                    }
                }
            }
        }
        for (column, run) in runs {
            if let Some(ports) = columns.get_mut(usize::from(column)) {
                ports.push(run);
            }
        }
    }
    columns
}

/// The columns of the ports with this high byte: from which low byte on, which column, how many ports.
fn stretches(pages: &[Page], directory: usize, high: u8) -> Vec<(u8, u16, u16)> {
    let Some(directory) = pages.get(directory) else {
        return vec![(0, 0, 256)];
    };
    let entry = directory.0[usize::from(high)];
    if entry & UNIFORM != 0 {
        return vec![(0, entry & !UNIFORM, 256)];
    }
    let leaf = pages.get(usize::from(entry));
    let column = |low: u8| leaf.map_or(0, |leaf| leaf.0[usize::from(low)]);
    (0..=u8::MAX).map(|low| (low, column(low), 1)).collect()
}

#[cfg(test)]
mod tests {
    use ringfence_common::table::PAGE_PORTS;

    use super::*;

    #[test]
    fn the_ports_of_columns_are_read_back() {
        assert_eq!(
            columns(&[], 1)[0].len(),
            4,
            "other protocols, and all ports of three"
        );
        let mut map = vec![Page([UNIFORM; PAGE_PORTS]); 4];
        // TCP 443 and 444 are column 1, and all of UDP from 0xff00 on.
        map[0].0[1] = 3;
        map[3] = Page([0; PAGE_PORTS]);
        map[3].0[0xbb] = 1;
        map[3].0[0xbc] = 1;
        map[1].0[0xff] = UNIFORM | 1;
        let columns = columns(&map, 2);
        let run = |protocol, first, last| PortRun {
            protocol: Some(protocol),
            first,
            last,
        };
        assert_eq!(
            columns[1],
            [
                run(Protocol::Tcp, 443, 444),
                run(Protocol::Udp, 0xff00, 0xffff)
            ]
        );
        assert_eq!(
            columns[0],
            [
                PortRun::OTHER,
                run(Protocol::Tcp, 0, 442),
                run(Protocol::Tcp, 445, 0xffff),
                run(Protocol::Udp, 0, 0xfeff),
                run(Protocol::Sctp, 0, 0xffff),
            ]
        );
    }
}
