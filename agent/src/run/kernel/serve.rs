//! The kernel thread's own loop: the latest wish first, then questions, then events.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{Beat, Message, Progress, Wanted};
use crate::{
    dataplane::{EventView, Kernel},
    model::HostDevice,
};

/// How often the kernel is asked for events. A timer, not a message for each: a storm of denials costs one wake-up.
const POLL: Duration = Duration::from_millis(20);

/// How often the machine is looked at for changes that nobody tells of.
const AUDIT: Duration = Duration::from_secs(1);

/// Audits after which a state that was refused is tried again: what was in the way may be gone.
const RETRY: u32 = 10;

/// What the thread is asked for.
pub(super) struct Wishes<'a> {
    pub(super) inbox: &'a mpsc::Receiver<Message>,
    pub(super) wanted: watch::Receiver<Option<Wanted>>,
    pub(super) hosts: watch::Receiver<BTreeSet<HostDevice>>,
}

pub(super) fn serve(
    mut kernel: Box<dyn Kernel>,
    wishes: Wishes<'_>,
    progress: &watch::Sender<Progress>,
    events: &mut impl FnMut(Vec<EventView>),
    beat: &Beat,
) {
    let Wishes {
        inbox,
        mut wanted,
        mut hosts,
    } = wishes;
    let mut unguarded = false;
    let mut next_poll = Instant::now();
    let mut next_audit = next_poll + AUDIT;
    let mut tried: Option<Wanted> = None;
    let mut audits = 0_u32;
    loop {
        let now = u64::try_from(beat.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        beat.last.store(now, Ordering::Relaxed);
        let message = match inbox.recv_timeout(next_poll.saturating_duration_since(Instant::now()))
        {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match message {
            Some(Message::Stop) => return,
            Some(Message::Ask(question)) => question(&mut *kernel),
            Some(Message::Wake) | None => {}
        }
        // Before tables: what a pod is to be let out for must be judged where it leaves.
        if hosts.has_changed().unwrap_or(false) {
            unguarded = !guard(&mut *kernel, &hosts.borrow_and_update().clone());
        }
        if wanted.has_changed().unwrap_or(false) {
            let latest = wanted.borrow_and_update().clone();
            if let Some(latest) = latest {
                let before = tried.as_ref().map(|tried| &tried.desired);
                if before.is_some_and(|before| Arc::ptr_eq(before, &latest.desired)) {
                    note(&latest, progress);
                } else {
                    apply(&mut *kernel, &latest, progress);
                }
                tried = Some(latest);
            }
        }
        if Instant::now() >= next_audit {
            audits += 1;
            if unguarded && audits.is_multiple_of(RETRY) {
                unguarded = !guard(&mut *kernel, &hosts.borrow().clone());
            }
            let failed = progress.borrow().error.is_some() && audits.is_multiple_of(RETRY);
            if let Some(tried) = &mut tried
                && (failed || kernel.is_stale(&tried.desired))
            {
                tried.changed = Instant::now();
                apply(&mut *kernel, tried, progress);
            }
            next_audit = Instant::now() + AUDIT;
        }
        if Instant::now() >= next_poll {
            let batch = kernel.events();
            if !batch.is_empty() {
                events(batch);
            }
            kernel.audit();
            next_poll = Instant::now() + POLL;
        }
    }
}

/// True if all of them are guarded.
fn guard(kernel: &mut dyn Kernel, devices: &BTreeSet<HostDevice>) -> bool {
    match kernel.guard(devices) {
        Ok(()) => {
            tracing::info!(
                devices = devices.iter().filter(|it| it.kind.leads_off()).count(),
                "devices that lead off the node are guarded"
            );
            true
        }
        Err(error) => {
            tracing::error!(%error, "a device that leads off the node is not guarded: what goes out there through a Service is not judged");
            false
        }
    }
}

/// Takes note that what is in force is what comes of a newer state too. If it was refused, the next try is about that state.
fn note(wanted: &Wanted, progress: &watch::Sender<Progress>) {
    progress.send_if_modified(|progress| {
        let in_force = progress.in_force.as_ref();
        let same = in_force.is_some_and(|it| Arc::ptr_eq(it, &wanted.desired));
        let holds = same && progress.error.is_none();
        if holds {
            progress.of = Some(Arc::clone(&wanted.of));
        }
        holds
    });
}

fn apply(kernel: &mut dyn Kernel, wanted: &Wanted, progress: &watch::Sender<Progress>) {
    let start = Instant::now();
    let result = kernel.apply(&wanted.desired);
    let took = start.elapsed();
    let since_change = wanted.changed.elapsed();
    match &result {
        Ok(applied) => tracing::info!(
            revision = applied.revision,
            operations = applied.operations,
            endpoints = applied.endpoints,
            in_force_us = micros(applied.in_force),
            took_us = micros(took),
            since_change_us = micros(since_change),
            "state in force"
        ),
        Err(error) => tracing::error!(%error, "state refused, the previous one stays in force"),
    }
    progress.send_modify(|progress| {
        progress.attempts += 1;
        progress.took = took;
        progress.since_change = since_change;
        match result {
            Ok(applied) => {
                progress.applied = Some(applied);
                progress.in_force = Some(Arc::clone(&wanted.desired));
                progress.of = Some(Arc::clone(&wanted.of));
                progress.at = Some(SystemTime::now());
                progress.error = None;
            }
            Err(error) => progress.error = Some(error.to_string()),
        }
    });
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
