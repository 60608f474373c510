//! `ringfence agent`.

use std::{io, process::ExitCode, sync::Arc};

use tokio::sync::watch::{Receiver, channel};
use tracing_subscriber::EnvFilter;

use super::failure::Outcome;
use crate::{
    args::{AgentArgs, LogFormat},
    config::{Config, Source},
    index,
    locate::World,
    run::{self, Parts, Task, directory},
    watch::{self, Connection, Health, Kubernetes, Manifests, Options},
};

pub(super) fn run(args: AgentArgs) -> Outcome {
    let config = Config::new(args)?;
    log(&config);
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
        let (world, source) = match &config.source {
            Source::Manifests(paths) => follow(Manifests::new(paths.clone(), Options::default())),
            Source::Cluster(cluster) => {
                let connection =
                    Connection::find(cluster.kubeconfig.clone(), cluster.context.clone()).await?;
                follow(Kubernetes::new(connection, Arc::clone(&health)))
            }
        };
        let parts = Parts {
            world,
            source,
            health,
            compile: super::kernel::compiler(&config),
            open: super::kernel::opener(&config),
        };
        run::run(config, parts).await
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
    // Netlink's own messages are of use only to who asks for everything.
    let quiet = format!("{default},netlink_proto=warn,netlink_packet_route=error");
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

/// Follows a source, and hides what it says until all of it was read.
fn follow(source: impl watch::Source) -> (Receiver<Arc<World>>, Task) {
    let (sender, world) = channel(Arc::new(World::default()));
    let (mut states, source) = index::follow(source);
    let task = async move {
        let mut source = source;
        loop {
            let state = states.borrow_and_update().clone();
            let snapshot = state.synced.then(|| Arc::new(state.snapshot.clone()));
            sender.send_replace(Arc::new(World {
                snapshot,
                diagnostics: state.diagnostics.clone(),
            }));
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return source.await?; },
                ended = &mut source => return ended?,
            }
        }
    };
    (world, Box::pin(task))
}
