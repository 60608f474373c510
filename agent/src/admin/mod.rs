//! How the agent answers: HTTP on a unix socket for the command line, on a TCP address for metrics and probes.
//!
//! **Invariant.** What changes anything, and what names pods or addresses, is on the socket only (mode 0600).

pub mod api;
mod cell;
mod itself;
pub mod metadata;
mod probes;
mod serve;
mod socket;
mod tcp;
mod unix;

pub use cell::CellRow;

use std::{
    future::Future,
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use ringfence_common::endpoint::NODE_IFINDEX;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    config::Config,
    dataplane::{Kernel, KernelError},
    locate::{self, Devices, Placed, World},
    model::Diagnostic,
    observe::{Recorder, metrics::Lasting, reached::Reached},
    run::kernel::KernelHandle,
    watch::Health,
};

/// Probes and scrapes are a few short ones. What gathers all metrics of a large node may take seconds.
const ON_TCP: serve::Bounds = serve::Bounds {
    connections: 64,
    head: Duration::from_secs(5),
    whole: Some(Duration::from_secs(30)),
};
/// Who follows flows stays for as long as he likes.
const ON_SOCKET: serve::Bounds = serve::Bounds {
    connections: 64,
    head: Duration::from_secs(5),
    whole: None,
};

/// Name of the socket in the agent's directory.
pub const SOCKET: &str = "agent.sock";

/// What the server can see of the agent.
#[derive(Debug)]
pub struct Shared {
    /// The flags.
    pub config: Config,
    /// The kernel's thread.
    pub kernel: KernelHandle,
    /// Flows.
    pub recorder: Arc<Recorder>,
    /// Who has reached metadata in an audit.
    pub reached: Reached,
    /// Metrics that live from scrape to scrape.
    pub lasting: Lasting,
    /// What the sources say.
    pub world: watch::Receiver<Arc<World>>,
    /// How current that is.
    pub health: Arc<Health>,
    /// Where things are; `None` before all sources have synced.
    pub placed: watch::Receiver<Option<Arc<Placed>>>,
    /// Devices.
    pub devices: watch::Receiver<Arc<Devices>>,
    /// What the compiler found wrong.
    pub compiled: watch::Receiver<Vec<Diagnostic>>,
    /// What is wrong with the connection to the container runtime.
    pub nri: watch::Receiver<Option<Diagnostic>>,
    /// Where metrics are really served.
    pub http: OnceLock<SocketAddr>,
    /// When the agent started.
    pub started: SystemTime,
}

impl Shared {
    /// All that is wrong: with objects, with pods' places, with the latest state.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let placed = self.placed.borrow().clone();
        let mut all = match placed {
            Some(placed) => placed.diagnostics.clone(),
            None => self.world.borrow().diagnostics.clone(),
        };
        all.extend(self.compiled.borrow().iter().cloned());
        all.extend(locate::mark_conflicts(
            &self.devices.borrow(),
            self.config.mark.mask(),
        ));
        all.extend(self.nri.borrow().iter().cloned());
        if let Some(error) = &self.kernel.progress().borrow().error {
            all.push(Diagnostic {
                message: error.clone(),
                object: "kernel".to_owned(),
                ..Diagnostic::default()
            });
        }
        all.sort();
        all.dedup();
        all
    }
}

/// Binds the socket in `run_dir`, and serves on it when the future is awaited.
///
/// # Errors
///
/// Somebody answers on it already, or it cannot be made.
pub fn on_socket(
    shared: Arc<Shared>,
    run_dir: &Path,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let listener = socket::bind(&run_dir.join(SOCKET))?;
    Ok(async move {
        // Whoever can open it is root on this node.
        match serve::serve(listener, unix::router(shared), ON_SOCKET, |_| ()).await {}
    })
}

/// Binds the TCP address, notes the one that it got, and serves on it when the future is awaited.
///
/// # Errors
///
/// The address cannot be had.
pub async fn on_tcp(
    shared: Arc<Shared>,
    address: SocketAddr,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot serve metrics on {address}; choose another with --http ADDR, or --http off")
    })?;
    let chosen = listener.local_addr()?;
    shared.http.get_or_init(|| chosen);
    tracing::info!(address = %chosen, "serving /metrics, /livez and /readyz");
    Ok(
        async move {
            match serve::serve(listener, tcp::router(shared), ON_TCP, SocketAddr::ip).await {}
        },
    )
}

/// How many pods the kernel judges.
fn pods(kernel: &dyn Kernel) -> Result<usize, KernelError> {
    let endpoints = kernel.endpoints()?;
    let pods = endpoints
        .iter()
        .filter(|endpoint| endpoint.ifindex != NODE_IFINDEX);
    Ok(pods.count())
}
