//! `ringfence check`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use super::{
    failure::{Failure, Outcome},
    output,
};
use crate::{
    args::CheckArgs,
    check::{self, Finding, Level, Look},
    config,
};

pub(super) fn run(args: &CheckArgs) -> Outcome {
    let findings = look(args)?;
    output::print(
        &args.output,
        "FindingList",
        &output::Items { items: &findings },
        |out| write(out, &findings),
    )?;
    Ok(if check::worst(&findings) == Level::Blocking {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Looks at this node.
pub(super) fn look(args: &CheckArgs) -> Result<Vec<Finding>, Failure> {
    let CheckArgs {
        bpffs,
        cni_dir,
        mark_source_mask,
        mark_proof_mask,
        output: _,
        cluster: _,
    } = args;
    let marks = config::parse_mark(mark_source_mask, mark_proof_mask)?.mask();
    Ok(check::findings(&check::gather(&Look {
        bpffs: bpffs.clone(),
        cni: cni_dir.clone(),
        marks,
    })))
}

fn write(out: &mut dyn Write, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        let word = match finding.level {
            Level::Fine => "fine",
            Level::Warning => "warning",
            Level::Blocking => "BLOCKING",
        };
        writeln!(out, "{word:<9} {:<11} {}", finding.check, finding.message)?;
        if finding.level > Level::Fine {
            writeln!(out, "{:21} -> {}", "", finding.next)?;
        }
    }
    let count = |level| {
        findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    writeln!(
        out,
        "{} blocking, {} warnings, {} fine",
        count(Level::Blocking),
        count(Level::Warning),
        count(Level::Fine)
    )
}
