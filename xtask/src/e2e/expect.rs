//! What policy says of the cluster's own objects: asked offline of the binary under test.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::Write as _,
    net::IpAddr,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, items},
    probe::Transport,
};
use crate::paths;

/// A pod of the example.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Its addresses, the first one first.
    pub addresses: Vec<String>,
    /// Its node.
    pub node: String,
    /// Ports of TCP.
    pub ports: Vec<u64>,
    /// Ports of UDP.
    pub datagrams: Vec<u64>,
}

impl Pod {
    /// `namespace/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Ports of both transports.
    pub fn all_ports(&self) -> impl Iterator<Item = (Transport, u64)> {
        let streams = self.ports.iter().map(|&port| (Transport::Tcp, port));
        let datagrams = self.datagrams.iter().map(|&port| (Transport::Udp, port));
        streams.chain(datagrams)
    }
}

/// Whether each pod may reach each other one on each port.
pub type Matrix = BTreeMap<Way, bool>;

/// From one pod to a port of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// `namespace/name` of who calls.
    pub from: String,
    /// `namespace/name` of who is called.
    pub to: String,
    /// By what.
    pub transport: Transport,
    /// Port, of the pod.
    pub port: u64,
    /// `IPv4` or `IPv6`.
    pub family: &'static str,
}

impl Way {
    /// The way by TCP between these two.
    pub fn new(from: &Pod, to: &Pod, port: u64, family: &'static str) -> Self {
        Self {
            from: from.id(),
            to: to.id(),
            transport: Transport::Tcp,
            port,
            family,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from,
            to,
            transport,
            port,
            family,
        } = self;
        write!(f, "{from} -> {to}:{port}/{transport} over {family}")
    }
}

/// The family of an address, as the binary calls it.
pub fn family(address: &str) -> &'static str {
    if address.contains(':') {
        "IPv6"
    } else {
        "IPv4"
    }
}

/// The objects that decide, as manifests: only the fields that matter, so that it does not matter how new the cluster is.
pub fn objects(cluster: &Cluster) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for kind in ["nodes", "namespaces", "pods", "services", "networkpolicies"] {
        let list = cluster.kubectl.json(&["get", kind, "--all-namespaces"])?;
        all.extend(items(&list).iter().map(trim));
    }
    Ok(all)
}

fn trim(object: &Value) -> Value {
    let kind = object["kind"].as_str().unwrap_or_default();
    let metadata = pick(&object["metadata"], &["name", "namespace", "labels"]);
    let mut trimmed = json!({
        "apiVersion": object["apiVersion"],
        "kind": kind,
        "metadata": metadata,
    });
    match kind {
        "Pod" => {
            let containers: Vec<Value> = object["spec"]["containers"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|container| pick(container, &["name", "image", "ports"]))
                .collect();
            let mut spec = pick(
                &object["spec"],
                &["nodeName", "hostNetwork", "serviceAccountName"],
            );
            spec["containers"] = json!(containers);
            trimmed["spec"] = spec;
            trimmed["status"] = pick(&object["status"], &["phase", "podIP", "podIPs"]);
        }
        "Node" => trimmed["status"] = pick(&object["status"], &["addresses"]),
        "Service" => {
            trimmed["spec"] = pick(
                &object["spec"],
                &["clusterIP", "clusterIPs", "ports", "selector", "type"],
            );
        }
        "NetworkPolicy" => trimmed["spec"] = object["spec"].clone(),
        _ => {}
    }
    trimmed
}

fn pick(object: &Value, fields: &[&str]) -> Value {
    fields
        .iter()
        .filter(|field| !object[**field].is_null())
        .map(|field| ((*field).to_owned(), object[*field].clone()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The example's pods that run.
pub fn pods(objects: &[Value], namespaces: &[String]) -> Vec<Pod> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut pods: Vec<Pod> = objects
        .iter()
        .filter(|it| it["kind"] == "Pod" && it["status"]["phase"] == "Running")
        .map(|pod| Pod {
            namespace: text(&pod["metadata"]["namespace"]),
            name: text(&pod["metadata"]["name"]),
            addresses: pod["status"]["podIPs"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|it| text(&it["ip"]))
                .collect(),
            node: text(&pod["spec"]["nodeName"]),
            ports: ports(pod, Transport::Tcp),
            datagrams: ports(pod, Transport::Udp),
        })
        .filter(|pod| namespaces.contains(&pod.namespace))
        .collect();
    pods.sort();
    pods
}

/// The ports of a pod's containers.
fn ports(pod: &Value, transport: Transport) -> Vec<u64> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers.flat_map(|it| it["ports"].as_array().into_iter().flatten());
    let of = |port: &&Value| {
        let named = port["protocol"].as_str().unwrap_or("TCP");
        named.eq_ignore_ascii_case(&transport.to_string())
    };
    ports
        .filter(of)
        .filter_map(|port| port["containerPort"].as_u64())
        .collect()
}

/// Zones, rules, tenants and grants of the cluster, as manifests.
pub fn rules(cluster: &Cluster) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for kind in super::rules::KINDS {
        let list = cluster.kubectl.json(&["get", kind])?;
        all.extend(items(&list).iter().map(|object| {
            let metadata = pick(&object["metadata"], &["name", "annotations"]);
            let mut rule = pick(object, &["apiVersion", "kind", "spec"]);
            rule["metadata"] = metadata;
            if let Some(annotations) = rule["metadata"]["annotations"].as_object_mut() {
                annotations.retain(|name, _| name.starts_with("ringfence.dev/"));
            }
            rule
        }));
    }
    Ok(all)
}

/// What policy says of every way between pods.
pub fn matrix(objects: &[Value]) -> Result<Matrix> {
    matrix_of(&["matrix", "-f", "-", "-o", "json"], objects)
}

/// What policy says of every way on these ports, with these hosts outside.
pub fn matrix_with(
    objects: &[Value],
    outside: &[(String, IpAddr)],
    ports: &BTreeSet<(Transport, u64)>,
) -> Result<Matrix> {
    let mut words: Vec<String> = ["matrix", "-f", "-", "-o", "json"]
        .map(str::to_owned)
        .into();
    for (name, address) in outside {
        words.extend(["--outside".to_owned(), format!("{name}={address}")]);
    }
    for (transport, port) in ports {
        words.extend(["--port".to_owned(), format!("{port}/{transport}")]);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    matrix_of(&words, objects)
}

fn matrix_of(words: &[&str], objects: &[Value]) -> Result<Matrix> {
    let answer = ringfence(words, objects)?;
    let mut expected = Matrix::new();
    for row in items(&answer) {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let port = text("port");
        let (number, transport) = match port.split_once('/') {
            Some((number, "tcp")) => (number, Transport::Tcp),
            Some((number, "udp")) => (number, Transport::Udp),
            _ => continue,
        };
        let way = Way {
            from: text("from"),
            to: text("to"),
            transport,
            port: number.parse()?,
            family: if row["family"] == "IPv6" {
                "IPv6"
            } else {
                "IPv4"
            },
        };
        expected.insert(way, row["verdict"] == "allow");
    }
    if expected.is_empty() {
        bail!("`ringfence matrix` knows no way at all");
    }
    Ok(expected)
}

fn ringfence(words: &[&str], objects: &[Value]) -> Result<Value> {
    let mut child = Command::new(paths::ringfence(false))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run the binary under test")?;
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(list.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!(
            "ringfence {}: {}: {}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
