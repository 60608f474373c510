//! A container runtime that only speaks NRI: it asks the agent before it starts pods, and starts none.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use prost::Message;
use ringfence_agent::nri::{
    messages::{
        self, ConfigureRequest, ConfigureResponse, Empty, LinuxNamespace, LinuxPodSandbox,
        PodRequest, PodSandbox, RegisterPluginRequest, SynchronizeRequest, SynchronizeResponse,
    },
    mux,
};
use tokio::{net::UnixListener, sync::mpsc, task::JoinHandle};
use ttrpc::{
    asynchronous::{
        Client, MethodHandler, Server, Service, TtrpcContext,
        transport::{Listener, Socket},
    },
    proto::{Request, Response},
};

/// How long the runtime waits for an answer.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// How long the runtime waits for a plugin.
const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime's socket.
pub struct Runtime {
    directory: tempfile::TempDir,
    listener: UnixListener,
    tokio: Arc<tokio::runtime::Runtime>,
}

/// A plugin that has registered.
pub struct Plugin {
    client: Client,
    carry: JoinHandle<std::io::Result<()>>,
    // Serves as long as it lives.
    _server: Server,
    tokio: Arc<tokio::runtime::Runtime>,
}

/// An answer that has not come yet.
pub struct Pending {
    answer: JoinHandle<Result<(), String>>,
    tokio: Arc<tokio::runtime::Runtime>,
}

impl Runtime {
    /// Listens in a directory of its own.
    ///
    /// # Panics
    ///
    /// If there is no room for it.
    #[must_use]
    pub fn listen() -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory can be written");
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = {
            let _inside = tokio.enter();
            UnixListener::bind(directory.path().join("nri.sock")).expect("a short path")
        };
        Self {
            directory,
            listener,
            tokio: Arc::new(tokio),
        }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("nri.sock")
    }

    /// Waits for a plugin, and tells it of these pods, each in a message of its own. The plugin must want to be asked
    /// before a pod starts.
    ///
    /// # Panics
    ///
    /// If no plugin behaves.
    #[must_use]
    pub fn accept(&self, running: &[PodSandbox]) -> Plugin {
        self.tokio.block_on(async {
            let accepted = tokio::time::timeout(PATIENCE, async {
                loop {
                    // One that has waited too long for this call has given up, and comes again.
                    match self.accept_one(running).await {
                        Ok(plugin) => break plugin,
                        Err(error) => eprintln!("a plugin has gone: {error}"),
                    }
                }
            });
            accepted.await.expect("a plugin comes and stays")
        })
    }

    async fn accept_one(&self, running: &[PodSandbox]) -> Result<Plugin, String> {
        let (stream, _) = self.listener.accept().await.expect("it listens");
        let (connections, carry) = mux::divide(stream);
        let carry = tokio::spawn(carry);
        let (registered, mut registration) = mpsc::channel(1);
        let register: Box<dyn MethodHandler + Send + Sync> = Box::new(Register(registered));
        let service = Service {
            methods: HashMap::from([("RegisterPlugin".to_owned(), register)]),
            streams: HashMap::new(),
        };
        let incoming = futures::stream::iter([Ok(connections.runtime)]);
        let mut server = Server::new()
            .add_listener(Listener::new(incoming))
            .register_service(HashMap::from([(messages::RUNTIME.to_owned(), service)]));
        server.start().await.expect("a server");
        let name = registration.recv().await.ok_or("it does not register")?;
        assert_eq!(name.plugin_name, "ringfence");
        assert_eq!(name.plugin_idx.len(), 2);

        let client = Client::new(Socket::new(connections.plugin));
        let configuration = ConfigureRequest {
            runtime_name: "tests".to_owned(),
            runtime_version: "1".to_owned(),
            request_timeout: i64::try_from(TIMEOUT.as_millis()).expect("small"),
        };
        let wants: ConfigureResponse = ask(&client, "Configure", &configuration).await?;
        assert_eq!(wants.events, 0b1111);
        for number in 0..=running.len() {
            let part = SynchronizeRequest {
                pods: running.get(number).cloned().into_iter().collect(),
                more: number < running.len(),
            };
            let understood: SynchronizeResponse = ask(&client, "Synchronize", &part).await?;
            assert_eq!(understood.more, part.more);
        }
        Ok(Plugin {
            client,
            carry,
            _server: server,
            tokio: Arc::clone(&self.tokio),
        })
    }
}

impl Plugin {
    /// Asks whether this pod may start.
    #[must_use]
    pub fn runs(&self, pod: &PodSandbox) -> Pending {
        self.put("RunPodSandbox", pod)
    }

    /// Asks whether a container of this pod may be made.
    #[must_use]
    pub fn creates(&self, pod: &PodSandbox) -> Pending {
        self.put("CreateContainer", pod)
    }

    fn put(&self, method: &'static str, pod: &PodSandbox) -> Pending {
        let (client, request) = (self.client.clone(), request(pod));
        let answer = self.tokio.spawn(async move {
            let empty: Empty = ask(&client, method, &request).await?;
            let Empty {} = empty;
            Ok(())
        });
        Pending {
            answer,
            tokio: Arc::clone(&self.tokio),
        }
    }

    /// Tells that this pod is gone.
    ///
    /// # Panics
    ///
    /// If the plugin does not take it.
    pub fn ended(&self, pod: &PodSandbox) {
        self.tokio.block_on(async {
            for method in ["StopPodSandbox", "RemovePodSandbox"] {
                let Empty {} = ask(&self.client, method, &request(pod))
                    .await
                    .expect("an answer");
            }
        });
    }

    /// Breaks the connection, as a runtime does that restarts.
    pub fn hang_up(self) {
        self.carry.abort();
    }
}

impl Pending {
    /// Waits for the answer; an error is the plugin's own.
    ///
    /// # Errors
    ///
    /// What the plugin says against the pod.
    ///
    /// # Panics
    ///
    /// If the question could not be put.
    pub fn answer(self) -> Result<(), String> {
        self.tokio.block_on(self.answer).expect("it was asked")
    }
}

/// A pod of a lab, whose network namespace is here.
#[must_use]
pub fn sandbox(id: &str, namespace: &str, name: &str, netns: &Path) -> PodSandbox {
    let network = LinuxNamespace {
        r#type: "network".to_owned(),
        path: netns.display().to_string(),
    };
    let labels = [
        ("app", name),
        ("io.kubernetes.pod.name", name),
        ("io.kubernetes.pod.namespace", namespace),
    ];
    PodSandbox {
        id: id.to_owned(),
        name: name.to_owned(),
        uid: format!("uid-of-{name}"),
        namespace: namespace.to_owned(),
        labels: labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        linux: Some(LinuxPodSandbox {
            cgroup_parent: String::new(),
            namespaces: vec![network],
        }),
        ..PodSandbox::default()
    }
}

fn request(pod: &PodSandbox) -> PodRequest {
    PodRequest {
        pod: Some(pod.clone()),
    }
}

async fn ask<A: Message + Default>(
    client: &Client,
    method: &str,
    question: &impl Message,
) -> Result<A, String> {
    let request = Request {
        service: messages::PLUGIN.to_owned(),
        method: method.to_owned(),
        timeout_nano: i64::try_from(TIMEOUT.as_nanos()).expect("small"),
        payload: question.encode_to_vec(),
        ..Request::default()
    };
    let response = client
        .request(request)
        .await
        .map_err(|error| error.to_string())?;
    A::decode(&*response.payload).map_err(|error| error.to_string())
}

/// Hands on who registers.
struct Register(mpsc::Sender<RegisterPluginRequest>);

#[async_trait]
impl MethodHandler for Register {
    async fn handler(&self, _context: TtrpcContext, request: Request) -> ttrpc::Result<Response> {
        let plugin = RegisterPluginRequest::decode(&*request.payload)
            .map_err(|error| ttrpc::Error::Others(error.to_string()))?;
        self.0
            .send(plugin)
            .await
            .map_err(|error| ttrpc::Error::Others(error.to_string()))?;
        Ok(Response::default())
    }
}
