//! Cells of decision tables as the kernel holds them: `ringfence endpoints POD`, `ringfence bpf show --endpoint`.

use std::process::ExitCode;

use super::{
    client::{self, Client},
    failure::{Failure, Outcome},
    output,
};
use crate::{
    admin::{CellRow, api::List},
    args::{Format, ReadArgs},
};

/// How many peers and runs of ports a table for people names.
const NAMED: usize = 3;

/// The columns for people.
pub(super) const HEADER: [&str; 7] = [
    "DIRECTION",
    "PEERS",
    "PORTS",
    "VERDICT",
    "STAGED",
    "TIER",
    "RULE",
];

/// One row for people.
pub(super) fn columns(cell: &CellRow) -> [String; 7] {
    [
        cell.direction.clone(),
        peers(cell),
        some(&cell.ports),
        cell.verdict.clone(),
        staged(cell),
        cell.tier.clone().unwrap_or_default(),
        cell.rule.clone().unwrap_or_default(),
    ]
}

/// What the kernel holds for a pod.
pub(super) fn of_pod(args: &ReadArgs, pod: &str) -> Outcome {
    let list = ask(args, Some(pod.to_owned()), None)?;
    output::print(&args.output, "CellList", &list, |out| {
        let mut table = output::table(&args.output, HEADER);
        for cell in &list.items {
            table.add_row(columns(cell));
        }
        output::write_table(out, &mut table)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Elements of `CELLS`.
pub(super) fn elements(args: &ReadArgs, pod: Option<String>, element: Option<u32>) -> Outcome {
    let list = ask(args, pod, element)?;
    output::print(&args.output, "CellList", &list, |out| {
        let header = [
            "ELEMENT",
            "TABLE",
            "CLASS",
            "ENDPOINT",
            "DIRECTION",
            "PORTS",
            "VERDICT",
            "STAGED",
            "TIER",
            "RULE",
        ];
        let mut table = output::table(&args.output, header);
        for cell in &list.items {
            table.add_row([
                cell.element.to_string(),
                cell.table.to_string(),
                cell.class.to_string(),
                cell.endpoint.clone(),
                cell.direction.clone(),
                some(&cell.ports),
                cell.verdict.clone(),
                staged(cell),
                cell.tier.clone().unwrap_or_default(),
                cell.rule.clone().unwrap_or_default(),
            ]);
        }
        output::write_table(out, &mut table)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Machines get an empty list of what is not there: `--all-nodes` asks nodes that the pod is not on.
fn ask(
    args: &ReadArgs,
    pod: Option<String>,
    element: Option<u32>,
) -> Result<List<CellRow>, Failure> {
    let pairs = [
        ("endpoint", pod.clone()),
        ("element", element.map(|it| it.to_string())),
    ];
    let list: List<CellRow> = Client::new(&args.at)?.get(&client::query("/v1/cells", &pairs))?;
    if list.items.is_empty() && args.output.output == Format::Table {
        let what = match (&pod, element) {
            (Some(pod), None) => format!("no table of this node is about {pod}"),
            (_, Some(element)) => format!("nobody's packets meet element {element} of CELLS"),
            (None, None) => "there are no tables".to_owned(),
        };
        return Err(nothing(what).at("the running agent".to_owned()));
    }
    Ok(list)
}

/// That there are no cells of what was asked for.
pub(super) fn nothing(what: String) -> Failure {
    Failure::new(what).help(
        "`ringfence endpoints` lists pods as NAMESPACE/NAME, and which directions of theirs are isolated",
    )
}

fn peers(cell: &CellRow) -> String {
    match (cell.class, cell.peers.as_slice()) {
        (0, _) => "everybody else".to_owned(),
        (_, []) => "nobody now".to_owned(),
        (_, peers) => some(&peers.iter().map(address).collect::<Vec<_>>()),
    }
}

/// A single address without its length.
fn address(net: &ipnet::IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

/// The first few, and how many more.
fn some(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let mut text = all[..all.len() - more].join(",");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn staged(cell: &CellRow) -> String {
    if cell.staged == cell.verdict {
        String::new()
    } else {
        cell.staged.clone()
    }
}
