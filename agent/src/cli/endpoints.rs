//! `ringfence endpoints`.

use std::process::ExitCode;

use super::{client::Client, failure::Outcome, output};
use crate::{
    admin::api::{Endpoint, List},
    args::ReadArgs,
};

pub(super) fn run(args: &ReadArgs) -> Outcome {
    let list: List<Endpoint> = Client::new(&args.at)?.get("/v1/endpoints")?;
    output::print(&args.output, "EndpointList", &list, |out| {
        let header = [
            "ID",
            "POD",
            "INTERFACE",
            "ADDRESSES",
            "INGRESS",
            "EGRESS",
            "METADATA",
            "GENERATION",
        ];
        let mut table = output::table(&args.output, header);
        for endpoint in &list.items {
            let addresses: Vec<String> =
                endpoint.addresses.iter().map(ToString::to_string).collect();
            let isolated = |isolated| if isolated { "isolated" } else { "open" };
            table.add_row([
                endpoint.id.to_string(),
                endpoint.pod.clone(),
                endpoint.interface.clone(),
                addresses.join(","),
                isolated(endpoint.ingress_isolated).to_owned(),
                isolated(endpoint.egress_isolated).to_owned(),
                if endpoint.metadata_granted {
                    "granted"
                } else {
                    "denied"
                }
                .to_owned(),
                endpoint.generation.to_string(),
            ]);
        }
        output::write_table(out, &mut table)
    })?;
    Ok(ExitCode::SUCCESS)
}
