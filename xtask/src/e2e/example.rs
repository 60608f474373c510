//! The hybrid-cloud example as Deployments and Services of a real cluster.

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use super::{
    cluster::{Cluster, items, names},
    eventually,
};
use crate::paths;

const MANIFESTS: &str = "deploy/examples/hybrid-cloud/manifests";
/// The cluster has its own of these.
const NOT_OURS: &str = "kube-system";
/// Says which namespaces were made here.
const LABEL: &str = "ringfence.dev/e2e";

/// Makes namespaces and pods, then services and policies, and waits until all run.
pub fn apply(cluster: &Cluster) -> Result<()> {
    let documents = documents()?;
    for namespace in namespaces(&documents) {
        let found = cluster.kubectl.json(&[
            "get",
            "namespaces",
            "--field-selector",
            &format!("metadata.name={namespace}"),
        ])?;
        if let Some(found) = items(&found).first()
            && found["metadata"]["labels"][LABEL].is_null()
        {
            bail!(
                "there is a namespace {namespace} that this test did not make: use another cluster"
            );
        }
    }
    let objects = convert(&documents, &cluster.agnhost);
    cluster.kubectl.apply(&objects)?;
    eventually("the example's pods run", || {
        for namespace in namespaces(&documents) {
            cluster.kubectl.run(&[
                "-n",
                &namespace,
                "wait",
                "--for=condition=Available",
                "deployment",
                "--all",
                "--timeout=60s",
            ])?;
        }
        Ok(())
    })
}

/// Takes away what [`apply`] made.
pub fn remove(cluster: &Cluster) -> Result<()> {
    let made = cluster.kubectl.json(&["get", "namespaces", "-l", LABEL])?;
    for namespace in names(&made) {
        cluster
            .kubectl
            .run(&["delete", "namespace", &namespace, "--timeout=120s"])?;
    }
    Ok(())
}

/// Names of the example's namespaces.
pub fn namespaces(documents: &[Value]) -> Vec<String> {
    documents
        .iter()
        .filter(|it| it["kind"] == "Namespace")
        .filter_map(|it| it["metadata"]["name"].as_str().map(str::to_owned))
        .collect()
}

/// The example's objects, without those that a cluster has itself.
pub fn documents() -> Result<Vec<Value>> {
    let folder = paths::root().join(MANIFESTS);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .with_context(|| format!("cannot read {}", file.display()))?;
        all.extend(documents);
    }
    all.retain(|it| {
        let metadata = &it["metadata"];
        it["kind"] != "Node" && metadata["namespace"] != NOT_OURS && metadata["name"] != NOT_OURS
    });
    Ok(all)
}

/// The same as objects of a real cluster: Deployments of pods, Services with addresses that the cluster gives.
fn convert(documents: &[Value], image: &str) -> Vec<Value> {
    documents
        .iter()
        .map(|document| match document["kind"].as_str() {
            Some("Namespace") => {
                let mut namespace = document.clone();
                namespace["metadata"]["labels"][LABEL] = json!("true");
                namespace
            }
            Some("Pod") => deployment(document, image),
            Some("Service") => {
                let mut service = document.clone();
                if let Some(spec) = service["spec"].as_object_mut() {
                    spec.remove("clusterIP");
                    spec.remove("clusterIPs");
                    spec.insert("type".to_owned(), json!("NodePort"));
                }
                service
            }
            _ => document.clone(),
        })
        .collect()
}

/// A Deployment of one pod with the example's labels, that listens on every TCP port of the example's.
fn deployment(pod: &Value, image: &str) -> Value {
    let name = &pod["metadata"]["name"];
    let labels = &pod["metadata"]["labels"];
    let ports: Vec<&Value> = pod["spec"]["containers"][0]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|port| port["protocol"] != "UDP")
        .collect();
    let environment: Vec<Value> = ports
        .iter()
        .map(|port| json!({"name": format!("SERVE_PORT_{}", port["containerPort"]), "value": name}))
        .collect();
    // Those that name a network namespace of the lab mean nothing here.
    let annotations: Map<String, Value> = pod["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !name.starts_with("ringfence.dev/netns"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": pod["metadata"]["namespace"]},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "main",
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["porter"],
                        "env": environment,
                        "ports": ports,
                        // From the kubelet, whatever policy says: the node reaches its own pods.
                        "readinessProbe": {
                            "tcpSocket": {"port": ports.first().map(|port| &port["containerPort"])},
                            "periodSeconds": 1,
                        },
                    }],
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_becomes_objects_of_a_cluster() {
        let documents = documents().expect("the example is there");
        let objects = convert(&documents, "image:1");
        assert!(
            !objects
                .iter()
                .any(|it| it["kind"] == "Pod" || it["kind"] == "Node")
        );
        let jenkins = objects
            .iter()
            .find(|it| it["metadata"]["name"] == "jenkins-0")
            .expect("it is one of the pods");
        let template = &jenkins["spec"]["template"];
        assert_eq!(
            template["metadata"]["annotations"],
            json!({"metadata.ringfence.dev/access": "imds"})
        );
        let container = &template["spec"]["containers"][0];
        assert_eq!(container["env"][0]["name"], "SERVE_PORT_8080");
        assert_eq!(container["readinessProbe"]["tcpSocket"]["port"], 8080);
        for service in objects.iter().filter(|it| it["kind"] == "Service") {
            assert!(
                service["spec"]["clusterIP"].is_null() && service["spec"]["clusterIPs"].is_null()
            );
        }
        assert!(
            objects
                .iter()
                .all(|it| it["metadata"]["namespace"] != NOT_OURS)
        );
    }
}
