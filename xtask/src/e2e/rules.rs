//! The ten rules of the hybrid-cloud example as objects of a real cluster, and the world around it.
//!
//! Its namespaces are prefixed, for a cluster may have some of these names. Its rules bind every pod of the cluster while they
//! are there; a cluster that has one of the same name is refused. Hosts outside are
//! one process's ([`super::outsider`]), and a control-plane node is itself, by a pod with its network.

use std::{fs, net::IpAddr};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, items, names},
    eventually,
    example::LABEL,
};
use crate::paths;

const FOLDER: &str = "deploy/examples/hybrid-cloud/zones";
/// Before the example's namespaces.
pub const PREFIX: &str = "rules-";
/// The node of the control plane, among the hosts of the lab.
pub const MASTER: &str = "master-1";
/// Its label.
const MASTERS: &str = "node-role.kubernetes.io/control-plane";
/// A label by which namespaces are known whatever their owners say.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// The kinds of the rules, as kubectl takes them.
pub const KINDS: [&str; 5] = [
    "securityzones",
    "zonepolicies",
    "tenantisolations",
    "metadatafirewalls",
    "metadataaccesses",
];

/// A host outside, as the lab has it.
#[derive(Debug, Deserialize)]
pub struct Host {
    /// Name.
    pub name: String,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// What it serves.
    #[serde(default)]
    serves: Vec<Served>,
}

#[derive(Debug, Deserialize)]
struct Served {
    protocol: String,
    port: u16,
}

impl Host {
    /// Ports of TCP that it serves.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        let tcp = self.serves.iter().filter(|it| it.protocol == "tcp");
        tcp.map(|it| it.port)
    }
}

/// The lab's hosts outside.
pub fn hosts() -> Result<Vec<Host>> {
    #[derive(Deserialize)]
    struct Lab {
        outside: Vec<Host>,
    }
    let file = paths::root().join(FOLDER).join("lab.yaml");
    let text = fs::read_to_string(&file)?;
    let lab: Lab =
        serde_saphyr::from_str(&text).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(lab.outside)
}

/// The example's own objects.
pub fn documents() -> Result<Vec<Value>> {
    let folder = paths::root().join(FOLDER).join("manifests");
    let mut files: Vec<_> = fs::read_dir(&folder)
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

/// Makes the pods, waits until all are ready, then makes the rules and waits until they are in force everywhere.
pub fn apply(cluster: &Cluster) -> Result<()> {
    let kubectl = &cluster.kubectl;
    let documents = documents()?;
    let of = |kinds: &[&str]| -> Vec<&Value> {
        let is = |it: &&Value| kinds.contains(&it["kind"].as_str().unwrap_or_default());
        documents.iter().filter(is).collect()
    };
    refuse_others(cluster, &documents)?;
    let master = master(cluster)?;
    let mut objects: Vec<Value> = of(&["Namespace"]).into_iter().map(moved).collect();
    objects.extend(of(&["Pod"]).into_iter().filter_map(account));
    objects.extend(of(&["Pod"]).into_iter().map(|it| pod(it, &cluster.agnhost)));
    if let Some(node) = &master {
        objects.extend(stand_in(node, &cluster.agnhost));
    }
    kubectl.apply(&objects)?;
    for namespace in made(cluster)? {
        let words = [
            "-n",
            &namespace,
            "wait",
            "--for=condition=Ready",
            "pod",
            "--all",
        ];
        eventually("the pods of the ten rules are ready", || {
            kubectl.run(&[&words[..], &["--timeout=60s"]].concat())
        })?;
    }
    let rules = documents.iter().filter(|it| {
        !["Node", "Namespace", "Pod"].contains(&it["kind"].as_str().unwrap_or_default())
    });
    kubectl.apply(&rules.map(moved).collect::<Vec<_>>())?;
    for kind in KINDS {
        let words = [
            "wait",
            "--for=condition=Programmed",
            kind,
            "--all",
            "--timeout=60s",
        ];
        kubectl.run(&words)?;
    }
    Ok(())
}

/// Fails if somebody has rules of the same names: they are not ours to change.
fn refuse_others(cluster: &Cluster, documents: &[Value]) -> Result<()> {
    for kind in KINDS {
        let found = cluster.kubectl.json(&["get", kind])?;
        for object in items(&found) {
            let name = &object["metadata"]["name"];
            let has = |it: &Value| it["kind"] == singular(kind) && it["metadata"]["name"] == *name;
            if object["metadata"]["labels"][LABEL].is_null() && documents.iter().any(has) {
                bail!(
                    "there is a {} {name} that this test did not make: use another cluster",
                    singular(kind)
                );
            }
        }
    }
    Ok(())
}

/// Takes away what [`apply`] made.
pub fn remove(cluster: &Cluster) -> Result<()> {
    for kind in KINDS {
        cluster.kubectl.run(&["delete", kind, "-l", LABEL])?;
    }
    for namespace in made(cluster)? {
        cluster
            .kubectl
            .run(&["delete", "namespace", &namespace, "--timeout=120s"])?;
    }
    let nodes = cluster.kubectl.json(&["get", "nodes", "-l", LABEL])?;
    for node in names(&nodes) {
        let away = [MASTERS, LABEL].map(|label| format!("{label}-"));
        cluster
            .kubectl
            .run(&["label", "node", &node, &away[0], &away[1]])?;
    }
    Ok(())
}

/// The node of the control plane; where none is labelled so, the first of several is for the time being.
fn master(cluster: &Cluster) -> Result<Option<String>> {
    let labelled = cluster.kubectl.json(&["get", "nodes", "-l", MASTERS])?;
    if let Some(node) = names(&labelled).into_iter().next() {
        return Ok(Some(node));
    }
    let nodes = cluster.nodes()?;
    let Some(node) = nodes.first().filter(|_| nodes.len() > 1) else {
        return Ok(None);
    };
    let labels = [format!("{MASTERS}="), format!("{LABEL}=true")];
    cluster
        .kubectl
        .run(&["label", "node", node, &labels[0], &labels[1]])?;
    Ok(Some(node.clone()))
}

/// Namespaces that were made here.
pub fn made(cluster: &Cluster) -> Result<Vec<String>> {
    let all = cluster.kubectl.json(&["get", "namespaces", "-l", LABEL])?;
    Ok(names(&all)
        .into_iter()
        .filter(|it| it.starts_with(PREFIX))
        .collect())
}

/// Names of kinds, of which kubectl takes the plural.
fn singular(plural: &str) -> &'static str {
    match plural {
        "securityzones" => "SecurityZone",
        "zonepolicies" => "ZonePolicy",
        "tenantisolations" => "TenantIsolation",
        "metadatafirewalls" => "MetadataFirewall",
        _ => "MetadataAccess",
    }
}

/// The same object with the namespaces' names of the cluster.
fn moved(object: &Value) -> Value {
    let mut object = object.clone();
    let prefix = |name: &mut Value| {
        if let Some(text) = name.as_str() {
            *name = json!(format!("{PREFIX}{text}"));
        }
    };
    if object["kind"] == "Namespace" {
        prefix(&mut object["metadata"]["name"]);
    }
    if object["kind"] != "Pod" {
        object["metadata"]["labels"][LABEL] = json!("true");
    }
    if !object["metadata"]["namespace"].is_null() {
        prefix(&mut object["metadata"]["namespace"]);
    }
    rename_selectors(&mut object["spec"], &prefix);
    object
}

/// Namespaces that selectors know by their names.
fn rename_selectors(value: &mut Value, prefix: &dyn Fn(&mut Value)) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if key == NAME_LABEL {
                    prefix(value);
                } else {
                    rename_selectors(value, prefix);
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                rename_selectors(value, prefix);
            }
        }
        _ => {}
    }
}

/// The account of a pod that names one.
fn account(pod: &Value) -> Option<Value> {
    let name = pod["spec"]["serviceAccountName"].as_str()?;
    let metadata = &moved(pod)["metadata"];
    Some(json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": metadata["namespace"]},
    }))
}

/// The pod, on a node that is not the control plane's, listening on every TCP port that it has.
fn pod(object: &Value, image: &str) -> Value {
    let moved = moved(object);
    let container = &moved["spec"]["containers"][0];
    let ports: Vec<Value> = container["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|port| port["protocol"] != "UDP")
        .cloned()
        .collect();
    let mut metadata = moved["metadata"].clone();
    if let Some(annotations) = metadata["annotations"].as_object_mut() {
        // In a cluster the API server says where a pod is.
        annotations.retain(|name, _| !name.starts_with("ringfence.dev/netns"));
    }
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [porter(image, "main", &ports)],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": MASTERS, "operator": "DoesNotExist"}]},
            ]}}},
        },
    });
    if let Some(name) = moved["spec"]["serviceAccountName"].as_str() {
        object["spec"]["serviceAccountName"] = json!(name);
    }
    object
}

/// A container that listens on these ports, and is ready while its node reaches the first of them.
fn porter(image: &str, name: &str, ports: &[Value]) -> Value {
    let environment: Vec<Value> = ports
        .iter()
        .map(|port| json!({"name": format!("SERVE_PORT_{}", port["containerPort"]), "value": name}))
        .collect();
    json!({
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["porter"],
        "env": environment,
        "ports": ports,
        "readinessProbe": {"tcpSocket": {"port": ports[0]["containerPort"]}, "periodSeconds": 1},
    })
}

/// The control-plane node, by a pod with its network. Where something listens on one of its ports already, that is as good.
fn stand_in(node: &str, image: &str) -> [Value; 2] {
    let namespace = format!("{PREFIX}nodes");
    let listen = |port: u64| {
        let mut container = porter(
            image,
            &format!("port-{port}"),
            &[json!({"containerPort": port})],
        );
        container["command"] = json!(["sh", "-c", "/agnhost porter; sleep infinity"]);
        container.as_object_mut().map(|it| it.remove("args"));
        container
    };
    [
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {LABEL: "true"}},
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": MASTER, "namespace": namespace},
            "spec": {
                "hostNetwork": true,
                "nodeName": node,
                "terminationGracePeriodSeconds": 1,
                "tolerations": [{"operator": "Exists"}],
                "containers": [listen(443), listen(6443)],
            },
        }),
    ]
}

/// The addresses of the node that the stand-in is on; empty where there is none.
pub fn master_addresses(cluster: &Cluster) -> Result<Vec<IpAddr>> {
    let namespace = format!("{PREFIX}nodes");
    let list = cluster.kubectl.json(&["-n", &namespace, "get", "pods"])?;
    let Some(pod) = items(&list).first() else {
        return Ok(Vec::new());
    };
    let texts = pod["status"]["podIPs"].as_array().into_iter().flatten();
    Ok(texts
        .filter_map(|it| it["ip"].as_str()?.parse().ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_become_objects_of_a_cluster() {
        let documents = documents().expect("the example is there");
        let find = |kind: &str, name: &str| {
            let is = |it: &&Value| it["kind"] == kind && it["metadata"]["name"] == name;
            documents.iter().find(is).expect("it is in the example")
        };
        let jenkins = pod(find("Pod", "jenkins-0"), "image:1");
        assert_eq!(jenkins["metadata"]["namespace"], "rules-ci");
        assert_eq!(jenkins["spec"]["serviceAccountName"], "jenkins");
        assert_eq!(jenkins["metadata"]["annotations"], json!({}));
        let tenants = moved(find("TenantIsolation", "default"));
        let except = &tenants["spec"]["except"][0]["from"][0];
        assert_eq!(
            except["namespaceSelector"]["matchLabels"],
            json!({NAME_LABEL: "rules-acme"})
        );
        let zone = moved(find("SecurityZone", "db"));
        let theirs = find("SecurityZone", "db");
        assert_eq!(zone["spec"], theirs["spec"], "labels stay");
        assert_eq!(zone["metadata"]["labels"][LABEL], "true");
        assert!(hosts().expect("the lab").iter().any(|it| it.name == MASTER));
    }
}
