//! `ringfence status`.

use std::{
    io::{self, Write},
    iter::repeat,
    process::ExitCode,
};

use super::{client::Client, failure::Outcome, output};
use crate::{admin::api::Status, args::StatusArgs};

pub(super) fn run(args: &StatusArgs) -> Outcome {
    let status: Status = Client::new(&args.read.at)?.get("/v1/status")?;
    output::print(&args.read.output, "Status", &status, |out| {
        write(out, &status)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn write(out: &mut dyn Write, status: &Status) -> io::Result<()> {
    let ready = if status.ready { "ready" } else { "NOT READY" };
    writeln!(
        out,
        "Agent      {ready}, version {}, process {}, since {}",
        status.version, status.pid, status.started
    )?;
    for fault in &status.not_ready {
        writeln!(out, "           - {fault}")?;
    }
    if let Some(node) = &status.node {
        writeln!(out, "Node       {node}")?;
    }
    match (status.revision, &status.realized) {
        (Some(revision), Some(realized)) => {
            writeln!(out, "Revision   {revision}, in force since {realized}")?
        }
        _ => writeln!(
            out,
            "Revision   none from this agent yet; what is pinned is in force"
        )?,
    }
    if let Some(refused) = &status.refused {
        writeln!(out, "Refused    {refused}")?;
    }
    for (line, title) in status
        .sources
        .iter()
        .zip(["Sources"].into_iter().chain(repeat("")))
    {
        writeln!(out, "{title:10} {line}")?;
    }
    writeln!(out, "Policies   {}", status.policies)?;
    writeln!(out, "NetPolicy  {}", status.network_policy)?;
    writeln!(
        out,
        "Endpoints  {} enforced, {} not found",
        status.endpoints,
        status.unplaced.len()
    )?;
    for pod in &status.unplaced {
        writeln!(out, "           - {}: {}", pod.pod, pod.reason)?;
    }
    let mut titles = ["Metadata"].into_iter().chain(repeat(""));
    if status.metadata_audited {
        let title = titles.next().unwrap_or_default();
        writeln!(
            out,
            "{title:10} IN AUDIT: what has no grant passes and is told of; `ringfence metadata report` says who"
        )?;
    }
    for (layer, title) in status.metadata_layers.iter().zip(titles) {
        let stands = if layer.stands { "stands" } else { "DOWN" };
        let why = if layer.why.is_empty() { "" } else { ": " };
        writeln!(out, "{title:10} {} {stands}{why}{}", layer.name, layer.why)?;
    }
    writeln!(out, "Itself     {}", status.agent_access)?;
    writeln!(out, "Sockets    {}", status.socket_hooks)?;
    if let Some(nri) = &status.nri {
        writeln!(out, "NRI        {nri}")?;
    }
    let devices: Vec<String> = status
        .devices
        .iter()
        .filter(|device| device.role != "pod")
        .map(|device| format!("{} ({})", device.name, device.role))
        .collect();
    writeln!(out, "Devices    {}", devices.join(", "))?;
    writeln!(out, "Pins       {}", status.bpffs)?;
    writeln!(
        out,
        "Metrics    {}",
        status.http.as_deref().unwrap_or("off")
    )?;
    writeln!(out, "Events     {} lost", status.lost_events)?;
    if !status.diagnostics.is_empty() {
        writeln!(out, "Problems   {}", status.diagnostics.len())?;
        for row in &status.diagnostics {
            let parts = [row.origin.as_str(), &row.object, &row.field, &row.message];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            writeln!(out, "           - {}", parts.join(": "))?;
        }
    }
    Ok(())
}
