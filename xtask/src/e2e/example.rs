//! The hybrid-cloud example as Deployments and Services of a real cluster.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use super::{
    cluster::{Cluster, items, names},
    eventually,
};
use crate::paths;

const MANIFESTS: &str = "deploy/examples/hybrid-cloud/manifests";
const EXTRA: &str = include_str!("extra.yaml");
/// The namespace that nothing restricts.
pub const OPEN: &str = "open";
/// The namespace whose pods neither reach anything nor are reached.
pub const SEALED: &str = "sealed";
/// The cluster has its own of these.
const NOT_OURS: &str = "kube-system";
/// Says which namespaces and pods were made here.
pub const LABEL: &str = "ringfence.dev/e2e";

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
    ready(cluster)
}

/// Waits until all pods of the newest kind are ready, and no others are there.
pub fn ready(cluster: &Cluster) -> Result<()> {
    for namespace in namespaces(&documents()?) {
        ready_in(cluster, &namespace)?;
    }
    Ok(())
}

/// The same of one namespace.
pub fn ready_in(cluster: &Cluster, namespace: &str) -> Result<()> {
    let kubectl = &cluster.kubectl;
    eventually("the example's pods are ready", || {
        let list = kubectl.json(&["-n", namespace, "get", "deployments"])?;
        for name in names(&list) {
            let name = format!("deployment/{name}");
            kubectl.run(&["-n", namespace, "rollout", "status", &name, "--timeout=60s"])?;
        }
        let pods = kubectl.json(&["-n", namespace, "get", "pods", "-l", LABEL])?;
        if items(&pods).len() != items(&list).len() {
            bail!("{namespace}: old pods still are there");
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

/// The objects of all files of a folder, in the order of their names.
pub fn read(folder: &Path) -> Result<Vec<Value>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(&file)?)
            .with_context(|| format!("cannot read {}", file.display()))?;
        all.extend(documents);
    }
    Ok(all)
}

/// The example's objects, without those that a cluster has itself.
pub fn documents() -> Result<Vec<Value>> {
    let mut all = read(&paths::root().join(MANIFESTS))?;
    all.extend(serde_saphyr::from_multiple::<Value>(EXTRA).context("the extra objects")?);
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
        .flat_map(|document| match document["kind"].as_str() {
            Some("Namespace") => {
                let mut namespace = document.clone();
                namespace["metadata"]["labels"][LABEL] = json!("true");
                vec![namespace]
            }
            Some("Pod") => vec![deployment(document, image)],
            Some("Service") => services(document),
            _ => vec![document.clone()],
        })
        .collect()
}

/// The Service with a port on every node, and one more without an address of its own.
fn services(document: &Value) -> Vec<Value> {
    let mut service = document.clone();
    if let Some(spec) = service["spec"].as_object_mut() {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    let mut headless = service.clone();
    service["spec"]["type"] = json!("NodePort");
    headless["spec"]["clusterIP"] = json!("None");
    let name = headless["metadata"]["name"].as_str().unwrap_or_default();
    headless["metadata"]["name"] = json!(format!("{name}-pods"));
    vec![service, headless]
}

/// A Deployment of one pod with the example's labels, that listens on every TCP port of the example's.
fn deployment(pod: &Value, image: &str) -> Value {
    let name = &pod["metadata"]["name"];
    let labels = &pod["metadata"]["labels"];
    let mut all_labels = labels.clone();
    all_labels[LABEL] = json!("true");
    let ports: Vec<&Value> = pod["spec"]["containers"][0]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|port| port["protocol"] != "UDP")
        .collect();
    let port = ports.first().map(|port| &port["containerPort"]);
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
                "metadata": {"labels": all_labels, "annotations": annotations},
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
                        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
                        "livenessProbe": {"httpGet": {"port": port}, "timeoutSeconds": 5},
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
            let (name, spec) = (&service["metadata"]["name"], &service["spec"]);
            let headless = name.as_str().is_some_and(|it| it.ends_with("-pods"));
            let address = if headless { json!("None") } else { Value::Null };
            assert!(
                spec["clusterIP"] == address && spec["clusterIPs"].is_null(),
                "{name}"
            );
        }
        assert!(
            objects
                .iter()
                .all(|it| it["metadata"]["namespace"] != NOT_OURS)
        );
    }
}
