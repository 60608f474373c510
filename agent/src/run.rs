//! The agent: builds the stages, watches over them, stops them in order.
//!
//! ```text
//! source ──► locate ──► compile ──► kernel thread ──► flows ──► recorder, log
//!   World      Placed     Desired      EventView
//! ```
//!
//! **Invariants.** Each stage hands over the latest state, not a queue of changes. Nothing is programmed before
//! every source has synced: until then what is pinned stays in force. A stage that ends ends the process.
//! Stopping leaves everything pinned.

pub mod descriptors;
pub mod directory;
pub mod kernel;
mod stages;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, anyhow};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    admin::{self, Shared},
    compile::Desired,
    config::Config,
    dataplane::Kernel,
    locate::{self, Devices, World},
    model::{Diagnostic, PodKey, Snapshot},
    nri,
    observe::{Recorder, metrics::Lasting, reached::Reached},
    status, tell,
    watch::{Connection, Health},
};
use kernel::KernelHandle;

/// Name of the stage that must end by itself: others wait for its answers.
const NRI: &str = "nri";
/// Batches of events that may wait for their names; more are counted as lost.
const BATCHES: usize = 256;
/// How long the container runtime may take to hear about pods that wait when the agent stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long the kernel thread may take to finish what it is doing when the agent stops.
const PATIENCE: Duration = Duration::from_secs(5);

/// The compiler. It may remember: states come one after the other.
pub type Compile = Arc<dyn Fn(&Snapshot) -> (Desired, Vec<Diagnostic>) + Send + Sync>;
/// Loads the programs; runs on the kernel thread.
pub type Open = Box<dyn FnOnce() -> anyhow::Result<Box<dyn Kernel>> + Send>;
/// A task of the source.
pub type Task = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// What the stages are made of.
pub struct Parts {
    /// What the sources say.
    pub world: watch::Receiver<Arc<World>>,
    /// What keeps `world` up to date.
    pub source: Task,
    /// How current it is.
    pub health: Arc<Health>,
    /// The compiler. It may remember: states come one after the other.
    pub compile: Compile,
    /// Loads the programs.
    pub open: Open,
    /// Where Events are written, and the least time between two words about the same thing.
    pub tell: Option<(Connection, Duration)>,
    /// Where the status of objects is written, and the pod that this runs in, if it is one.
    pub status: Option<(Connection, Option<PodKey>)>,
}

/// Runs until a signal or until a stage ends.
///
/// # Errors
///
/// A stage could not start, or ended.
pub async fn run(config: Config, parts: Parts) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    run_until(config, parts, stop).await
}

/// Runs until `stop` is done or a stage ends.
///
/// # Errors
///
/// A stage could not start, or ended.
pub async fn run_until(
    config: Config,
    parts: Parts,
    stop: impl Future<Output = &'static str>,
) -> anyhow::Result<()> {
    let Parts {
        world,
        source,
        health,
        compile,
        open,
        tell,
        status,
    } = parts;
    let recorder = Arc::new(Recorder::default());
    let (batches, events) = mpsc::channel(BATCHES);
    let lost = Arc::clone(&recorder);
    let (kernel, mut kernel_end) = KernelHandle::start(open, move |batch| {
        if let Err(mpsc::error::TrySendError::Full(batch)) = batches.try_send(batch) {
            lost.missed(u64::try_from(batch.len()).unwrap_or(u64::MAX));
        }
    })?;

    let (placed_sender, placed) = watch::channel(None);
    let (devices_sender, devices) = watch::channel(Arc::new(Devices::default()));
    let (compiled_sender, compiled) = watch::channel(Vec::new());
    let (sandboxes_sender, sandboxes) = watch::channel(Arc::default());
    let (trouble, nri_trouble) = watch::channel(None);
    let (stopping_sender, stopping) = watch::channel(false);
    let shared = Arc::new(Shared {
        config,
        kernel: kernel.clone(),
        recorder: Arc::clone(&recorder),
        reached: Reached::default(),
        lasting: Lasting::default(),
        world: world.clone(),
        health,
        placed: placed.clone(),
        devices,
        compiled,
        nri: nri_trouble,
        http: OnceLock::new(),
        started: SystemTime::now(),
    });
    let config = &shared.config;

    let mut stages: JoinSet<(&'static str, anyhow::Result<()>)> = JoinSet::new();
    if let Some(address) = config.http {
        let server = admin::on_tcp(Arc::clone(&shared), address).await?;
        stages.spawn(async move { ("metrics", server.await) });
    }
    let server = admin::on_socket(Arc::clone(&shared), &config.run_dir)?;
    stages.spawn(async move { ("socket", server.await) });
    stages.spawn(async move { ("source", source.await) });
    let options = locate::Options {
        node: config.node.clone(),
        netns_prefix: config.netns_prefix.clone(),
        netns_directories: config.netns_directories.clone(),
        place_annotations: config.places_count(),
        pod_processes: config.cgroup_root.clone().filter(|_| config.pod_processes),
    };
    let inputs = locate::Inputs { world, sandboxes };
    stages.spawn(async move {
        (
            "locate",
            locate::follow(options, inputs, placed_sender, devices_sender).await,
        )
    });
    if let Some(options) = config.nri.clone() {
        let shared = Arc::clone(&shared);
        let stage = nri::follow(options, shared, sandboxes_sender, trouble, stopping.clone());
        stages.spawn(async move { (NRI, stage.await) });
    }
    let stage = stages::compile(compile, placed.clone(), kernel.clone(), compiled_sender);
    stages.spawn(async move { ("compile", stage.await) });
    let stage = stages::guard(shared.devices.clone(), kernel.clone());
    stages.spawn(async move { ("guard", stage.await) });
    let stage = stages::measure(kernel.progress(), Arc::clone(&shared));
    stages.spawn(async move { ("measure", stage.await) });
    let stage = stages::flows(events, placed, Arc::clone(&shared));
    stages.spawn(async move { ("flows", stage.await) });
    if let Some((connection, interval)) = tell {
        let stage = tell::follow(connection, Arc::clone(&shared), interval);
        stages.spawn(async move { ("tell", stage.await) });
    }
    if let Some((connection, own)) = status {
        let stage = status::follow(connection, Arc::clone(&shared), own);
        stages.spawn(async move { ("status", stage.await) });
    }
    let stage = stages::tell_diagnostics(Arc::clone(&shared));
    stages.spawn(async move { ("diagnostics", stage.await) });

    tracing::info!(run_dir = %config.run_dir.display(), bpffs = %config.bpffs.display(), pid = std::process::id(), "started");
    if config.node_cgroup.is_none() {
        tracing::warn!(
            "no cgroup for --node-cgroup: what pods send through a Service to a socket of the node itself is not judged"
        );
    }
    let mut kernel_ended = false;
    let mut answers = shared.config.nri.is_some();
    let result = tokio::select! {
        // The kernel thread's end ends the stages behind it; its own reason is the one to tell.
        biased;
        signal = stop => {
            tracing::info!(signal, "stopping; everything stays pinned and in force");
            Ok(())
        }
        ended = &mut kernel_end => {
            kernel_ended = true;
            Err(match ended {
                Ok(Ok(())) => anyhow!("the kernel thread has ended"),
                Ok(Err(error)) => error,
                Err(_panicked) => anyhow!("the kernel thread has panicked"),
            })
        }
        Some(ended) = stages.join_next() => Err(match ended {
            Ok((stage, ended)) => {
                answers &= stage != NRI;
                match ended {
                    Ok(()) => anyhow!("stage {stage} has ended"),
                    Err(error) => error.context(format!("stage {stage} has failed")),
                }
            }
            Err(error) => anyhow!(error).context("a stage has panicked"),
        }),
    };
    stopping_sender.send_replace(true);
    if answers {
        let answered = async {
            while let Some(ended) = stages.join_next().await {
                if ended.is_ok_and(|(stage, _)| stage == NRI) {
                    break;
                }
            }
        };
        if tokio::time::timeout(FAREWELL, answered).await.is_err() {
            tracing::warn!(
                "the container runtime does not take what it is told about pods that wait; leaving it"
            );
        }
    }
    kernel.stop();
    stages.shutdown().await;
    if !kernel_ended
        && tokio::time::timeout(PATIENCE, &mut kernel_end)
            .await
            .is_err()
    {
        tracing::warn!("the kernel thread is still busy; leaving it");
    }
    directory::remove_socket(&shared.config.run_dir);
    result
}

fn stop_signal() -> anyhow::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
