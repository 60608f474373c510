//! `ringfence ct`.

use std::process::ExitCode;

use super::{
    client::{self, Client},
    failure::{Failure, Outcome},
    output,
};
use crate::{
    admin::api::{Connection, Count, List},
    args::{AgentAt, ConnectionArgs, CtArgs, CtVerb, ReadArgs},
};

const PATH: &str = "/v1/connections";

pub(super) fn run(args: CtArgs) -> Outcome {
    match args.verb {
        CtVerb::List { filter, read } => list(&filter, &read),
        CtVerb::Flush { filter, all, at } => flush(&filter, all, &at),
    }
}

fn path(filter: &ConnectionArgs) -> String {
    let ConnectionArgs {
        local,
        remote,
        port,
        protocol,
    } = filter.clone();
    let port = port.map(|port| port.to_string());
    client::query(
        PATH,
        &[
            ("local", local),
            ("remote", remote),
            ("port", port),
            ("protocol", protocol),
        ],
    )
}

fn list(filter: &ConnectionArgs, args: &ReadArgs) -> Outcome {
    let list: List<Connection> = Client::new(&args.at)?.get(&path(filter))?;
    output::print(&args.output, "ConnectionList", &list, |out| {
        let header = [
            "PROTO", "LOCAL", "", "REMOTE", "VERDICT", "IDLE", "FLAGS", "RULE",
        ];
        let mut table = output::table(&args.output, header);
        for connection in &list.items {
            table.add_row([
                connection.protocol.clone(),
                socket(connection.local, connection.local_port),
                if connection.direction == "egress" {
                    "->"
                } else {
                    "<-"
                }
                .to_owned(),
                socket(connection.remote, connection.remote_port),
                connection.verdict.clone(),
                format!("{}s", connection.idle_seconds),
                connection.flags.join(","),
                connection.rule.clone().unwrap_or_default(),
            ]);
        }
        output::write_table(out, &mut table)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn socket(address: std::net::IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

fn flush(filter: &ConnectionArgs, all: bool, at: &AgentAt) -> Outcome {
    let path = path(filter);
    if path == PATH && !all {
        return Err(Failure::new("this would forget every connection")
            .at("ringfence ct flush")
            .help(
                "say --all if that is meant, or choose with --local, --remote, --port, --protocol",
            ));
    }
    if path != PATH && all {
        return Err(
            Failure::new("--all and a filter contradict each other").help("leave one of them out")
        );
    }
    let count: Count = Client::new(at)?.delete(&path)?;
    say!("{} connections forgotten", count.flushed);
    Ok(ExitCode::SUCCESS)
}
