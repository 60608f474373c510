//! `ringfence endpoints`.

use std::process::ExitCode;

use super::{client::Client, failure::Outcome, output};
use crate::{
    admin::api::{Endpoint, List},
    args::EndpointsArgs,
};

/// The columns.
pub(super) const HEADER: [&str; 8] = [
    "ID",
    "POD",
    "INTERFACE",
    "ADDRESSES",
    "INGRESS",
    "EGRESS",
    "METADATA",
    "GENERATION",
];

pub(super) fn run(args: &EndpointsArgs) -> Outcome {
    let args = &args.read;
    let list: List<Endpoint> = Client::new(&args.at)?.get("/v1/endpoints")?;
    output::print(&args.output, "EndpointList", &list, |out| {
        let mut table = output::table(&args.output, HEADER);
        for endpoint in &list.items {
            table.add_row(cells(endpoint));
        }
        output::write_table(out, &mut table)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One row.
pub(super) fn cells(endpoint: &Endpoint) -> [String; 8] {
    let addresses: Vec<String> = endpoint.addresses.iter().map(ToString::to_string).collect();
    let isolated = |isolated| if isolated { "isolated" } else { "open" };
    let granted = match (endpoint.metadata_granted, &endpoint.metadata_endpoints[..]) {
        (false, _) => "denied".to_owned(),
        (true, []) => "granted".to_owned(),
        (true, names) => format!("granted:{}", names.join(",")),
    };
    [
        endpoint.id.to_string(),
        endpoint.pod.clone(),
        endpoint.interface.clone(),
        addresses.join(","),
        isolated(endpoint.ingress_isolated).to_owned(),
        isolated(endpoint.egress_isolated).to_owned(),
        granted,
        endpoint.generation.to_string(),
    ]
}
