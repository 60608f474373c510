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

/// Knows one DaemonSet with three pods, under names that the chart would not choose, and a pod that only wears the labels. Runs
/// what is to be run in the first two as if their nodes were here; the third cannot be reached, or with a file `hangs` never
/// answers. With a file `none` there is no DaemonSet, with a file `second` there is one of somebody else's too.
const KUBECTL: &str = r#"#!/bin/sh
echo "$*" >> "$DIRECTORY/asked"
if [ "$1" = --context ]; then
  [ "$2" = good ] || { echo "error: context \"$2\" does not exist" >&2; exit 1; }
  shift 2
fi
labels='"app.kubernetes.io/name":"fence","app.kubernetes.io/instance":"rf"'
daemon() {
  printf '{"metadata":{"namespace":"%s","name":"rf","uid":"%s"},"spec":{"selector":{"matchLabels":{%s}}}}' "$1" "$2" "$labels"
}
pod() {
  printf '{"metadata":{"namespace":"guard","name":"rf-%s","labels":{%s},"ownerReferences":[{"kind":"DaemonSet","uid":"%s","controller":true}]},"spec":{"nodeName":"%s","containers":[{"name":"agent","image":"i","env":[{"value":"hidden"}]},{"name":"mesh","image":"i","args":["--x","hidden"]}]}}' "$1" "$labels" "$3" "$2"
}
case "$*" in
  "get daemonsets "*" -l app.kubernetes.io/part-of=ringfence -o json")
    if [ -e "$DIRECTORY/none" ]; then echo '{"items":[]}'
    elif [ -e "$DIRECTORY/second" ] && [ "$3" = --all-namespaces ]; then printf '{"items":[%s,%s]}' "$(daemon guard u1)" "$(daemon tenant u2)"
    else printf '{"items":[%s]}' "$(daemon guard u1)"; fi ;;
  "get daemonset -n guard rf -o json") daemon guard u1 ;;
  "get pods -n guard -o json -l app.kubernetes.io/instance=rf,app.kubernetes.io/name=fence"|"get daemonsets,pods "*)
    printf '{"items":[%s,%s,%s,%s]}' "$(pod w2 w2 u1)" "$(pod evil w1 u9)" "$(pod w1 w1 u1)" "$(pod w3 w3 u1)" ;;
  get\ events\ *) echo '{"items": [{"reason": "MetadataAccessDenied"}]}' ;;
  get\ *-o\ json) echo '{"items": []}' ;;
  get\ *) echo 'NAME READY' ;;
  logs\ *--previous) echo 'Error from server: previous terminated container not found' >&2; exit 1 ;;
  logs\ *) echo 'level=info token=hidden' ;;
  "exec -n guard rf-w3 "*)
    [ ! -e "$DIRECTORY/hangs" ] || exec sleep 1000
    echo 'error: Internal error: container not running' >&2; exit 1 ;;
  "exec -n guard rf-evil "*) touch "$DIRECTORY/fooled" ;;
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

    /// What the kubectl here goes by.
    fn so(&self, file: &str) {
        fs::write(self.path().join(file), "").unwrap();
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

    let bytes = fs::read(&path).unwrap();
    let (names, all) = unpack(&path);
    for name in [
        "cluster/ringfence.json",
        "cluster/networkpolicies.json",
        "cluster/events-by-ringfence.json",
        "cluster/events-of-ringfence.json",
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
    assert!(!cluster.path().join("fooled").exists());

    let output = cluster.plugin(&["sysdump", "-o", "all.tar.gz"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("exists"), "{}", err(&output));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    cluster.stop().await;
}

/// The files of an archive by their name below its directory, and all that is in them.
fn unpack(path: &Path) -> (Vec<String>, String) {
    let mut names = Vec::new();
    let mut all = String::new();
    let bytes = fs::read(path).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        names.push(name.split_once('/').unwrap().1.to_owned());
        entry.read_to_string(&mut all).unwrap();
    }
    (names, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_agents_an_archive_still_has_the_objects() {
    let cluster = Cluster::start().await;
    cluster.so("none");
    let output = cluster.plugin(&["sysdump", "-o", "all.tar.gz"]).await;
    assert!(output.status.success(), "{}", err(&output));
    let (names, all) = unpack(&cluster.path().join("all.tar.gz"));
    for name in [
        "cluster/networkpolicies.json",
        "cluster/events-by-ringfence.json",
    ] {
        assert!(names.iter().any(|it| it == name), "{name}: {names:?}");
    }
    assert!(
        all.contains("nodes: error: no DaemonSet of Ringfence's"),
        "{all}"
    );

    let output = cluster.plugin(&["status"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("--daemon-set"), "{}", err(&output));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_agents_are_meant_is_beyond_doubt() {
    let cluster = Cluster::start().await;
    cluster.so("second");
    for verb in ["status", "sysdump"] {
        let output = cluster.plugin(&[verb]).await;
        assert_eq!(output.status.code(), Some(2));
        for says in ["guard/rf", "tenant/rf", "--daemon-set NAMESPACE/NAME"] {
            assert!(err(&output).contains(says), "{}", err(&output));
        }
    }
    for words in [["--daemon-set", "guard/rf"], ["--namespace", "guard"]] {
        let words = [&["status", "--on-node", "w1"][..], &words].concat();
        let output = cluster.plugin(&words).await;
        assert!(output.status.success(), "{}", err(&output));
    }
    let output = cluster.plugin(&["status", "--daemon-set", "guard"]).await;
    assert_eq!(output.status.code(), Some(2));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_never_answers_is_not_waited_for_long() {
    let cluster = Cluster::start().await;
    cluster.so("hangs");
    for verb in [
        &["status"][..],
        &["sysdump", "-o", "all.tar.gz"],
        &["observe"],
    ] {
        let words = [verb, &["--timeout", "1", "--on-node", "w3"]].concat();
        let output = cluster.plugin(&words).await;
        let text = out(&output) + &err(&output);
        assert!(text.contains("no answer within 1 s"), "{text}");
    }
    cluster.stop().await;
}
