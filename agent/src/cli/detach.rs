//! `ringfence detach`.

mod everywhere;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use ringfence_common::mark::MarkLayout;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};

use super::failure::{Failure, Outcome};
use crate::{
    args::{BPFFS, DetachArgs, STATE_DIR},
    dataplane::{self, Attach, Firewall},
    diff::Limits,
    run::directory,
    watch::kept,
};

pub(super) fn run(args: DetachArgs) -> Outcome {
    if let Some(daemon_set) = args.daemon_set.clone() {
        return everywhere::run(args, &daemon_set);
    }
    if args.done {
        return Ok(if directory::is_detached(&args.run_dir) {
            ExitCode::SUCCESS
        } else {
            say!("nobody has detached and stays: {}", args.run_dir.display());
            ExitCode::FAILURE
        });
    }
    if args.host {
        return host(&args);
    }
    let DetachArgs {
        bpffs,
        run_dir,
        netns,
        state_dir,
        cgroup_root,
        stay,
        ..
    } = args;
    let state_dir = state_of(state_dir, &bpffs)?;
    if let Some(name) = &netns {
        super::enter(name)?;
    }
    // Who stays is told to stop by a signal, which may come while links are removed: that is done first.
    let told = stay.then(Told::prepare).transpose()?;
    // An agent would put everything back; the lock also keeps one from starting meanwhile.
    let lock = directory::take(&run_dir)?;
    let place = bpffs.display().to_string();
    let options = dataplane::Options {
        bpffs,
        cgroup_root,
        node_cgroup: None,
        run_dir: run_dir.clone(),
        limits: Limits::default(),
        mark: MarkLayout::DEFAULT,
        event_rate: 0,
        audit_interval: std::time::Duration::MAX,
        attach: Attach::Auto,
        firewall: Firewall::default(),
    };
    let removed = dataplane::detach(&options)
        .map_err(|error| Failure::new(error.to_string()).at(place.clone()))?;
    if removed == 0 {
        say!("nothing of Ringfence's was at {place}: nothing removed");
    } else {
        say!("{removed} pins and filters removed from {place}; nothing is enforced any more");
    }
    // After enforcement has gone: a failure here leaves nothing in force by halves.
    if let Some(directory) = state_dir {
        let at = format!("--state-dir {}", directory.display());
        let forgotten = kept::forget(&directory).map_err(|error| {
            Failure::new(format!("{error:#}"))
                .at(at)
                .help("remove it by hand: an agent that starts without its API server would enforce it again")
        })?;
        if forgotten {
            say!(
                "the last known state in {} is forgotten",
                directory.display()
            );
        }
    }
    if let Some(told) = told {
        let said = directory::say_detached(&run_dir)?;
        told.wait();
        drop(said);
    }
    drop(lock);
    Ok(ExitCode::SUCCESS)
}

/// The node itself is judged by nothing, or may be again.
fn host(args: &DetachArgs) -> Outcome {
    let at = args.run_dir.display().to_string();
    if args.undo {
        let was = dataplane::host::close(&args.run_dir)
            .map_err(|error| Failure::new(error.to_string()).at(at))?;
        if was {
            say!("the agent may judge the node itself again, and does within seconds if it is to");
        } else {
            say!("nobody has said that the node itself is not to be judged: nothing changed");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let was = dataplane::host::open(&args.run_dir, &args.bpffs)
        .map_err(|error| Failure::new(error.to_string()).at(at))?;
    if was {
        say!(
            "what the node itself sends and receives is judged by nothing any more; pods are as before"
        );
    } else {
        say!("what the node itself sends and receives was not judged, and will not be");
    }
    say!("until `ringfence detach --host --undo`, or a reboot");
    Ok(ExitCode::SUCCESS)
}

/// Where the state is kept that goes with these pins, as far as that is known.
fn state_of(given: Option<PathBuf>, bpffs: &Path) -> Result<Option<PathBuf>, Failure> {
    match given {
        None => Ok((bpffs == Path::new(BPFFS)).then(|| STATE_DIR.into())),
        Some(off) if off.as_os_str() == "off" => Ok(None),
        Some(given) if given.is_absolute() => Ok(Some(given)),
        Some(given) => Err(Failure::new("it must be an absolute path, or off")
            .at(format!("--state-dir {}", given.display()))),
    }
}

/// A DaemonSet has no pods that end: those that detach stay until they are deleted.
struct Told {
    runtime: Runtime,
    signals: [Signal; 2],
}

impl Told {
    fn prepare() -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let signals = {
            let _inside = runtime.enter();
            [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
            ]
        };
        Ok(Self { runtime, signals })
    }

    fn wait(self) {
        let [mut terminate, mut interrupt] = self.signals;
        self.runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        });
    }
}
