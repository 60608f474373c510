//! The built binary asks the agents of several nodes, through a kubectl that reaches agents on kernels of plain values.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Output,
};

use tokio::process::Command;

use crate::common::{Agent, denial};

/// Knows three pods. Runs what is to be run in the first two as if their nodes were here; the third cannot be reached.
const KUBECTL: &str = r#"#!/bin/sh
echo "$*" >> "$DIRECTORY/asked"
if [ "$1" = --context ]; then
  [ "$2" = good ] || { echo "error: context \"$2\" does not exist" >&2; exit 1; }
  shift 2
fi
pod() {
  printf '{"metadata":{"namespace":"ringfence-system","name":"rf-%s"},"spec":{"nodeName":"%s","containers":[{"env":[{"value":"hidden"}]}]}}' "$1" "$1"
}
case "$*" in
  "get pods --all-namespaces -l "*|"get daemonsets,pods "*) printf '{"items":[%s,%s,%s]}' "$(pod w2)" "$(pod w1)" "$(pod w3)" ;;
  get\ *-o\ json) echo '{"items": []}' ;;
  get\ *) echo 'NAME READY' ;;
  logs\ *--previous) echo 'Error from server: previous terminated container not found' >&2; exit 1 ;;
  logs\ *) echo 'level=info token=hidden' ;;
  "exec -n ringfence-system rf-w3 "*) echo 'error: Internal error: container not running' >&2; exit 1 ;;
  exec\ *)
    node=${4#rf-}
    shift 8
    RINGFENCE_RUN_DIR="$DIRECTORY/$node" exec "$BINARY" "$@" ;;
  *) echo "unknown: $*" >&2; exit 2 ;;
esac
"#;

struct Cluster {
    directory: tempfile::TempDir,
    agents: Vec<Agent>,
}

impl Cluster {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let kubectl = path.join("kubectl");
        fs::write(&kubectl, KUBECTL).unwrap();
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(
            env!("CARGO_BIN_EXE_ringfence"),
            path.join("kubectl-ringfence"),
        )
        .unwrap();
        let mut agents = Vec::new();
        for node in ["w1", "w2"] {
            let run_dir = path.join(node);
            fs::create_dir(&run_dir).unwrap();
            agents.push(Agent::start(&run_dir, "off").await);
        }
        Self { directory, agents }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    async fn plugin(&self, words: &[&str]) -> Output {
        let old = std::env::var("PATH").unwrap();
        Command::new(self.path().join("kubectl-ringfence"))
            .args(words)
            .env("PATH", format!("{}:{old}", self.path().display()))
            .env("DIRECTORY", self.path())
            .env("BINARY", env!("CARGO_BIN_EXE_ringfence"))
            .current_dir(self.path())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap()
    }

    async fn stop(self) {
        for agent in self.agents {
            agent.stop().await;
        }
    }
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_is_a_row_and_one_that_is_silent_is_an_error() {
    let cluster = Cluster::start().await;
    let output = cluster.plugin(&["status"]).await;
    let text = out(&output);
    let nodes: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .take(4)
        .collect();
    assert_eq!(nodes, ["NODE", "w1", "w2", "w3"], "{text}");
    assert!(text.contains("container not running"), "{text}");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("node w3 does not answer"),
        "{}",
        err(&output)
    );

    let output = cluster
        .plugin(&[
            "status",
            "-o",
            "json",
            "--on-node",
            "w2",
            "--context",
            "good",
        ])
        .await;
    assert!(output.status.success(), "{}", err(&output));
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["items"][0]["node"], "w2");
    assert_eq!(list["items"][0]["answer"]["ready"], false);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);

    for (words, says) in [
        (
            &["status", "--on-node", "w9"][..],
            "there are agents on w1, w2, w3",
        ),
        (&["status", "--context", "bad"], "does not exist"),
    ] {
        let output = cluster.plugin(words).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(err(&output).contains(says), "{}", err(&output));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_findings_and_flows_say_their_node() {
    let cluster = Cluster::start().await;
    let output = cluster
        .plugin(&["endpoints", "--on-node", "w1", "--on-node", "w2"])
        .await;
    assert!(output.status.success(), "{}", err(&output));
    let text = out(&output);
    assert!(text.starts_with("NODE  ID"), "{text}");

    let output = cluster
        .plugin(&["check", "--on-node", "w1", "-o", "json"])
        .await;
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["items"][0]["node"], "w1");
    let findings = list["items"][0]["answer"]["items"].as_array().unwrap();
    assert!(findings.iter().any(|it| it["check"] == "kernel"), "{list}");

    for agent in &cluster.agents {
        agent.kernel.inner().events.push(denial("10.1.0.9", 22));
    }
    // The agents look for events now and then.
    let text = loop {
        let output = cluster
            .plugin(&["observe", "--on-node", "w1", "--on-node", "w2"])
            .await;
        assert!(output.status.success(), "{}", err(&output));
        let text = out(&output);
        if text.lines().count() == 2 {
            break text;
        }
    };
    let mut nodes: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    nodes.sort_unstable();
    assert_eq!(nodes, ["w1", "w2"], "{text}");
    assert!(text.contains("DENIED"), "{text}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_archive_has_all_nodes_and_no_secret() {
    let cluster = Cluster::start().await;
    let output = cluster.plugin(&["sysdump", "-o", "all.tar.gz"]).await;
    assert!(output.status.success(), "{}", err(&output));
    let path = cluster.path().join("all.tar.gz");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let mut names = Vec::new();
    let mut all = String::new();
    let bytes = fs::read(&path).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        names.push(name.split_once('/').unwrap().1.to_owned());
        entry.read_to_string(&mut all).unwrap();
    }
    for name in [
        "cluster/ringfence.json",
        "cluster/networkpolicies.json",
        "nodes/w1/agent/status.json",
        "nodes/w2/check.json",
        "nodes/w3/agent.log",
        "missing.txt",
    ] {
        assert!(names.iter().any(|it| it == name), "{name}: {names:?}");
    }
    assert!(
        !names
            .iter()
            .any(|name| name == "nodes/w3/agent/status.json")
    );
    assert!(all.contains("nodes/w3/from-inside: error: Internal error: container not running"));
    assert!(!all.contains("hidden"));
    cluster.stop().await;
}
