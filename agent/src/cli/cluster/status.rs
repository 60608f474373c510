//! `ringfence status --all-nodes`.

use std::io::{self, Write};

use super::Row;
use crate::{
    admin::api::Status,
    args::StatusArgs,
    cli::{
        failure::Outcome,
        output::{self, Items},
    },
};

pub(in crate::cli) fn run(args: &StatusArgs) -> Outcome {
    let rows: Vec<Row<Status>> = super::ask(&args.cluster, &["status", "-o", "json"], &[])?;
    let output = &args.read.output;
    output::print(output, "StatusList", &Items { items: &rows }, |out| {
        let header = [
            "NODE",
            "READY",
            "REVISION",
            "POLICIES",
            "ENDPOINTS",
            "NOT-FOUND",
            "EVENTS-LOST",
            "VERSION",
            "NOTES",
        ];
        let mut table = output::table(output, header);
        for row in &rows {
            table.add_row(cells(row));
        }
        output::write_table(out, &mut table)?;
        summary(out, &rows)
    })?;
    Ok(super::outcome(&rows))
}

fn cells(row: &Row<Status>) -> [String; 9] {
    let node = row.node.clone();
    let status = match row.said() {
        Ok(status) => status,
        Err(error) => {
            let none = || "-".to_owned();
            return [
                node,
                "unknown".to_owned(),
                none(),
                none(),
                none(),
                none(),
                none(),
                none(),
                error.to_owned(),
            ];
        }
    };
    let mut notes = status.not_ready.clone();
    notes.extend(status.refused.clone());
    notes.extend(
        status
            .unplaced
            .iter()
            .map(|pod| format!("{}: {}", pod.pod, pod.reason)),
    );
    if !status.diagnostics.is_empty() {
        notes.push(format!("{} problems", status.diagnostics.len()));
    }
    [
        node,
        if status.ready { "yes" } else { "NO" }.to_owned(),
        status
            .revision
            .map_or_else(|| "-".to_owned(), |revision| revision.to_string()),
        status.policies.to_string(),
        status.endpoints.to_string(),
        status.unplaced.len().to_string(),
        status.lost_events.to_string(),
        status.version.clone(),
        notes.join("; "),
    ]
}

fn summary(out: &mut dyn Write, rows: &[Row<Status>]) -> io::Result<()> {
    let said: Vec<&Status> = rows.iter().filter_map(|row| row.said().ok()).collect();
    let ready = said.iter().filter(|status| status.ready).count();
    let endpoints: usize = said.iter().map(|status| status.endpoints).sum();
    writeln!(
        out,
        "\n{ready}/{} agents ready, {endpoints} endpoints enforced",
        rows.len()
    )
}
