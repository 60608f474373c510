//! `ringfence endpoints --all-nodes`.

use serde::Serialize;

use super::Row;
use crate::{
    admin::api::{Endpoint, List},
    args::EndpointsArgs,
    cli::{
        endpoints,
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

pub(in crate::cli) fn run(args: &EndpointsArgs) -> Outcome {
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
