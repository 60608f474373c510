//! The stages between the watchers and the kernel thread, and behind it.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use anyhow::Context as _;
use ringfence_common::metadata::layers;
use tokio::{
    io::AsyncWriteExt as _,
    sync::{mpsc, watch},
};

use super::{
    Compile,
    kernel::{KernelHandle, Progress, Wanted},
};
use crate::{
    admin::Shared,
    args::LogFormat,
    compile::Desired,
    dataplane::EventView,
    locate::{Devices, Placed},
    model::Diagnostic,
    observe::{
        flow::{AddressBook, Flow, FlowVerdict},
        metrics::Waits,
    },
};

/// Compiles the latest state whenever there is one, and wants the result in force.
pub(super) async fn compile(
    compile: Compile,
    mut placed: watch::Receiver<Option<Arc<Placed>>>,
    kernel: KernelHandle,
    compiled: watch::Sender<Vec<Diagnostic>>,
) -> anyhow::Result<()> {
    let mut last: Option<(Arc<Desired>, bool)> = None;
    loop {
        let now = placed.borrow_and_update().clone();
        if let Some(now) = now {
            let changed = Instant::now();
            let compile = Arc::clone(&compile);
            let of = Arc::clone(&now);
            let recalled = now.recalled;
            let (desired, diagnostics) =
                tokio::task::spawn_blocking(move || compile(&now.snapshot))
                    .await
                    .context("the compiler has panicked; the state before stays in force")?;
            compiled.send_if_modified(|before| {
                let differs = *before != diagnostics;
                *before = diagnostics;
                differs
            });
            // The same tables by better authority are news to whoever waits for it.
            let same = last
                .as_ref()
                .filter(|(last, by)| **last == desired && *by == recalled);
            let desired = same.map_or_else(|| Arc::new(desired), |(last, _)| Arc::clone(last));
            last = Some((Arc::clone(&desired), recalled));
            // What is the same is not put there again: it is noted what it is the result of, too.
            kernel.want(Wanted {
                desired,
                of,
                changed,
            });
        }
        placed
            .changed()
            .await
            .context("the stage before has ended")?;
    }
}

/// Has every device that leads off the node guarded, as soon as it is there.
pub(super) async fn guard(
    mut devices: watch::Receiver<Arc<Devices>>,
    kernel: KernelHandle,
) -> anyhow::Result<()> {
    let mut last = BTreeSet::new();
    loop {
        let now = devices.borrow_and_update().hosts();
        if now != last {
            kernel.guard(now.clone());
            last = now;
        }
        devices
            .changed()
            .await
            .context("the stage before has ended")?;
    }
}

/// Keeps the metrics about states that were tried.
pub(super) async fn measure(
    mut progress: watch::Receiver<Progress>,
    shared: Arc<Shared>,
) -> anyhow::Result<()> {
    let mut placed = shared.placed.clone();
    placed.mark_changed();
    let mut waits = Waits::default();
    let mut attempts = 0;
    loop {
        tokio::select! {
            biased;
            // Ends with the agent, as the other one does, which says so.
            Ok(()) = placed.changed() => {
                if let Some(placed) = &*placed.borrow_and_update() {
                    waits.placed(placed, Instant::now());
                }
                continue;
            }
            // The stage outlives the kernel thread by a moment when the agent stops.
            changed = progress.changed() => changed.context("the kernel thread has ended")?,
        }
        let now = progress.borrow_and_update().clone();
        if now.attempts == attempts {
            continue;
        }
        attempts = now.attempts;
        if now.error.is_some() {
            shared.lasting.force.refused();
        } else {
            shared.lasting.force.programmed(now.took);
            shared.lasting.force.realized(now.since_change);
            if let Some(of) = &now.of {
                for waited in waits.in_force(of, Instant::now(), now.since_change) {
                    shared.lasting.force.endpoint(waited);
                }
            }
        }
    }
}

/// Gives events their names, remembers them, and logs what was denied.
pub(super) async fn flows(
    mut events: mpsc::Receiver<Vec<EventView>>,
    mut placed: watch::Receiver<Option<Arc<Placed>>>,
    shared: Arc<Shared>,
) -> anyhow::Result<()> {
    let mut names = AddressBook::default();
    let mut out = tokio::io::stdout();
    let node = shared.config.node.clone().unwrap_or_default();
    let from_pod = shared.config.firewall.layers & layers::FROM_POD != 0;
    while let Some(batch) = events.recv().await {
        if placed.has_changed().unwrap_or(false)
            && let Some(placed) = &*placed.borrow_and_update()
        {
            names.follow(&placed.snapshot);
        }
        let mut lines = Vec::new();
        for event in &batch {
            if names.is_told_at_device(event, from_pod) {
                continue;
            }
            let flow = Flow::new(event, &node, &names);
            shared.reached.note(&flow);
            if shared.config.log_format == LogFormat::Json && flow.verdict != FlowVerdict::Allowed {
                serde_json::to_writer(&mut lines, &flow).context("a flow has no JSON form")?;
                lines.push(b'\n');
            }
            shared.recorder.record(flow);
        }
        if !lines.is_empty() {
            // Whoever read the log has gone; enforcement does not depend on it.
            let _: std::io::Result<()> = async {
                out.write_all(&lines).await?;
                out.flush().await
            }
            .await;
        }
    }
    anyhow::bail!("the kernel thread has ended")
}

/// Logs each thing that is wrong when it appears and when it is gone.
pub(super) async fn tell_diagnostics(shared: Arc<Shared>) -> anyhow::Result<()> {
    let (mut world, mut placed, mut compiled) = (
        shared.world.clone(),
        shared.placed.clone(),
        shared.compiled.clone(),
    );
    let mut told: BTreeSet<Diagnostic> = BTreeSet::new();
    loop {
        world.mark_unchanged();
        placed.mark_unchanged();
        compiled.mark_unchanged();
        let now: BTreeSet<Diagnostic> = shared
            .diagnostics()
            .into_iter()
            .filter(|diagnostic| diagnostic.object != "kernel")
            .collect();
        for new in now.difference(&told) {
            tracing::warn!(origin = %new.origin, object = new.object, field = new.field, "{}", new.message);
        }
        for gone in told.difference(&now) {
            tracing::info!(origin = %gone.origin, object = gone.object, field = gone.field, "settled: {}", gone.message);
        }
        told = now;
        tokio::select! {
            changed = world.changed() => changed.context("the source of objects has ended")?,
            changed = placed.changed() => changed.context("a stage before has ended")?,
            changed = compiled.changed() => changed.context("a stage before has ended")?,
        }
    }
}
