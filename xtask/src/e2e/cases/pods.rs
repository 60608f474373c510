//! What pods need beside each other: the kubelet's probes, and no metadata server.

use anyhow::{Result, ensure};

use super::{End, look};
use crate::e2e::{
    cluster::{Cluster, items},
    eventually, example,
    probe::{self, Outcome},
};

/// Every pod has probes, and every namespace a policy that by itself allows nothing; one allows nothing at all.
pub(super) fn probes(cluster: &Cluster) -> Result<End> {
    let (pods, _) = look(cluster)?;
    // New ones, so that none was ready before policy was in force.
    for pod in &pods {
        cluster.kubectl.run(&[
            "-n",
            &pod.namespace,
            "delete",
            "pod",
            &pod.name,
            "--wait=false",
        ])?;
    }
    let count = pods.len();
    eventually("the new pods are ready", || {
        let (now, _) = look(cluster)?;
        ensure!(now.len() == count, "{} of {count} run", now.len());
        ensure!(
            now.iter().all(|pod| !pods.contains(pod)),
            "old pods still run"
        );
        for pod in &now {
            cluster.kubectl.run(&[
                "-n",
                &pod.namespace,
                "wait",
                "--for=condition=Ready",
                "pod",
                &pod.name,
                "--timeout=30s",
            ])?;
        }
        Ok(())
    })?;
    // A liveness probe that fails ends the container.
    for namespace in example::namespaces(&example::documents()?) {
        let list = cluster.kubectl.json(&["-n", &namespace, "get", "pods"])?;
        for pod in items(&list) {
            let container = &pod["status"]["containerStatuses"][0];
            ensure!(
                container["restartCount"] == 0,
                "{namespace}/{} was started again",
                pod["metadata"]["name"]
            );
        }
    }
    Ok(End::Passed)
}

/// Who has no grant is refused at once, by its own socket.
pub(super) fn metadata(cluster: &Cluster) -> Result<End> {
    let list = cluster.ringfence(&["status"])?;
    let sockets = items(&list).iter().all(|row| {
        row["answer"]["socketHooks"]
            .as_str()
            .is_some_and(|it| it.starts_with('/'))
    });
    if !sockets {
        return Ok(End::Skipped("the nodes have no hooks on sockets"));
    }
    let (pods, _) = look(cluster)?;
    let target = "169.254.169.254:80".to_owned();
    eventually("who has no grant is refused", || {
        for pod in pods.iter().filter(|pod| pod.namespace != "ci") {
            let outcomes = probe::connect(cluster, pod, std::slice::from_ref(&target))?;
            let outcome = outcomes.get(&target);
            ensure!(
                outcome == Some(&Outcome::Refused),
                "{}: {outcome:?}",
                pod.id()
            );
        }
        Ok(())
    })?;
    Ok(End::Passed)
}
