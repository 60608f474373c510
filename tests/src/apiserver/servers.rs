//! The two processes, and who asks them: all on one thread, in the namespace of the API server.
//!
//! **Invariant.** The processes end with this thread, however it ends.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use http::Request;
use kube::{Client, Config, config::Kubeconfig};
use nix::sys::{prctl, signal::Signal};
use serde_json::{Value, json};

use super::{assets::Assets, fabric::SERVER};

/// Who may do everything.
pub(super) const ADMIN_TOKEN: &str = "admin-of-the-tests";

/// Where etcd's data are, and those that were kept, in the folder.
const DATA: &str = "etcd";
const BACKUP: &str = "etcd.backup";

pub(super) struct Servers {
    folder: PathBuf,
    assets: Assets,
    etcd: Child,
    apiserver: Option<Child>,
    runtime: tokio::runtime::Runtime,
}

impl Servers {
    /// Starts etcd; keys are in the folder.
    pub fn start(folder: &Path, assets: Assets) -> Result<Self> {
        let tokens = format!("{ADMIN_TOKEN},admin,admin,system:masters\n");
        std::fs::write(folder.join("tokens.csv"), tokens)?;
        Ok(Self {
            etcd: start_etcd(folder, &assets)?,
            apiserver: None,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            folder: folder.to_owned(),
            assets,
        })
    }

    /// Keeps what etcd has now.
    pub fn back_up(&mut self) -> Result<()> {
        self.replace_etcd(DATA, BACKUP)
    }

    /// Starts etcd, and the API server, with what was kept.
    pub fn restore(&mut self) -> Result<()> {
        self.kill_apiserver();
        self.replace_etcd(BACKUP, DATA)?;
        self.start_apiserver()
    }

    /// Copies its data while it does not run.
    fn replace_etcd(&mut self, from: &str, to: &str) -> Result<()> {
        end(&mut self.etcd);
        let to = self.folder.join(to);
        if to.exists() {
            std::fs::remove_dir_all(&to)?;
        }
        let mut copy = Command::new("cp");
        let copied = copy
            .arg("-a")
            .arg(self.folder.join(from))
            .arg(to)
            .status()?;
        anyhow::ensure!(copied.success(), "cp: {copied}");
        self.etcd = start_etcd(&self.folder, &self.assets)?;
        Ok(())
    }

    pub fn start_apiserver(&mut self) -> Result<()> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let mut command = Command::new(&self.assets.apiserver);
        for (flag, value) in [
            ("etcd-servers", "http://127.0.0.1:2379".to_owned()),
            ("bind-address", "0.0.0.0".to_owned()),
            ("advertise-address", SERVER.to_owned()),
            ("secure-port", "6443".to_owned()),
            ("cert-dir", file("generated")),
            ("tls-cert-file", file("server.crt")),
            ("tls-private-key-file", file("server.key")),
            ("token-auth-file", file("tokens.csv")),
            (
                "service-account-issuer",
                "https://kubernetes.default.svc".to_owned(),
            ),
            ("service-account-key-file", file("accounts.pub")),
            ("service-account-signing-key-file", file("accounts.key")),
            ("authorization-mode", "RBAC".to_owned()),
            ("service-cluster-ip-range", "10.96.0.0/16".to_owned()),
            // Its accounts are made by a controller that does not run here.
            ("disable-admission-plugins", "ServiceAccount".to_owned()),
            ("endpoint-reconciler-type", "none".to_owned()),
            // Compaction is what a test does when it wants it.
            ("etcd-compaction-interval", "0".to_owned()),
        ] {
            command.arg(format!("--{flag}={value}"));
        }
        self.apiserver = Some(spawn(command, &self.folder.join("apiserver.log"))?);
        Ok(())
    }

    pub fn kill_apiserver(&mut self) {
        if let Some(mut child) = self.apiserver.take() {
            end(&mut child);
        }
    }

    /// Says why, if one of the two has ended.
    pub fn check(&mut self) -> Result<()> {
        let children = [
            (Some(&mut self.etcd), "etcd.log"),
            (self.apiserver.as_mut(), "apiserver.log"),
        ];
        for (child, log) in children {
            if let Some(status) = child.and_then(|child| child.try_wait().transpose()) {
                let text = std::fs::read_to_string(self.folder.join(log)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let last = lines[lines.len().saturating_sub(20)..].join("\n");
                anyhow::bail!("it has ended ({:?}), {log}:\n{last}", status?);
            }
        }
        Ok(())
    }

    /// A request as whoever has this token; connections do not outlive it, for the server may not either.
    pub fn ask(&self, token: &str, request: Request<Vec<u8>>) -> Result<Value, kube::Error> {
        let kubeconfig = kubeconfig(&self.folder, token);
        self.runtime.block_on(async {
            let file = Kubeconfig::from_yaml(&kubeconfig).expect("just written");
            let mut config = Config::from_custom_kubeconfig(file, &Default::default()).await?;
            config.default_retry = false;
            let client = Client::try_from(config)?;
            let text = client.request_text(request).await?;
            Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
        })
    }

    /// Asks etcd by its gateway.
    pub fn ask_etcd(&self, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let mut stream = TcpStream::connect("127.0.0.1:2379").context("cannot reach etcd")?;
        write!(
            stream,
            "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        serde_json::from_str(body).with_context(|| format!("etcd says {answer}"))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.kill_apiserver();
        end(&mut self.etcd);
    }
}

/// Where the API server is, and the right to do what the token may.
pub(super) fn kubeconfig(folder: &Path, token: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "c", "cluster": {
            "server": format!("https://{SERVER}:6443"),
            "certificate-authority": folder.join("ca.crt"),
        } }],
        "users": [{ "name": "u", "user": { "token": token } }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    })
    .to_string()
}

fn start_etcd(folder: &Path, assets: &Assets) -> Result<Child> {
    let client = "http://127.0.0.1:2379";
    let peer = "http://127.0.0.1:2380";
    let mut command = Command::new(&assets.etcd);
    command.arg("--data-dir").arg(folder.join(DATA));
    for (flag, url) in [
        ("listen-client-urls", client),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer),
        ("initial-advertise-peer-urls", peer),
    ] {
        command.arg(format!("--{flag}={url}"));
    }
    command
        .arg(format!("--initial-cluster=default={peer}"))
        .arg("--unsafe-no-fsync");
    spawn(command, &folder.join("etcd.log"))
}

fn spawn(mut command: Command, log: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    // SAFETY: between fork and exec only one system call is made, nothing is allocated and no lock is taken.
    unsafe {
        command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .spawn()
        .with_context(|| format!("cannot run {program}"))
}

fn end(child: &mut Child) {
    // It has ended already, or it ends now.
    let _: std::io::Result<()> = child.kill();
    let _: std::io::Result<_> = child.wait();
}
