//! `ringfence version`.

use std::process::ExitCode;

use serde::Serialize;

use super::{failure::Outcome, output};
use crate::args::VersionArgs;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: &'static str,
    /// Pins of another one are not read.
    layout: u32,
}

pub(super) fn run(args: &VersionArgs) -> Outcome {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        layout: ringfence_common::ABI_VERSION,
    };
    output::print(&args.output, "Version", &version, |out| {
        writeln!(
            out,
            "ringfence {} (layout of pinned maps: v{})",
            version.version, version.layout
        )
    })?;
    Ok(ExitCode::SUCCESS)
}
