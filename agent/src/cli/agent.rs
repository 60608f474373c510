//! `ringfence agent`.

use std::{io, path::Path, process::ExitCode, sync::Arc, time::Duration};

use tokio::{
    sync::watch::{Receiver, channel},
    task::JoinHandle,
};
use tracing_subscriber::EnvFilter;

use super::failure::Outcome;
use crate::{
    args::{AgentArgs, LogFormat},
    config::{Config, Source},
    dataplane,
    index::{self, Keeper, State},
    locate::World,
    run::{self, Parts, Task, descriptors, directory},
    watch::{Connection, Health, Kubernetes, Manifests, Options, Places, Recalling},
};

pub(super) fn run(args: AgentArgs) -> Outcome {
    let config = Config::new(args)?;
    log(&config);
    descriptors::raise();
    // Threads inherit the namespace of the thread that starts them, so this comes before there is a second one.
    if let Some(name) = &config.netns {
        super::enter(name)?;
    }
    let lock = directory::take(&config.run_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let health = Arc::new(Health::default());
        let mut keeper = None;
        let mut tell = None;
        let mut status = None;
        let (world, source) = match &config.source {
            Source::Manifests {
                paths,
                ignore_other_kinds,
            } => {
                let options = Options {
                    ignore_other_kinds: *ignore_other_kinds,
                };
                let manifests = Manifests::new(paths.clone(), options);
                follow(index::follow(manifests))
            }
            Source::Cluster(cluster) => {
                let connection =
                    Connection::find(cluster.kubeconfig.clone(), cluster.context.clone()).await?;
                if let Some(interval) = cluster.event_interval {
                    tell = Some((connection.clone(), interval));
                }
                status = Some((connection.clone(), cluster.pod.clone()));
                let source = Kubernetes::new(connection, Arc::clone(&health), cluster.places);
                match &cluster.state_dir {
                    None => follow(index::follow(source)),
                    Some(directory) => {
                        let (followed, keep) =
                            kept(&config, directory, source, &health, cluster.places);
                        keeper = Some(keep);
                        followed
                    }
                }
            }
        };
        let parts = Parts {
            world,
            source,
            health,
            compile: super::kernel::compiler(&config),
            open: super::kernel::opener(&config),
            tell,
            status,
        };
        let result = run::run(config, parts).await;
        if let Some(keeper) = keeper
            && let Err(error) = keeper.keep()
        {
            tracing::warn!("the state is not kept: {error:#}");
        }
        result
    });
    // A reader of standard input may be waiting for good.
    runtime.shutdown_background();
    drop(lock);
    result?;
    Ok(ExitCode::SUCCESS)
}

fn log(config: &Config) {
    let default = match config.verbosity {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    // Messages of libraries are of use only to who asks for everything: what they mean is said by us.
    let quiet =
        format!("{default},netlink_proto=warn,netlink_packet_route=error,kube_client=error");
    let filter =
        EnvFilter::try_from_env("RINGFENCE_LOG").unwrap_or_else(|_unset| EnvFilter::new(quiet));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // A second agent in one process (there are only in tests) logs where the first one does.
    let _: Result<(), _> = match config.log_format {
        LogFormat::Text => {
            let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && io::IsTerminal::is_terminal(&io::stderr());
            builder.with_ansi(color).try_init()
        }
        LogFormat::Json => builder.json().try_init(),
    };
}

/// How long the API server may take before what was last known is enforced, where something is in force from before: that
/// is as new as what was kept, or newer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What follows a source: its newest state, and the task that it ends with.
type Followed = (Receiver<Arc<State>>, JoinHandle<anyhow::Result<()>>);

/// Follows a cluster, from what was last known if need be, and keeps what it says.
fn kept(
    config: &Config,
    directory: &Path,
    source: Kubernetes,
    health: &Arc<Health>,
    places: Places,
) -> ((Receiver<Arc<World>>, Task), Arc<Keeper>) {
    let node = config.node.clone().unwrap_or_default();
    let source = Recalling {
        source,
        directory: directory.to_owned(),
        node: node.clone(),
        patience: if dataplane::is_enforcing(&config.bpffs) {
            PATIENCE
        } else {
            Duration::ZERO
        },
        health: Arc::clone(health),
        places,
    };
    let (states, task) = index::follow(source);
    let keeper = Keeper::new(
        directory.to_owned(),
        node,
        states.clone(),
        Arc::clone(health),
    );
    let keeper = Arc::new(keeper);
    let keeping = tokio::spawn(Arc::clone(&keeper).follow());
    let (world, source) = follow((states, task));
    let source = async move {
        tokio::select! {
            ended = source => ended,
            ended = keeping => {
                ended?;
                anyhow::bail!("nobody tells states any more")
            }
        }
    };
    ((world, Box::pin(source)), keeper)
}

/// Hides what a source says until all of it was read.
fn follow((mut states, source): Followed) -> (Receiver<Arc<World>>, Task) {
    let (sender, world) = channel(Arc::new(World::default()));
    let task = async move {
        let mut source = source;
        loop {
            let state = states.borrow_and_update().clone();
            let snapshot = state.synced.then(|| Arc::new(state.snapshot.clone()));
            sender.send_replace(Arc::new(World {
                snapshot,
                revisions: state.revisions.clone(),
                diagnostics: state.diagnostics.clone(),
                recalled: state.recalled,
            }));
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return source.await?; },
                ended = &mut source => return ended?,
            }
        }
    };
    (world, Box::pin(task))
}
