//! A real API server with its etcd, in a network namespace of its own, for as long as a test lives.
//!
//! ```text
//!   test ──jobs──► thread in namespace rfapi-… ── kube-apiserver 192.168.77.1:6443 ── etcd
//!                                │ bridge
//!                    node 1's namespace, node 2's namespace (labs), each with an agent
//! ```

mod assets;
mod certificates;
mod fabric;
mod servers;

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::PathBuf,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use http::Request;
use ringfence_agent::lab::netns;
use serde_json::{Value, json};

pub use assets::available;

use self::{assets::Assets, fabric::Fabric, servers::Servers};
use crate::lab::patiently;

type Job = Box<dyn FnOnce(&mut Servers) + Send>;

/// A running API server. Everything goes when it is dropped.
pub struct ApiServer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    fabric: Fabric,
    folder: tempfile::TempDir,
}

impl ApiServer {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    ///
    /// If it does not come so far.
    #[must_use]
    pub fn start() -> Self {
        let assets = Assets::find().expect("the caller has asked whether it is available");
        let folder = tempfile::tempdir().expect("the temporary directory can be written");
        certificates::write(folder.path(), fabric::SERVER).expect("certificates");
        let fabric = Fabric::lay().expect("the network of the API server");
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (path, name) = (folder.path().to_owned(), fabric.netns.clone());
        let thread = thread::spawn(move || {
            netns::enter(&name).expect("just made");
            let mut servers = Servers::start(&path, assets).expect("etcd starts");
            servers.start_apiserver().expect("the API server starts");
            while let Ok(job) = inbox.recv() {
                job(&mut servers);
            }
        });
        let server = Self {
            jobs: Some(jobs),
            thread: Some(thread),
            fabric,
            folder,
        };
        server.wait_until_ready();
        server
    }

    fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Servers) -> T + Send + 'static) -> T {
        let (sender, result) = mpsc::channel();
        let job: Job = Box::new(move |servers| {
            // Whoever asked has panicked.
            let _: Result<(), _> = sender.send(work(servers));
        });
        let jobs = self.jobs.as_ref().expect("until it is dropped");
        jobs.send(job).expect("the thread of the API server lives");
        result.recv().expect("the thread of the API server lives")
    }

    fn wait_until_ready(&self) {
        patiently("the API server is ready", || {
            self.with(Servers::check).expect("it runs");
            let answer = self.request("GET", "/readyz", "", None);
            // What it makes at its start by itself comes after it is ready.
            let made = self.request("GET", "/api/v1/namespaces/default", "", None);
            (answer.is_ok() && made.is_ok()).then_some(())
        });
    }

    /// Kills it as a crash would; etcd stays.
    pub fn kill(&self) {
        self.with(Servers::kill_apiserver);
    }

    /// Starts it again.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn restart(&self) {
        self.kill();
        self.with(Servers::start_apiserver)
            .expect("the API server starts");
        self.wait_until_ready();
    }

    /// Makes etcd forget all history: what somebody saw before is too old to go on from.
    ///
    /// # Panics
    ///
    /// If it refuses.
    pub fn compact(&self) {
        let compacted = self.with(|servers| {
            let status = servers.ask_etcd("/v3/maintenance/status", &json!({}))?;
            let revision = &status["header"]["revision"];
            let body = json!({ "revision": revision, "physical": true });
            servers.ask_etcd("/v3/kv/compaction", &body)
        });
        let answer = compacted.expect("etcd answers");
        assert!(answer["header"].is_object(), "{answer}");
    }

    /// Keeps all that is known now, as a backup of etcd does.
    ///
    /// # Panics
    ///
    /// If it cannot be copied.
    pub fn back_up(&self) {
        self.with(Servers::back_up).expect("etcd is copied");
        self.wait_until_ready();
    }

    /// Goes back to what was kept; versions go back with it.
    ///
    /// # Panics
    ///
    /// If nothing was kept.
    pub fn restore(&self) {
        self.with(Servers::restore).expect("etcd is replaced");
        self.wait_until_ready();
    }

    /// Writes so often that the version is far ahead of what it was.
    ///
    /// # Panics
    ///
    /// If etcd refuses it.
    pub fn grow(&self, writes: usize) {
        // A key of no object, in base64.
        let put = json!({ "key": "Z3Jvdw==", "value": "Z3Jvdw==" });
        let grown = self.with(move |servers| {
            (0..writes).try_for_each(|_| servers.ask_etcd("/v3/kv/put", &put).map(drop))
        });
        grown.expect("etcd answers");
    }

    /// Any request, as the administrator.
    ///
    /// # Errors
    ///
    /// The server refuses it, or is not there.
    ///
    /// # Panics
    ///
    /// If it is no request.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Value, kube::Error> {
        self.request_as(servers::ADMIN_TOKEN, method, path, content_type, body)
    }

    /// Any request, as whoever has this token.
    ///
    /// # Errors
    ///
    /// The server refuses it, or is not there.
    ///
    /// # Panics
    ///
    /// If it is no request.
    pub fn request_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Value, kube::Error> {
        let mut request = Request::builder().method(method).uri(path);
        if !content_type.is_empty() {
            request = request.header("Content-Type", content_type);
        }
        let body = body.map(|body| body.to_string().into_bytes());
        let request = request.body(body.unwrap_or_default()).expect("a request");
        let token = token.to_owned();
        self.with(move |servers| servers.ask(&token, request))
    }

    /// Makes an object, or makes it so.
    ///
    /// # Panics
    ///
    /// If the server refuses it.
    pub fn apply(&self, object: &Value) -> Value {
        let path = path(object) + "?fieldManager=tests&force=true";
        let applied = self.request("PATCH", &path, "application/apply-patch+yaml", Some(object));
        applied.unwrap_or_else(|error| panic!("{object}: {error}"))
    }

    /// Changes a part of an object, or of its status.
    ///
    /// # Panics
    ///
    /// If the server refuses it.
    pub fn merge(&self, path: &str, patch: &Value) {
        let patched = self.request("PATCH", path, "application/merge-patch+json", Some(patch));
        patched.unwrap_or_else(|error| panic!("{path}: {patch}: {error}"));
    }

    /// Deletes an object at once.
    ///
    /// # Panics
    ///
    /// If the server refuses it.
    pub fn delete(&self, path: &str) {
        let options =
            json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0 });
        let deleted = self.request("DELETE", path, "application/json", Some(&options));
        deleted.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Gives a service account of `kube-system` these rules everywhere, and the file with which somebody is it.
    ///
    /// # Panics
    ///
    /// If the server refuses it.
    #[must_use]
    pub fn account(&self, name: &str, rules: &Value) -> PathBuf {
        self.allow(name, rules);
        let token = self.token("kube-system", name);
        self.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": "kube-system" }],
        }));
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        fs::write(&path, servers::kubeconfig(self.folder.path(), &token))
            .expect("the temporary directory can be written");
        path
    }

    /// Makes a service account, which may do nothing by itself; what proves to be it.
    ///
    /// # Panics
    ///
    /// If the server refuses it.
    #[must_use]
    pub fn token(&self, namespace: &str, name: &str) -> String {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": name, "namespace": namespace },
        }));
        let token = self.request(
            "POST",
            &format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"),
            "application/json",
            Some(&json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                "spec": { "expirationSeconds": 86400 },
            })),
        );
        let token = token.unwrap_or_else(|error| panic!("a token for {name}: {error}"));
        token["status"]["token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// Changes what an account may do.
    pub fn allow(&self, name: &str, rules: &Value) {
        self.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": { "name": name }, "rules": rules,
        }));
    }

    /// Changes what an account may do in one namespace.
    pub fn allow_in(&self, namespace: &str, name: &str, rules: &Value) {
        self.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": { "name": name, "namespace": namespace }, "rules": rules,
        }));
        self.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": name, "namespace": namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": "kube-system" }],
        }));
    }

    /// What `kubectl get` shows: a row of cells for each object, by the columns' names.
    ///
    /// # Panics
    ///
    /// If the server refuses it.
    #[must_use]
    pub fn table(&self, path: &str) -> Vec<BTreeMap<String, Value>> {
        let request = Request::builder()
            .uri(path)
            .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())
            .expect("a request");
        let table = self.with(move |server| server.ask(servers::ADMIN_TOKEN, request));
        let table = table.unwrap_or_else(|error| panic!("{path}: {error}"));
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let columns = list(&table["columnDefinitions"]);
        let rows = list(&table["rows"]).into_iter().map(|row| {
            let cells = columns.iter().zip(list(&row["cells"]));
            let name = |column: &Value| column["name"].as_str().unwrap_or_default().to_owned();
            cells.map(|(column, cell)| (name(column), cell)).collect()
        });
        rows.collect()
    }

    /// The network namespace in which it is reached without a node.
    #[must_use]
    pub fn netns(&self) -> &str {
        &self.fabric.netns
    }

    /// Connects a node's network namespace as node number N; its addresses there.
    ///
    /// # Panics
    ///
    /// If it cannot be connected.
    pub fn connect(&self, number: u8, netns: &str) -> [IpAddr; 2] {
        self.fabric
            .connect(number, netns)
            .expect("the node's namespace is there");
        Fabric::addresses(number)
    }

    /// Routes these networks from one node to node number `via`.
    ///
    /// # Panics
    ///
    /// If the kernel refuses it.
    pub fn route(netns: &str, networks: &[String], via: u8) {
        Fabric::route(netns, networks, via).expect("a route");
    }

    /// Cuts node number N off, or connects it again.
    ///
    /// # Panics
    ///
    /// If it is not connected.
    pub fn reach(&self, number: u8, reachable: bool) {
        let state = if reachable { "up" } else { "down" };
        self.fabric.set(number, state).expect("a link");
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("the thread of the API server has panicked");
        }
    }
}

/// Where an object lies.
fn path(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let root = if version.contains('/') { "apis" } else { "api" };
    let plural = match object["kind"].as_str() {
        Some(kind) => plural(&kind.to_lowercase()),
        None => panic!("no kind: {object}"),
    };
    let name = text(&object["metadata"]["name"]);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{plural}/{name}"),
        None => format!("/{root}/{version}/{plural}/{name}"),
    }
}

fn plural(kind: &str) -> String {
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    }
}
