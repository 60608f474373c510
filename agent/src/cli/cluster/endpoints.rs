//! `ringfence endpoints --all-nodes`.

use serde::Serialize;

use super::Row;
use crate::{
    admin::{
        CellRow,
        api::{Endpoint, List},
    },
    args::EndpointsArgs,
    cli::{
        cells, endpoints,
        failure::Outcome,
        output::{self, Items},
    },
};

/// An endpoint and its node.
#[derive(Debug, Serialize)]
struct OnNode<'a> {
    node: &'a str,
    #[serde(flatten)]
    endpoint: &'a Endpoint,
}

/// A cell and its node.
#[derive(Debug, Serialize)]
struct CellOnNode<'a> {
    node: &'a str,
    #[serde(flatten)]
    cell: &'a CellRow,
}

pub(in crate::cli) fn run(args: &EndpointsArgs) -> Outcome {
    if let Some(pod) = &args.pod {
        return of_pod(args, pod);
    }
    let words = ["endpoints", "-o", "json"];
    let rows: Vec<Row<List<Endpoint>>> = super::ask(&args.cluster, &words, &[])?;
    let endpoints: Vec<OnNode<'_>> = rows
        .iter()
        .filter_map(|row| Some((&row.node, row.said().ok()?)))
        .flat_map(|(node, list)| {
            list.items
                .iter()
                .map(move |endpoint| OnNode { node, endpoint })
        })
        .collect();
    let output = &args.read.output;
    let items = Items { items: &endpoints };
    output::print(output, "EndpointList", &items, |out| {
        let mut header = ["NODE"; 9];
        header[1..].copy_from_slice(&endpoints::HEADER);
        let mut table = output::table(output, header);
        for row in &endpoints {
            let mut cells = vec![row.node.to_owned()];
            cells.extend(endpoints::cells(row.endpoint));
            table.add_row(cells);
        }
        output::write_table(out, &mut table)
    })?;
    Ok(super::outcome(&rows))
}

/// What the node that the pod is on holds for it; the others hold nothing.
fn of_pod(args: &EndpointsArgs, pod: &str) -> Outcome {
    let words = ["endpoints", pod, "-o", "json"];
    let rows: Vec<Row<List<CellRow>>> = super::ask(&args.cluster, &words, &[])?;
    let found: Vec<CellOnNode<'_>> = rows
        .iter()
        .filter_map(|row| Some((&row.node, row.said().ok()?)))
        .flat_map(|(node, list)| list.items.iter().map(move |cell| CellOnNode { node, cell }))
        .collect();
    if found.is_empty() && rows.iter().all(|row| row.said().is_ok()) {
        return Err(cells::nothing(format!("no node has a table about {pod}")));
    }
    let output = &args.read.output;
    output::print(output, "CellList", &Items { items: &found }, |out| {
        let mut header = ["NODE"; 8];
        header[1..].copy_from_slice(&cells::HEADER);
        let mut table = output::table(output, header);
        for row in &found {
            let mut columns = vec![row.node.to_owned()];
            columns.extend(cells::columns(row.cell));
            table.add_row(columns);
        }
        output::write_table(out, &mut table)
    })?;
    Ok(super::outcome(&rows))
}
