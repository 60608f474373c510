//! The built binary asks an agent that runs on a kernel of plain values.
#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

#[path = "cli_agent/cluster.rs"]
mod cluster;
mod common;
#[path = "cli_agent/http.rs"]
mod http_port;

use std::{
    path::Path,
    process::Output,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{Agent, connection, denial};
use ringfence_agent::{
    locate::World,
    model::{Enforcement, Origin, Policy, PolicyKey, Selector, Snapshot},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::Command,
};

fn command(run_dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringfence"));
    command
        .args(words)
        .env("RINGFENCE_RUN_DIR", run_dir)
        .kill_on_drop(true);
    command
}

async fn ringfence(run_dir: &Path, words: &[&str]) -> Output {
    command(run_dir, words).output().await.unwrap()
}

async fn json(run_dir: &Path, words: &[&str]) -> serde_json::Value {
    let output = ringfence(run_dir, words).await;
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn text(run_dir: &Path, words: &[&str]) -> String {
    let output = ringfence(run_dir, words).await;
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn world(policy: &str) -> Arc<World> {
    let key = PolicyKey {
        namespace: "db".to_owned(),
        name: policy.to_owned(),
    };
    let policy = Policy {
        key: key.clone(),
        subject: Selector::default(),
        ingress: Some(Vec::new()),
        egress: None,
        enforcement: Enforcement::Enforce,
        origin: Origin::default(),
    };
    let snapshot = Snapshot {
        policies: [(key, policy)].into(),
        ..Snapshot::default()
    };
    Arc::new(World {
        revisions: Default::default(),
        snapshot: Some(Arc::new(snapshot)),
        diagnostics: Vec::new(),
        recalled: false,
    })
}

/// Asks until the answer is as expected: what the agent was told takes its way through the stages.
async fn eventually(
    run_dir: &Path,
    words: &[&str],
    fits: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    loop {
        let answer = json(run_dir, words).await;
        if fits(&answer) {
            return answer;
        }
    }
}

async fn http(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_programmed_before_the_sources_have_synced() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(directory.path(), "127.0.0.1:0").await;
    let status = eventually(directory.path(), &["status", "-o", "json"], |status| {
        status["http"].is_string()
    })
    .await;
    assert_eq!(status["apiVersion"], "cli.ringfence.dev/v1");
    assert_eq!(status["kind"], "Status");
    assert_eq!(status["ready"], false);
    let address = status["http"].as_str().unwrap();
    let answer = http(address, "/readyz?verbose").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("[-] sources synced"),
        "{answer}"
    );
    assert!(agent.kernel.inner().applied.is_empty());

    agent.world.send_replace(world("one"));
    eventually(directory.path(), &["status", "-o", "json"], |status| {
        status["ready"] == true
    })
    .await;
    assert_eq!(
        agent.kernel.inner().applied[0].rules,
        vec!["NetworkPolicy/db/one".to_owned()].into()
    );
    let answer = http(address, "/readyz?verbose").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("[+] a state is in force"),
        "{answer}"
    );
    assert!(http(address, "/livez").await.starts_with("HTTP/1.1 200"));
    let metrics = http(address, "/metrics").await;
    assert!(
        metrics.contains("\nringfence_policy_revision 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("hook=\"to_pod\",verdict=\"denied\",reason=\"policy\"} 7\n"),
        "{metrics}"
    );
    assert!(!metrics.contains("shop"), "no pod is a label: {metrics}");
    assert!(
        http(address, "/v1/status")
            .await
            .starts_with("HTTP/1.1 404"),
        "pods are named on the socket only"
    );

    agent.stop().await;
    let output = ringfence(directory.path(), &["status"]).await;
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.starts_with("error: no agent runs here\n  ") && text.contains("\n  help: "),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_state_is_told_and_the_one_before_stays() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(directory.path(), "off").await;
    agent.world.send_replace(world("one"));
    eventually(directory.path(), &["status", "-o", "json"], |status| {
        status["revision"] == 1
    })
    .await;

    agent.kernel.inner().refuse = true;
    agent.world.send_replace(world("two"));
    let status = eventually(directory.path(), &["status", "-o", "json"], |status| {
        status["refused"].is_string()
    })
    .await;
    assert_eq!(status["revision"], 1);
    assert_eq!(status["ready"], false);
    assert!(
        status["refused"]
            .as_str()
            .unwrap()
            .contains("raise --cell-entries"),
        "{status}"
    );
    assert_eq!(status["diagnostics"][0]["object"], "kernel");
    let table = text(directory.path(), &["status"]).await;
    assert!(
        table.contains("NOT READY") && table.contains("Refused    map CELLS needs 9"),
        "{table}"
    );
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_printed_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(directory.path(), "off").await;
    let started = Instant::now();
    agent.kernel.inner().connections =
        vec![connection("10.0.0.9", 3306), connection("10.0.0.8", 443)];
    let run_dir = directory.path();

    // The devices are looked at beside everything else; the first look may not be over.
    let mut table = text(run_dir, &["endpoints"]).await;
    while !table.contains(" lo ") && started.elapsed() < Duration::from_secs(20) {
        tokio::task::yield_now().await;
        table = text(run_dir, &["endpoints"]).await;
    }
    assert_eq!(
        table,
        "ID  POD       INTERFACE  ADDRESSES  INGRESS   EGRESS  METADATA  GENERATION\n\
         3   shop/web  lo         10.0.0.7   isolated  open    denied    12\n"
    );
    let yaml = text(run_dir, &["endpoints", "-o", "yaml"]).await;
    assert!(
        yaml.starts_with("apiVersion: cli.ringfence.dev/v1\nkind: EndpointList\nitems:\n"),
        "{yaml}"
    );
    let table = text(run_dir, &["bpf", "show", "--no-headers"]).await;
    assert_eq!(
        table,
        "/sys/fs/bpf/ringfence/v1/maps/CELLS  array  96/1024  8.8K  118\n"
    );

    let table = text(run_dir, &["endpoints", "shop/web"]).await;
    assert_eq!(
        table,
        "DIRECTION  PEERS                 PORTS    VERDICT  STAGED  TIER           RULE\n\
         ingress    everybody else        443/tcp  deny             NetworkPolicy\n\
         ingress    10.0.0.8,10.1.0.0/16  443/tcp  allow    deny    NetworkPolicy  NetworkPolicy/shop/web\n"
    );
    let table = text(run_dir, &["bpf", "show", "--cell", "17", "--no-headers"]).await;
    assert_eq!(
        table,
        "17  4  1  shop/web  ingress  443/tcp  allow  deny  NetworkPolicy  NetworkPolicy/shop/web\n"
    );
    let none = json(run_dir, &["endpoints", "shop/nobody", "-o", "json"]).await;
    assert_eq!(none["items"], serde_json::json!([]));

    let table = text(run_dir, &["ct", "list", "--port", "3306"]).await;
    assert_eq!(
        table,
        "PROTO  LOCAL               REMOTE         VERDICT  IDLE  FLAGS    RULE\n\
         tcp    10.0.0.7:40000  ->  10.0.0.9:3306  allow    4s    replied  NetworkPolicy/db/mysql\n"
    );
    assert_eq!(
        json(run_dir, &["ct", "list", "-o", "json"]).await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    let output = ringfence(run_dir, &["ct", "flush"]).await;
    assert_eq!(output.status.code(), Some(2), "everything only on demand");
    let output = ringfence(
        run_dir,
        &[
            "ct",
            "flush",
            "--remote",
            "10.0.0.8/31",
            "--protocol",
            "tcp",
        ],
    )
    .await;
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "2 connections forgotten\n"
    );
    assert!(agent.kernel.inner().connections.is_empty());

    let output = ringfence(run_dir, &["ct", "list", "--protocol", "tpc"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("protocol: \"tpc\" is none of tcp")
    );
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_are_remembered_filtered_and_followed() {
    let directory = tempfile::tempdir().unwrap();
    let agent = Agent::start(directory.path(), "off").await;
    let run_dir = directory.path();
    agent.kernel.inner().events = vec![denial("10.0.0.7", 22), denial("10.0.0.8", 3306)];

    let mut follower = command(
        run_dir,
        &[
            "observe",
            "-f",
            "-o",
            "jsonl",
            "--port",
            "3306",
            "--verdict",
            "deny",
        ],
    )
    .stdout(std::process::Stdio::piped())
    .spawn()
    .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let flow: serde_json::Value =
        serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(flow["src"]["ip"], "10.0.0.8");
    assert_eq!(flow["dst"]["pod"], "mysql-0");
    assert_eq!(flow["rule"]["name"], "NetworkPolicy/db/mysql");
    assert_eq!(flow["node"], "w3");
    agent.kernel.inner().events = vec![denial("10.0.0.5", 22), denial("10.0.0.6", 3306)];
    let flow: serde_json::Value =
        serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(flow["src"]["ip"], "10.0.0.6");

    let table = text(
        run_dir,
        &[
            "observe",
            "--from",
            "10.0.0.4/30",
            "--to",
            "db/mysql-0",
            "--last",
            "1",
        ],
    )
    .await;
    assert_eq!(
        table,
        "00:00:00.000 DENIED      10.0.0.6:40000 -> db/mysql-0:3306 tcp ingress NetworkPolicy/db/mysql\n"
    );
    assert_eq!(text(run_dir, &["observe", "--verdict", "allow"]).await, "");
    let output = ringfence(run_dir, &["observe", "--from", "nonsense"]).await;
    assert_eq!(
        output.status.code(),
        Some(2),
        "a filter that can never match is an error"
    );
    follower.kill().await.unwrap();
    agent.stop().await;
}
