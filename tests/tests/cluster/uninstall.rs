//! What has every node detach before the chart is deleted, with the rights that the chart gives it.

use std::{
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use ringfence_tests::{
    apiserver::{ApiServer, available},
    chart,
    lab::{binary, patiently},
};
use serde_json::{Value, json};

use super::namespace;

const PATH: &str = "/apis/apps/v1/namespaces/ringfence-system/daemonsets/ringfence";

/// As the chart's hook has it: another test compares that with the chart.
fn rules() -> Value {
    json!([{
        "apiGroups": ["apps"], "resources": ["daemonsets"], "resourceNames": ["ringfence"], "verbs": ["get", "patch"],
    }])
}

/// The chart's DaemonSet in an API server, as helm would have installed it, and who may change it.
fn installed(release: Option<&str>) -> (ApiServer, std::path::PathBuf) {
    let api = ApiServer::start();
    namespace(&api, "ringfence-system", json!({}));
    let mut daemon_set = chart::object("DaemonSet");
    if let Some(release) = release {
        daemon_set["metadata"]["annotations"] = json!({ "meta.helm.sh/release-name": release });
    }
    api.apply(&daemon_set);
    let kubeconfig = api.account("uninstall", &rules());
    (api, kubeconfig)
}

fn detach(api: &ApiServer, kubeconfig: &Path, more: &[&str]) -> Child {
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/run/netns/{}", api.netns()))
        .arg(binary())
        .args(["detach", "--daemon-set", "ringfence-system/ringfence"])
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(more)
        .stderr(Stdio::piped());
    command.spawn().expect("the binary is there")
}

/// How it ended, and what it said.
fn ended(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    let mut errors = child.stderr.take().expect("piped");
    errors.read_to_string(&mut said).expect("text");
    (child.wait().expect("a child").code(), said)
}

fn look(api: &ApiServer) -> Value {
    api.request("GET", PATH, "", None).expect("it is there")
}

/// Says what the controller says of two nodes.
fn observe(api: &ApiServer, generation: &Value, done: u32) {
    let status = json!({
        "observedGeneration": generation, "desiredNumberScheduled": 2, "currentNumberScheduled": 2,
        "numberMisscheduled": 0, "numberReady": done, "numberAvailable": done, "updatedNumberScheduled": done,
    });
    api.merge(&format!("{PATH}/status"), &json!({ "status": status }));
}

#[test]
fn every_nodes_agent_makes_room_and_it_ends_when_all_have_detached() {
    if !available("cluster::every_nodes_agent_makes_room_and_it_ends_when_all_have_detached") {
        return;
    }
    let (api, kubeconfig) = installed(Some("rf"));
    let before = look(&api);
    let generation = before["metadata"]["generation"].clone();
    // All is well with what is there: that is not what is waited for.
    observe(&api, &generation, 2);
    let mut child = detach(&api, &kubeconfig, &["--release", "rf", "--timeout", "120"]);
    let now = patiently("the DaemonSet detaches", || {
        let now = look(&api);
        (now["metadata"]["generation"] != generation).then_some(now)
    });
    let container = &now["spec"]["template"]["spec"]["containers"][0];
    let expect = json!([
        "detach",
        "--stay",
        "--bpffs=/sys/fs/bpf/ringfence",
        "--run-dir=/run/ringfence",
        "--state-dir=/var/lib/ringfence"
    ]);
    assert_eq!(container["args"], expect);
    for gone in ["ports", "startupProbe", "livenessProbe"] {
        assert!(container[gone].is_null(), "{gone}: {container}");
    }
    // A pod is ready when its node has detached.
    let probe = &container["readinessProbe"];
    let expect = json!([
        "/usr/bin/ringfence",
        "detach",
        "--done",
        "--run-dir=/run/ringfence"
    ]);
    assert_eq!(probe["exec"]["command"], expect, "{probe}");
    assert!(probe["httpGet"].is_null(), "{probe}");
    // Everything else is as it was.
    for kept in ["image", "securityContext", "volumeMounts", "env"] {
        let before = &before["spec"]["template"]["spec"]["containers"][0][kept];
        assert_eq!(&container[kept], before, "{kept}");
    }
    assert_eq!(
        now["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
        "100%"
    );

    observe(&api, &now["metadata"]["generation"], 1);
    assert!(child.try_wait().unwrap().is_none(), "one node is not all");
    observe(&api, &now["metadata"]["generation"], 2);
    let (code, said) = ended(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 of 2 nodes have detached"), "{said}");

    // Once more changes nothing, and is done at once.
    let (code, said) = ended(detach(&api, &kubeconfig, &["--release", "rf"]));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        look(&api)["metadata"]["generation"],
        now["metadata"]["generation"]
    );
}

#[test]
fn what_helm_has_not_installed_or_nodes_do_not_do_is_told() {
    if !available("cluster::what_helm_has_not_installed_or_nodes_do_not_do_is_told") {
        return;
    }
    let (api, kubeconfig) = installed(None);
    let generation = look(&api)["metadata"]["generation"].clone();
    let (code, said) = ended(detach(&api, &kubeconfig, &["--release", "rf"]));
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("nothing is detached") && said.contains("--no-hooks"),
        "{said}"
    );
    assert_eq!(
        look(&api)["metadata"]["generation"],
        generation,
        "it is as it was"
    );

    let (code, said) = ended(detach(&api, &kubeconfig, &["--timeout", "1"]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("nodes have detached within 1 s"), "{said}");

    api.allow("uninstall", &json!([]));
    let (code, said) = ended(detach(&api, &kubeconfig, &[]));
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the verbs get and patch"), "{said}");
}
