//! Takes enforcement off every node of a cluster: the agents' DaemonSet becomes one whose pods detach and stay.
//!
//! A pod is ready when its node has detached, and not before: nodes are counted by that.
//!
//! **Invariant.** Nothing happens to a DaemonSet that helm has not installed: charts are also rendered and applied as they are,
//! hooks and all, and then nobody is about to delete anything.

use std::{process::ExitCode, time::Duration};

use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::{
    daemon_set::{CONTAINER, DaemonSetName, PROGRAM},
    failure::{Failure, Outcome},
};
use crate::{args::DetachArgs, watch::Connection};

/// Where helm says what it has installed.
const RELEASE: &str = "meta.helm.sh/release-name";
/// How often the DaemonSet is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Does it, and waits until every node's pod has.
pub(super) fn run(args: DetachArgs, daemon_set: &str) -> Outcome {
    let DaemonSetName { namespace, name } = daemon_set.parse()?;
    let limit = Duration::from_secs(args.timeout);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let told = |error: anyhow::Error| Failure::new(format!("{error:#}"));
        let connection = Connection::find(args.kubeconfig.clone(), args.context.clone());
        let client = connection
            .await
            .and_then(Connection::client)
            .map_err(told)?;
        let api = Api::<DaemonSet>::namespaced(client, &namespace);
        retire(&api, &name, args.release.as_deref(), limit)
            .await
            .map_err(|failure| failure.at(format!("DaemonSet/{daemon_set}")))
    })
}

async fn retire(
    api: &Api<DaemonSet>,
    name: &str,
    release: Option<&str>,
    limit: Duration,
) -> Outcome {
    let deadline = Instant::now() + limit;
    let refused = |error: kube::Error| {
        Failure::new(format!("the API server does not do it: {error}")).help(
            "the verbs get and patch on this DaemonSet are needed; `helm uninstall --no-hooks` deletes without detaching",
        )
    };
    let found = api.get(name).await.map_err(refused)?;
    if let Some(release) = release {
        check_release(&found, release)?;
    }
    if let Some(patch) = patch(&found)? {
        let patch = Patch::Strategic(patch);
        api.patch(name, &PatchParams::default(), &patch)
            .await
            .map_err(refused)?;
        eprintln!("every agent makes room for one that detaches");
    }
    let mut told = None;
    loop {
        // The server may be away for a moment.
        let progress = match api.get(name).await {
            Ok(found) => progress(&found),
            Err(error) if Instant::now() >= deadline => return Err(refused(error)),
            Err(_) => None,
        };
        if let Some((done, all)) = progress {
            if told != progress {
                eprintln!("{done} of {all} nodes have detached");
                told = progress;
            }
            if done >= all {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if Instant::now() >= deadline {
            let (done, all) = progress.unwrap_or((0, 0));
            return Err(Failure::new(format!(
                "{done} of {all} nodes have detached within {} s",
                limit.as_secs()
            ))
            .help(
                "`kubectl get pods -o wide` shows which pods are not ready; repeat it, or delete without waiting for them with \
                 `helm uninstall --no-hooks` and run `ringfence detach` on these nodes",
            ));
        }
        sleep(INTERVAL).await;
    }
}

fn check_release(found: &DaemonSet, release: &str) -> Result<(), Failure> {
    let annotations = found.metadata.annotations.as_ref();
    let owner = annotations.and_then(|annotations| annotations.get(RELEASE));
    if owner.is_some_and(|owner| owner == release) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "helm has not installed this as {release}: nothing is detached"
    ))
    .help(
        "this runs before `helm uninstall`; where charts are rendered and applied without helm, render with --no-hooks, and detach \
         with `ringfence detach --daemon-set NAMESPACE/NAME`",
    ))
}

/// What makes its pods detach; `None` if they do already.
fn patch(found: &DaemonSet) -> Result<Option<Value>, Failure> {
    let pod = found
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let container = pod.and_then(|pod| pod.containers.iter().find(|it| it.name == CONTAINER));
    let args = container.and_then(|container| container.args.as_deref());
    let (Some(verb), args) = (args.and_then(|args| args.first()), args.unwrap_or_default()) else {
        return Err(Failure::new(format!(
            "it has no container {CONTAINER} with arguments: it is none of Ringfence's"
        )));
    };
    if verb == "detach" {
        return Ok(None);
    }
    if verb != "agent" {
        return Err(Failure::new(format!(
            "its container {CONTAINER} runs `{verb}`, not `agent`: it is none of Ringfence's"
        )));
    }
    // Where the pins, the lock and the last known state are stays as it is.
    let places = args.iter().filter(|arg| {
        ["--bpffs=", "--run-dir=", "--state-dir="]
            .iter()
            .any(|flag| arg.starts_with(flag))
    });
    let run_dir = args.iter().find(|arg| arg.starts_with("--run-dir="));
    let asked: Vec<&str> = [PROGRAM, "detach", "--done"]
        .into_iter()
        .chain(run_dir.map(String::as_str))
        .collect();
    let words: Vec<&str> = ["detach", "--stay"]
        .into_iter()
        .chain(places.map(String::as_str))
        .collect();
    Ok(Some(json!({ "spec": {
        "minReadySeconds": 0,
        // Nothing is protected by going slowly.
        "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "100%", "maxSurge": 0 } },
        "template": { "spec": { "containers": [{
            "name": CONTAINER,
            "args": words,
            "ports": null,
            "startupProbe": null,
            "livenessProbe": null,
            "readinessProbe": {
                "httpGet": null,
                "exec": { "command": asked },
                "periodSeconds": 2,
                "timeoutSeconds": 5,
            },
        }] } },
    } })))
}

/// How many nodes have detached, of how many; `None` while the controller has not seen the change.
fn progress(found: &DaemonSet) -> Option<(i32, i32)> {
    let status = found.status.as_ref()?;
    if status.observed_generation? < found.metadata.generation? {
        return None;
    }
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let available = status.number_available.unwrap_or(0);
    Some((updated.min(available), status.desired_number_scheduled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon_set(change: Value) -> DaemonSet {
        let mut object = json!({
            "metadata": { "name": "ringfence", "generation": 3, "annotations": { RELEASE: "rf" } },
            "spec": {
                "selector": {},
                "template": { "spec": { "containers": [{
                    "name": CONTAINER,
                    "args": ["agent", "--http=:1", "--bpffs=/sys/fs/bpf/x", "--run-dir=/run/x",
                        "--state-dir=/var/lib/x"],
                }] } },
            },
        });
        for (path, value) in change.as_object().unwrap() {
            *object.pointer_mut(path).unwrap() = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn an_agent_becomes_one_that_detaches_where_its_pins_are() {
        let wanted = patch(&daemon_set(json!({}))).unwrap().unwrap();
        let container = &wanted["spec"]["template"]["spec"]["containers"][0];
        let expect = json!([
            "detach",
            "--stay",
            "--bpffs=/sys/fs/bpf/x",
            "--run-dir=/run/x",
            "--state-dir=/var/lib/x"
        ]);
        assert_eq!(container["args"], expect);
        assert!(container["livenessProbe"].is_null());
        let probe = &container["readinessProbe"];
        let expect = json!([PROGRAM, "detach", "--done", "--run-dir=/run/x"]);
        assert_eq!(probe["exec"]["command"], expect);
        assert!(probe.get("httpGet").is_some_and(Value::is_null));

        let args = "/spec/template/spec/containers/0/args";
        let detaching = daemon_set(json!({ args: ["detach", "--stay"] }));
        assert!(patch(&detaching).unwrap().is_none());
        for (path, value) in [
            (args, json!(["serve"])),
            (args, json!([])),
            ("/spec/template/spec/containers/0/name", json!("other")),
        ] {
            let error = patch(&daemon_set(json!({ path: value }))).unwrap_err();
            assert!(error.to_string().contains("none of Ringfence's"), "{error}");
        }
    }

    #[test]
    fn what_helm_has_not_installed_is_left_alone() {
        let found = daemon_set(json!({}));
        check_release(&found, "rf").unwrap();
        for (found, release) in [
            (&found, "other"),
            (&daemon_set(json!({ "/metadata/annotations": {} })), "rf"),
        ] {
            let error = check_release(found, release).unwrap_err().to_string();
            assert!(error.contains("--no-hooks"), "{error}");
        }
    }

    #[test]
    fn only_what_the_controller_says_of_this_change_counts() {
        let mut found = daemon_set(json!({}));
        assert_eq!(progress(&found), None);
        let mut said = |observed: i64, updated: i32, available: i32| {
            let status = json!({
                "observedGeneration": observed, "updatedNumberScheduled": updated, "numberAvailable": available,
                "desiredNumberScheduled": 3, "currentNumberScheduled": 3, "numberMisscheduled": 0, "numberReady": 3,
            });
            found.status = Some(serde_json::from_value(status).unwrap());
            progress(&found)
        };
        assert_eq!(said(2, 3, 3), None);
        assert_eq!(said(3, 1, 3), Some((1, 3)));
        assert_eq!(said(3, 3, 2), Some((2, 3)));
        assert_eq!(said(3, 3, 3), Some((3, 3)));
    }
}
