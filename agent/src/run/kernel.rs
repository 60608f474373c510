//! The thread that owns the kernel's tables.
//!
//! Namespaces and locks are per thread, so everything that touches [`Kernel`] happens here (and in threads that it makes
//! for one call, which has elements of one map written side by side): states to be in force (only the latest counts),
//! questions (one after the other), and the regular look for events.

mod serve;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self},
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

use serve::{Wishes, serve};

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
