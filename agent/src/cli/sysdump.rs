//! `ringfence sysdump`.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use tempfile::NamedTempFile;

use super::{
    check,
    client::Client,
    failure::{Failure, Outcome},
};
use crate::{
    args::{
        CNI_DIR, CheckArgs, ClusterArgs, Format, MARK_PROOF_MASK, MARK_SOURCE_MASK, OutputArgs,
        SysdumpArgs,
    },
    sysdump::{self, Collect, Dump},
};

pub(super) fn run(args: &SysdumpArgs) -> Outcome {
    let client = Client::new(&args.at).map_err(one_line);
    let ask = |path: &str| match &client {
        Ok(client) => client.bytes(path).map_err(one_line),
        Err(reason) => Err(reason.clone()),
    };
    let look = CheckArgs {
        bpffs: args.bpffs.clone(),
        cni_dir: CNI_DIR.into(),
        mark_source_mask: MARK_SOURCE_MASK.to_owned(),
        mark_proof_mask: MARK_PROOF_MASK.to_owned(),
        output: OutputArgs {
            output: Format::Json,
            no_headers: false,
        },
        cluster: ClusterArgs::default(),
    };
    let dump = sysdump::collect(&Collect {
        ask: &ask,
        findings: check::look(&look).map_err(one_line),
        bpffs: &args.bpffs,
        pod_logs: &args.pod_logs,
    });
    finish(&dump, args.output.as_deref())
}

/// The list of what is missing has a line for each.
pub(super) fn one_line(failure: Failure) -> String {
    let text = failure.to_string();
    let parts: Vec<&str> = text.lines().map(str::trim).collect();
    parts.join("; ")
}

/// Writes the archive, and says where it is and what is not in it.
pub(super) fn finish(dump: &Dump, output: Option<&Path>) -> Outcome {
    let now = SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    let name = format!("ringfence-sysdump-{seconds}");
    if output == Some(Path::new("-")) {
        dump.write(&name, seconds, io::stdout().lock())?;
    } else {
        let path = output.map_or_else(|| PathBuf::from(format!("{name}.tar.gz")), Path::to_owned);
        let place = path.display().to_string();
        let trouble = |error: io::Error| {
            Failure::new(format!("cannot write the archive: {error}"))
                .at(place.clone())
                .help("name another file with --output FILE, or - for standard output")
        };
        // Beside it under a name that nobody can guess, mode 0600; then in its place, if nothing is there.
        let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
        let mut file =
            NamedTempFile::new_in(directory.unwrap_or(Path::new("."))).map_err(trouble)?;
        dump.write(&name, seconds, &mut file).map_err(trouble)?;
        file.persist_noclobber(&path)
            .map_err(|error| trouble(error.error))?;
        say!("{place}: {} files", dump.len());
    }
    for (path, reason) in dump.missing() {
        say!("not in it: {path}: {reason}");
    }
    Ok(ExitCode::SUCCESS)
}
