//! `ringfence detach`.

use std::process::ExitCode;

use ringfence_common::mark::MarkLayout;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::{Failure, Outcome};
use crate::{
    args::DetachArgs,
    dataplane::{self, Attach},
    diff::Limits,
    run::directory,
};

pub(super) fn run(args: DetachArgs) -> Outcome {
    let DetachArgs {
        bpffs,
        run_dir,
        netns,
        cgroup_root,
        stay,
    } = args;
    if let Some(name) = &netns {
        super::enter(name)?;
    }
    // An agent would put everything back; the lock also keeps one from starting meanwhile.
    let lock = directory::take(&run_dir)?;
    let place = bpffs.display().to_string();
    let options = dataplane::Options {
        bpffs,
        cgroup_root,
        node_cgroup: None,
        limits: Limits::default(),
        mark: MarkLayout::DEFAULT,
        event_rate: 0,
        audit_interval: std::time::Duration::MAX,
        attach: Attach::Auto,
    };
    let removed = dataplane::detach(&options)
        .map_err(|error| Failure::new(error.to_string()).at(place.clone()))?;
    if removed == 0 {
        say!("nothing of Ringfence's was at {place}: nothing removed");
    } else {
        say!("{removed} pins and filters removed from {place}; nothing is enforced any more");
    }
    if stay {
        until_told_to_stop()?;
    }
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

/// A DaemonSet has no pods that end: those that detach stay until they are deleted.
fn until_told_to_stop() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
