//! The NRI gate: the container runtime starts no container of a pod before the pod's hooks and tables are in the kernel.
//!
//! NRI is how containerd and CRI-O let others take part in what they do. The agent is a plugin: it connects to the
//! runtime's socket, registers, is told which pods run, and is asked for each new one after its network has been set
//! up and before any of its containers is made. What it learns is laid over the sources' state (`locate`), for the
//! API server does not know the pod's address yet.
//!
//! ```text
//! runtime ──► session ──► roll ──► locate ──► compile ──► kernel thread
//!    ▲           │      Sandboxes                              │
//!    └─ answer ──┴────────────────── gate ◄────────────────────┘
//! ```
//!
//! **Invariants.** An answer comes before the runtime's own time is over: a plugin that is late is thrown out, and pods
//! start without it. So does a pod that waits when the agent stops: before the connection ends. A pod that was let through unprotected is counted and named. The runtime knows of no plugin that
//! is away: pods that started then are counted when it is back.

mod gate;
pub mod messages;
mod method;
pub mod mux;
mod roll;
mod sandbox;
mod session;
mod unwatched;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{net::UnixStream, sync::watch};

use crate::{admin::Shared, locate::Sandboxes, model::Diagnostic};
use session::Session;

/// Where runtimes listen unless told otherwise.
pub const SOCKET: &str = "/var/run/nri/nri.sock";
/// Name of the plugin.
pub const NAME: &str = "ringfence";
/// Plugins are called in the order of their indexes.
pub const INDEX: &str = "10";
/// How soon the socket is tried again, and how late at most: pods that start meanwhile start unwatched.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];

/// What the gate does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// That nobody listens at the socket is worth a word.
    pub required: bool,
    /// The runtime's socket.
    pub socket: PathBuf,
    /// How long a pod may wait.
    pub timeout: Duration,
    /// A pod that is not protected in time does not start.
    pub fail_closed: bool,
}

/// Follows the container runtime until `stop` is true; then whoever waits has been answered.
///
/// # Errors
///
/// None so far: a runtime that is away may come back.
pub(crate) async fn follow(
    options: Options,
    shared: Arc<Shared>,
    sandboxes: watch::Sender<Arc<Sandboxes>>,
    trouble: watch::Sender<Option<Diagnostic>>,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let session = Arc::new(Session::new(
        options.clone(),
        Arc::clone(&shared),
        sandboxes,
        stop.clone(),
    ));
    let mut pause = PAUSES[0];
    loop {
        let ended = match UnixStream::connect(&options.socket).await {
            Ok(stream) => session
                .serve(stream, || {
                    shared.lasting.nri.connected(true);
                    trouble.send_replace(None);
                })
                .await
                .map(|()| pause = PAUSES[0])
                .map_err(|error| format!("{error:#}")),
            Err(error) if !options.required && is_absent(&error) => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        shared.lasting.nri.connected(false);
        if *stop.borrow() {
            return Ok(());
        }
        session.lost();
        let message = match ended {
            Ok(()) if options.required => {
                Some("the container runtime has closed the connection".to_owned())
            }
            Ok(()) => None,
            Err(message) => Some(message),
        };
        trouble.send_if_modified(|before| {
            let now = message.map(|message| diagnostic(&options, &message));
            let changed = *before != now;
            if let Some(now) = now.as_ref().filter(|_| changed) {
                tracing::warn!(socket = %options.socket.display(), "{}", now.message);
            }
            *before = now;
            changed
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped(&mut stop) => return Ok(()),
        }
        pause = (pause * 2).min(PAUSES[1]);
    }
}

/// Waits until the agent stops.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Who could say so has gone: that is an end as well.
    drop(stop.wait_for(|stop| *stop).await);
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn diagnostic(options: &Options, message: &str) -> Diagnostic {
    Diagnostic {
        object: "nri".to_owned(),
        field: "--nri-socket".to_owned(),
        message: format!(
            "pods start without waiting for their policies: no container runtime at {}: {message}; it must run with NRI, and \
             the socket must be mounted",
            options.socket.display()
        ),
        ..Diagnostic::default()
    }
}
