//! `ringfence check --all-nodes`.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::Row;
use crate::{
    args::CheckArgs,
    check::{self, Finding, Level},
    cli::{
        failure::Outcome,
        output::{self, Items},
    },
};

#[derive(Debug, Serialize, Deserialize)]
struct Findings {
    items: Vec<Finding>,
}

pub(in crate::cli) fn run(args: &CheckArgs) -> Outcome {
    let words = [
        "check",
        "-o",
        "json",
        "--mark-source-mask",
        &args.mark_source_mask,
        "--mark-proof-mask",
        &args.mark_proof_mask,
    ];
    // A finding that blocks makes its exit code 1.
    let rows: Vec<Row<Findings>> = super::ask(&args.cluster, &words, &[1])?;
    let output = &args.output;
    output::print(output, "FindingList", &Items { items: &rows }, |out| {
        let mut table = output::table(output, ["NODE", "LEVEL", "CHECK", "WHAT", "NEXT"]);
        for row in &rows {
            for finding in row.said().ok().into_iter().flat_map(|it| &it.items) {
                table.add_row([
                    row.node.clone(),
                    finding.level.as_str().to_owned(),
                    finding.check.clone(),
                    finding.message.clone(),
                    finding.next.clone(),
                ]);
            }
        }
        output::write_table(out, &mut table)
    })?;
    let blocks = rows
        .iter()
        .filter_map(|row| row.said().ok())
        .any(|it| check::worst(&it.items) == Level::Blocking);
    let code = super::outcome(&rows);
    Ok(if code == ExitCode::SUCCESS && blocks {
        ExitCode::FAILURE
    } else {
        code
    })
}
