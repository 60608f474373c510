//! One connection with the runtime: registers, then answers what it asks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use prost::Message;
use tokio::{net::UnixStream, sync::watch, time::Instant};
use ttrpc::{
    asynchronous::{
        Client, MethodHandler, Server, Service,
        transport::{Listener, Socket},
    },
    proto::Request,
};

use super::{
    INDEX, NAME, Options,
    gate::{self, Word},
    messages::{
        self, ConfigureRequest, ConfigureResponse, Empty, PodRequest, PodSandbox,
        RegisterPluginRequest, StateChangeEvent, SynchronizeRequest, SynchronizeResponse, event,
    },
    method::Method,
    mux,
    roll::Roll,
    sandbox, stopped, unwatched,
};
use crate::{
    admin::Shared,
    locate::{self, Sandboxes},
    observe::metrics::Gated,
};

/// How long the runtime may take to accept the plugin.
const REGISTRATION: Duration = Duration::from_secs(5);
/// The events that are asked for.
const EVENTS: [i32; 4] = [
    event::RUN_POD_SANDBOX,
    event::STOP_POD_SANDBOX,
    event::REMOVE_POD_SANDBOX,
    event::CREATE_CONTAINER,
];

/// What waits at the gate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// A pod that has no container yet.
    Pod,
    /// A container of a pod whose sandbox may have been made while nobody was asked.
    Container,
}

/// What is known beyond one connection.
pub(super) struct Session {
    options: Options,
    shared: Arc<Shared>,
    roll: Mutex<Roll>,
    sandboxes: watch::Sender<Arc<Sandboxes>>,
    /// How long a pod may wait, as agreed with this runtime.
    patience: Mutex<Duration>,
    /// The agent stops: nobody waits any more.
    stop: watch::Receiver<bool>,
}

impl Session {
    pub fn new(
        options: Options,
        shared: Arc<Shared>,
        sandboxes: watch::Sender<Arc<Sandboxes>>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let patience = Mutex::new(options.timeout);
        Self {
            options,
            shared,
            roll: Mutex::default(),
            sandboxes,
            patience,
            stop,
        }
    }

    /// Registers and serves until the connection ends, or until the agent stops and all answers are on their way. `accepted` is
    /// called once the runtime has taken the plugin.
    pub async fn serve(
        self: &Arc<Self>,
        stream: UnixStream,
        accepted: impl FnOnce(),
    ) -> anyhow::Result<()> {
        let (connections, carry) = mux::divide(stream);
        let mut carry = tokio::spawn(carry);
        let mut stop = self.stop.clone();
        let incoming = futures::stream::iter([Ok(connections.plugin)]);
        let service = HashMap::from([(messages::PLUGIN.to_owned(), self.service())]);
        let mut server = Server::new()
            .add_listener(Listener::new(incoming))
            .register_service(service);
        server.start().await.context("cannot serve the runtime")?;
        let client = Client::new(Socket::new(connections.runtime));
        let registration = Request {
            service: messages::RUNTIME.to_owned(),
            method: "RegisterPlugin".to_owned(),
            timeout_nano: i64::try_from(REGISTRATION.as_nanos())?,
            payload: RegisterPluginRequest {
                plugin_name: NAME.to_owned(),
                plugin_idx: INDEX.to_owned(),
            }
            .encode_to_vec(),
            ..Request::default()
        };
        let registered = tokio::select! {
            registered = client.request(registration) => registered,
            () = stopped(&mut stop) => {
                carry.abort();
                return Ok(());
            }
        };
        let result = match registered {
            Ok(_empty) => {
                tracing::info!(socket = %self.options.socket.display(), "the container runtime asks before it starts pods");
                accepted();
                tokio::select! {
                    ended = &mut carry => ended,
                    () = stopped(&mut stop) => {
                        // Ends its side of the connection, and so the whole, once every answer is written.
                        server.disconnect().await;
                        carry.await
                    }
                }
                .context("the connection's task has failed")?
            }
            Err(error) => {
                carry.abort();
                return Err(error).context("the runtime does not accept the plugin");
            }
        };
        drop(client);
        result.context("the connection to the runtime has failed")
    }

    /// The connection is gone.
    pub fn lost(&self) {
        self.change(Roll::lost);
    }

    fn roll(&self) -> MutexGuard<'_, Roll> {
        // Whoever panicked has ended the agent.
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Roll) -> T) -> T {
        let mut roll = self.roll();
        let result = change(&mut roll);
        let now = roll.sandboxes();
        self.sandboxes.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
        result
    }

    fn patience(&self) -> MutexGuard<'_, Duration> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn service(self: &Arc<Self>) -> Service {
        let mut methods: HashMap<String, Box<dyn MethodHandler + Send + Sync>> = HashMap::new();
        let mut offer = |name: &str, handler: Box<dyn MethodHandler + Send + Sync>| {
            methods.insert(name.to_owned(), handler);
        };
        offer("Configure", self.method(Self::configure));
        offer("Synchronize", self.method(Self::synchronize));
        offer("Shutdown", self.method(Self::shutdown));
        offer("RunPodSandbox", self.method(Self::run_pod));
        offer("CreateContainer", self.method(Self::create_container));
        offer("StopPodSandbox", self.method(Self::end_pod));
        offer("RemovePodSandbox", self.method(Self::end_pod));
        offer("StateChange", self.method(Self::state_change));
        Service {
            methods,
            streams: HashMap::new(),
        }
    }

    fn method<Q, A, F, W>(self: &Arc<Self>, answer: F) -> Box<dyn MethodHandler + Send + Sync>
    where
        Q: Message + Default + 'static,
        A: Message + 'static,
        F: Fn(Arc<Self>, Q) -> W + Send + Sync + 'static,
        W: Future<Output = Result<A, String>> + Send + 'static,
    {
        Box::new(Method::new(Arc::clone(self), answer))
    }

    async fn configure(
        self: Arc<Self>,
        request: ConfigureRequest,
    ) -> Result<ConfigureResponse, String> {
        let theirs = u64::try_from(request.request_timeout).unwrap_or(0);
        let patience = patience(self.options.timeout, Duration::from_millis(theirs));
        *self.patience() = patience;
        if patience < self.options.timeout {
            tracing::warn!(
                asked_ms = self.options.timeout.as_millis(),
                patience_ms = patience.as_millis(),
                runtime_ms = theirs,
                "a pod cannot wait as long as --nri-timeout says: the container runtime throws out who answers later than it waits \
                 (2 seconds if runtime_ms is 0: it did not say); raise its plugin_request_timeout or lower --nri-timeout"
            );
        }
        tracing::info!(
            runtime = request.runtime_name,
            version = request.runtime_version,
            patience_ms = patience.as_millis(),
            fail_closed = self.options.fail_closed,
            "registered as an NRI plugin"
        );
        Ok(ConfigureResponse {
            events: EVENTS.iter().fold(0, |bits, event| bits | 1 << (event - 1)),
        })
    }

    async fn synchronize(
        self: Arc<Self>,
        request: SynchronizeRequest,
    ) -> Result<SynchronizeResponse, String> {
        // Runtimes list sandboxes that have ended too, beside those that took their place.
        let directories = &self.shared.config.netns_directories;
        let part = request
            .pods
            .iter()
            .filter_map(sandbox::read)
            .filter(|(_, sandbox)| {
                let files = locate::namespace_files(&sandbox.netns, directories);
                files.iter().any(|file| file.exists())
            })
            .collect();
        let more = request.more;
        let new = self.change(|roll| {
            let new = roll.list(part, more)?;
            Some((new, roll.sandboxes()))
        });
        if let Some((new, listed)) = new {
            // The runtime does not wait for that.
            tokio::spawn(unwatched::count(Arc::clone(&self.shared), new, listed));
        }
        Ok(SynchronizeResponse { more })
    }

    async fn shutdown(self: Arc<Self>, _nothing: Empty) -> Result<Empty, String> {
        Ok(Empty {})
    }

    async fn run_pod(self: Arc<Self>, request: PodRequest) -> Result<Empty, String> {
        self.gate(request.pod, Before::Pod).await
    }

    /// A pod whose network was made while no plugin was there has passed no gate: its containers do.
    async fn create_container(self: Arc<Self>, request: PodRequest) -> Result<Empty, String> {
        self.gate(request.pod, Before::Container).await
    }

    async fn end_pod(self: Arc<Self>, request: PodRequest) -> Result<Empty, String> {
        self.ended(request.pod);
        Ok(Empty {})
    }

    async fn state_change(self: Arc<Self>, change: StateChangeEvent) -> Result<Empty, String> {
        match change.event {
            event::RUN_POD_SANDBOX => return self.gate(change.pod, Before::Pod).await,
            event::STOP_POD_SANDBOX | event::REMOVE_POD_SANDBOX => self.ended(change.pod),
            _ => {}
        }
        Ok(Empty {})
    }

    fn ended(&self, pod: Option<PodSandbox>) {
        if let Some(pod) = pod {
            self.change(|roll| roll.ended(&pod.id));
        }
    }

    /// Answers when the pod is protected, or when it may wait no longer.
    async fn gate(&self, pod: Option<PodSandbox>, before: Before) -> Result<Empty, String> {
        let start = Instant::now();
        let metrics = &self.shared.lasting.nri;
        let Some((key, sandbox)) = pod.as_ref().and_then(sandbox::read) else {
            if before == Before::Pod {
                metrics.gated(Gated::NodeNetwork, start.elapsed());
            }
            return Ok(Empty {});
        };
        let id = sandbox.id.clone();
        // Nearly always: the pod has passed already.
        let word = gate::now(&self.shared, &key, &id);
        let admitted = word == Some(Word::Own) || word.is_some() && self.roll().is_admitted(&id);
        if before == Before::Container && admitted {
            return Ok(Empty {});
        }
        self.change(|roll| roll.runs(key.clone(), sandbox));
        let patience = *self.patience();
        let (placed, progress) = (self.shared.placed.clone(), self.shared.kernel.progress());
        let passed = gate::pass(placed, progress, &key, &id, patience);
        let mut stop = self.stop.clone();
        let passed = tokio::select! {
            // Whoever is protected passes, whatever else.
            biased;
            word = passed => Ok(word),
            () = tokio::time::sleep_until(start + patience) => Err(format!("within {patience:?}")),
            () = stopped(&mut stop) => Err("before the agent stopped; it may be tried again".to_owned()),
        };
        let when = match passed {
            Err(when) => when,
            Ok(word) => {
                self.roll().admit(&id);
                metrics.gated(Gated::Protected, start.elapsed());
                let took_us = start.elapsed().as_micros();
                match word {
                    Word::Own => tracing::info!(pod = %key, took_us, "protected before it starts"),
                    Word::Recalled => tracing::warn!(
                        pod = %key, took_us,
                        "protected before it starts, by the state that was last known: the API server has not told of all yet"
                    ),
                }
                return Ok(Empty {});
            }
        };
        let reason = gate::reason(&self.shared, &key);
        if self.options.fail_closed {
            metrics.gated(Gated::Refused, start.elapsed());
            tracing::error!(pod = %key, reason, "not protected {when}: it must not start (--nri-fail closed)");
            if before == Before::Pod {
                // The runtime takes it down again, and does not always tell of that.
                self.change(|roll| roll.ended(&id));
            }
            return Err(format!(
                "ringfence: pod {key} is not protected {when}: {reason}"
            ));
        }
        metrics.gated(Gated::LetThrough, start.elapsed());
        tracing::error!(pod = %key, reason, "not protected {when}: it starts unprotected (--nri-fail open)");
        Ok(Empty {})
    }
}

/// How long a runtime waits that does not say it.
const UNTOLD: Duration = Duration::from_secs(2);

/// How long a pod may wait if the runtime waits so long: a plugin that answers late is thrown out.
fn patience(ours: Duration, theirs: Duration) -> Duration {
    let theirs = if theirs.is_zero() { UNTOLD } else { theirs };
    ours.min(theirs * 3 / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_before_the_runtimes() {
        let milliseconds = Duration::from_millis;
        for (ours, theirs, expect) in [
            (1500, 2000, 1500),
            (1500, 1000, 750),
            (1500, 0, 1500),
            (15000, 0, 1500),
            (800, 0, 800),
        ] {
            let found = patience(milliseconds(ours), milliseconds(theirs));
            assert_eq!(found, milliseconds(expect));
        }
    }
}
