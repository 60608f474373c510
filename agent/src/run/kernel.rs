//! The thread that owns the kernel's tables.
//!
//! Namespaces and locks are per thread, so everything that touches [`Kernel`] happens here: states to be
//! in force (only the latest counts), questions (one after the other), and the regular look for events.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use tokio::sync::{oneshot, watch};

use crate::{
    compile::Desired,
    dataplane::{Applied, EventView, Kernel, KernelError},
    locate::Placed,
    model::HostDevice,
};

/// How often the kernel is asked for events. A timer, not a message for each: a storm of denials costs one wake-up.
const POLL: Duration = Duration::from_millis(20);
/// How often the machine is looked at for changes that nobody tells of.
const AUDIT: Duration = Duration::from_secs(1);
/// Audits after which a state that was refused is tried again: what was in the way may be gone.
const RETRY: u32 = 10;
/// Questions that may wait; more are refused.
const WAITING: usize = 64;

/// What became of the latest state.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The last success.
    pub applied: Option<Applied>,
    /// What is in force since then.
    pub in_force: Option<Arc<Desired>>,
    /// What that was compiled from.
    pub of: Option<Arc<Placed>>,
    /// When that was.
    pub at: Option<SystemTime>,
    /// Why the latest state is not in force; the one before is.
    pub error: Option<String>,
    /// States that were tried.
    pub attempts: u64,
    /// How long the latest try took.
    pub took: Duration,
    /// From the arrival of the latest change to its being in force or refused.
    pub since_change: Duration,
}

/// A state to be in force.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The maps' content.
    pub desired: Arc<Desired>,
    /// What it was compiled from.
    pub of: Arc<Placed>,
    /// When the change arrived.
    pub changed: Instant,
}

type Question = Box<dyn FnOnce(&mut dyn Kernel) + Send>;

enum Message {
    Wake,
    Ask(Question),
    Stop,
}

/// The way to the thread.
#[derive(Clone, Debug)]
pub struct KernelHandle {
    messages: mpsc::SyncSender<Message>,
    wanted: watch::Sender<Option<Wanted>>,
    hosts: watch::Sender<BTreeSet<HostDevice>>,
    progress: watch::Receiver<Progress>,
    inherited: watch::Receiver<Option<Inherited>>,
    beat: Arc<Beat>,
}

/// The pods, with the indexes of their interfaces, that were guarded already when the agent started.
pub type Inherited = Arc<BTreeSet<(String, u32)>>;

/// Signs of life.
#[derive(Debug)]
struct Beat {
    start: Instant,
    open: AtomicBool,
    /// Milliseconds after `start`.
    last: AtomicU64,
}

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Too many wait.
    #[error("the kernel thread has {WAITING} questions waiting; try again")]
    Busy,
    /// It has ended.
    #[error("the kernel thread has ended")]
    Gone,
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl KernelHandle {
    /// Starts the thread. `open` runs on it; `events` gets what the kernel reports. The receiver says when
    /// the thread has ended, and why.
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub fn start(
        open: impl FnOnce() -> anyhow::Result<Box<dyn Kernel>> + Send + 'static,
        events: impl FnMut(Vec<EventView>) + Send + 'static,
    ) -> anyhow::Result<(Self, oneshot::Receiver<anyhow::Result<()>>)> {
        let (messages, inbox) = mpsc::sync_channel(WAITING);
        let (wanted, desired) = watch::channel(None);
        let (hosts, guarded) = watch::channel(BTreeSet::new());
        let (report, progress) = watch::channel(Progress::default());
        let (legacy, inherited) = watch::channel(None);
        let (ended, end) = oneshot::channel();
        let beat = Arc::new(Beat {
            start: Instant::now(),
            open: AtomicBool::new(false),
            last: AtomicU64::new(0),
        });
        let life = Arc::clone(&beat);
        thread::Builder::new()
            .name("kernel".to_owned())
            .spawn(move || {
                // `events` outlives the word about the end: when it goes, the stage behind it ends too, and this
                // thread's reason is the one to tell.
                let mut events = events;
                let result = open().map(|kernel| {
                    life.open.store(true, Ordering::Relaxed);
                    // One that cannot be read is no reason not to serve; then none was guarded.
                    let before = kernel.endpoints().unwrap_or_default();
                    let before = before.into_iter().map(|view| (view.pod, view.ifindex));
                    legacy.send_replace(Some(Arc::new(before.collect())));
                    let wishes = Wishes {
                        inbox: &inbox,
                        wanted: desired,
                        hosts: guarded,
                    };
                    serve(kernel, wishes, &report, &mut events, &life);
                });
                // Nobody waits if the agent is stopping.
                let _: Result<(), anyhow::Result<()>> = ended.send(result);
            })
            .context("cannot start the kernel thread")?;
        Ok((
            Self {
                messages,
                wanted,
                hosts,
                progress,
                inherited,
                beat,
            },
            end,
        ))
    }

    /// Wants this state in force; an earlier one that has not been tried yet is forgotten.
    pub fn want(&self, wanted: Wanted) {
        self.wanted.send_replace(Some(wanted));
        // A full inbox wakes the thread as well.
        let _: Result<(), mpsc::TrySendError<Message>> = self.messages.try_send(Message::Wake);
    }

    /// Wants these devices guarded.
    pub fn guard(&self, devices: BTreeSet<HostDevice>) {
        self.hosts.send_replace(devices);
        let _: Result<(), mpsc::TrySendError<Message>> = self.messages.try_send(Message::Wake);
    }

    /// What became of what was wanted.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Who was guarded already; `None` until the programs are loaded.
    #[must_use]
    pub fn inherited(&self) -> watch::Receiver<Option<Inherited>> {
        self.inherited.clone()
    }

    /// True once the programs are loaded.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.beat.open.load(Ordering::Relaxed)
    }

    /// How long ago the thread last showed a sign of life.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        self.beat
            .start
            .elapsed()
            .saturating_sub(Duration::from_millis(
                self.beat.last.load(Ordering::Relaxed),
            ))
    }

    /// Asks on the thread.
    ///
    /// # Errors
    ///
    /// The thread is busy or gone, or the kernel refused.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut dyn Kernel) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, AskError> {
        let (answer, result) = oneshot::channel();
        let question: Question = Box::new(move |kernel| {
            // Whoever asked may have hung up.
            let _: Result<(), Result<T, KernelError>> = answer.send(question(kernel));
        });
        self.messages
            .try_send(Message::Ask(question))
            .map_err(|error| match error {
                mpsc::TrySendError::Full(_) => AskError::Busy,
                mpsc::TrySendError::Disconnected(_) => AskError::Gone,
            })?;
        match result.await {
            Ok(result) => Ok(result?),
            Err(_gone) => Err(AskError::Gone),
        }
    }

    /// Lets the thread finish what it is doing, and end. Everything stays pinned.
    pub fn stop(&self) {
        let messages = self.messages.clone();
        // Waits while the inbox is full, so not here.
        thread::spawn(move || {
            let _: Result<(), mpsc::SendError<Message>> = messages.send(Message::Stop);
        });
    }
}

/// What the thread is asked for.
struct Wishes<'a> {
    inbox: &'a mpsc::Receiver<Message>,
    wanted: watch::Receiver<Option<Wanted>>,
    hosts: watch::Receiver<BTreeSet<HostDevice>>,
}

fn serve(
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
                apply(&mut *kernel, &latest, progress);
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
                devices = devices.len(),
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
