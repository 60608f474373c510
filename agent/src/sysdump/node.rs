//! What one node tells: the agent if it answers, the kernel, files.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::Dump;
use crate::{
    admin::api::{Object, Status},
    check::Finding,
    dataplane,
};

/// The end of each log that is taken.
const LOG: u64 = 4 << 20;
/// How long the agent may take to tell its metrics.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to ask.
pub struct Collect<'a> {
    /// Asks the agent for a path.
    pub ask: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
    /// What was found wrong with this node.
    pub findings: Result<Vec<Finding>, String>,
    /// Directory of the pins.
    pub bpffs: &'a Path,
    /// Directory of the logs of this node's pods.
    pub pod_logs: &'a Path,
}

/// Collects.
#[must_use]
pub fn collect(from: &Collect<'_>) -> Dump {
    let mut dump = Dump::default();
    dump.text("version.txt", Ok(version()));
    dump.text("check.json", json(from.findings.clone()));

    // Six questions to a dead agent would give six times the same answer.
    let status = (from.ask)("/v1/status");
    let http = status
        .as_ref()
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Status>(bytes).ok())
        .and_then(|status| status.http);
    let alive = status.as_ref().map(|_| ()).map_err(Clone::clone);
    let ask = |path: &str| alive.clone().and_then(|()| (from.ask)(path)).map(text);
    dump.text("agent/status.json", status.map(text));
    for (name, path) in [
        ("agent/readyz.txt", "/readyz?verbose"),
        ("agent/endpoints.json", "/v1/endpoints"),
        ("agent/connections.json", "/v1/connections"),
        ("agent/objects.json", "/v1/objects"),
        ("agent/flows.jsonl", "/v1/events"),
    ] {
        dump.text(name, ask(path));
    }
    dump.text(
        "agent/metrics.txt",
        alive.clone().and_then(|()| metrics(http.as_deref())),
    );

    let pins = dataplane::pinned(from.bpffs)
        .map(|views| views.into_iter().map(Object::from).collect::<Vec<_>>())
        .map_err(|error| error.to_string());
    dump.text("kernel/pins.json", json(pins));
    for (name, path) in [
        ("kernel/version.txt", "/proc/version"),
        ("kernel/mounts.txt", "/proc/self/mountinfo"),
        ("kernel/devices.txt", "/proc/net/dev"),
        ("kernel/routes4.txt", "/proc/net/route"),
        ("kernel/routes6.txt", "/proc/net/ipv6_route"),
        ("kernel/capabilities.txt", "/proc/self/status"),
    ] {
        let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
        dump.text(name, text);
    }
    logs(from.pod_logs, &mut dump);
    dump
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn json<T: Serialize>(value: Result<T, String>) -> Result<String, String> {
    serde_json::to_string_pretty(&value?).map_err(|error| error.to_string())
}

fn version() -> String {
    format!(
        "ringfence {} ({}), layouts version {}\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        ringfence_common::ABI_VERSION
    )
}

fn metrics(address: Option<&str>) -> Result<String, String> {
    let address = address.ok_or("the agent serves none")?;
    let trouble = |error: std::io::Error| format!("http://{address}/metrics: {error}");
    let socket: SocketAddr = address
        .parse()
        .map_err(|error| format!("{address}: {error}"))?;
    let mut stream = TcpStream::connect_timeout(&socket, PATIENCE).map_err(trouble)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(trouble)?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").map_err(trouble)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(trouble)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
        Some((head, body)) => Err(format!(
            "{}: {}",
            head.lines().next().unwrap_or_default(),
            body.trim()
        )),
        None => Err("the answer is no HTTP".to_owned()),
    }
}

/// The ends of the logs of Ringfence's pods, as the kubelet keeps them: NAMESPACE_POD_UID/CONTAINER/N.log.
fn logs(directory: &Path, dump: &mut Dump) {
    let found = log_files(directory);
    if found.is_empty() {
        dump.text(
            "logs",
            Err(format!(
                "there are none of ringfence in {}",
                directory.display()
            )),
        );
    }
    for path in found {
        let below = path.strip_prefix(directory).unwrap_or(&path);
        let name = format!("logs/{}", below.display());
        let text = tail(&path).map_err(|error| format!("{}: {error}", path.display()));
        dump.text(name, text);
    }
}

fn log_files(directory: &Path) -> Vec<PathBuf> {
    let list = |directory: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.split('_')
            .nth(1)
            .is_some_and(|pod| pod.contains("ringfence"))
    };
    list(directory)
        .into_iter()
        .filter(ours)
        .flat_map(|pod| list(&pod))
        .flat_map(|container| list(&container))
        .filter(|path| path.extension().is_some_and(|it| it == "log"))
        .collect()
}

fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG)))?;
    let mut bytes = Vec::new();
    file.take(LOG).read_to_end(&mut bytes)?;
    Ok(text(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dump: &Dump) -> Vec<&str> {
        dump.files.iter().map(|(path, _)| path.as_str()).collect()
    }

    #[test]
    fn without_an_agent_the_rest_is_there_and_the_reason_too() {
        let directory = tempfile::tempdir().unwrap();
        let pod = directory
            .path()
            .join("ringfence-system_ringfence-abc_0b1c/agent");
        fs::create_dir_all(&pod).unwrap();
        fs::write(pod.join("0.log"), "started\ntoken=abc\n").unwrap();
        let other = directory.path().join("shop_web_77/web");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join("0.log"), "not ours").unwrap();

        let dump = collect(&Collect {
            ask: &|_| Err("no agent runs here".to_owned()),
            findings: Ok(Vec::new()),
            bpffs: &directory.path().join("absent"),
            pod_logs: directory.path(),
        });
        let names = names(&dump);
        for name in ["version.txt", "check.json", "kernel/version.txt"] {
            assert!(names.contains(&name), "{names:?}");
        }
        let log = "logs/ringfence-system_ringfence-abc_0b1c/agent/0.log";
        let (_, log) = dump.files.iter().find(|(path, _)| path == log).unwrap();
        assert_eq!(log, b"started\ntoken=[removed]\n");
        assert!(!names.iter().any(|name| name.contains("shop_web")));
        for name in [
            "agent/status.json",
            "agent/flows.jsonl",
            "agent/metrics.txt",
        ] {
            let reason = dump.missing().iter().find(|(path, _)| path == name);
            assert_eq!(reason.unwrap().1, "no agent runs here");
        }
    }

    #[test]
    fn an_agent_that_answers_is_asked_for_everything() {
        let directory = tempfile::tempdir().unwrap();
        let dump = collect(&Collect {
            ask: &|path| Ok(format!("{{\"path\": {path:?}}}").into_bytes()),
            findings: Err("not looked".to_owned()),
            bpffs: directory.path(),
            pod_logs: directory.path(),
        });
        let names = names(&dump);
        for name in [
            "agent/status.json",
            "agent/readyz.txt",
            "agent/endpoints.json",
        ] {
            assert!(names.contains(&name), "{names:?}");
        }
    }
}
