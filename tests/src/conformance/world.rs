//! A cluster as a case describes it, and the manifests that say the same.

use std::{collections::BTreeMap, net::IpAddr};

use ringfence_agent::model::{PodKey, Protocol};
use serde::Deserialize;
use serde_json::{Value, json};

/// Labels.
pub type Labels = BTreeMap<String, String>;

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// Namespaces and their labels.
    pub namespaces: BTreeMap<String, Labels>,
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Pods.
    pub pods: BTreeMap<PodKey, Pod>,
    /// Policies by namespace and name, as the suite has them.
    pub policies: BTreeMap<(String, String), Value>,
    /// Cluster network policies by name, as the suite has them.
    pub cluster_policies: BTreeMap<String, Value>,
    /// What is loaded above them.
    pub above: Vec<Value>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Name.
    pub name: String,
    /// Labels.
    #[serde(default)]
    pub labels: Labels,
    /// Addresses.
    pub ips: Vec<IpAddr>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Labels.
    pub labels: Labels,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Ports.
    pub ports: Vec<Port>,
    /// Name of its node.
    pub node: Option<String>,
    /// Lives in its node's network.
    pub host_network: bool,
    /// `Running`, `Succeeded` and so on.
    pub phase: String,
    /// Has been told to end.
    pub terminating: bool,
}

/// A container's port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name of the container.
    #[serde(default, rename = "name")]
    pub container: Option<String>,
    /// Number.
    pub port: u16,
    /// Protocol.
    #[serde(default = "tcp")]
    pub protocol: String,
    /// Name.
    #[serde(default, rename = "portName")]
    pub name: Option<String>,
}

fn tcp() -> String {
    "TCP".to_owned()
}

/// A protocol by its name in the API; `None` if it is none.
#[must_use]
pub fn protocol(name: &str) -> Option<Protocol> {
    Some(match name {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => return None,
    })
}

/// Network namespace of a pod, without the lab's prefix. Kubernetes' namespaces have no dot, so no two are alike.
#[must_use]
pub fn netns(key: &PodKey) -> String {
    format!("{}.{}", key.namespace, key.name)
}

impl World {
    /// The manifests: one document for each object.
    #[must_use]
    pub fn manifests(&self) -> String {
        let namespaces = self.namespaces.iter().map(|(name, labels)| {
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        });
        let nodes = self.nodes.iter().map(|node| {
            let addresses: Vec<Value> = node
                .ips
                .iter()
                .map(|ip| json!({"type": "InternalIP", "address": ip}))
                .collect();
            json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": node.name, "labels": node.labels},
                "status": {"addresses": addresses},
            })
        });
        let pods = self.pods.iter().map(|(key, pod)| pod.manifest(key));
        let mut text = String::new();
        for document in namespaces
            .chain(nodes)
            .chain(pods)
            .chain(self.policies.values().cloned())
            .chain(self.cluster_policies.values().cloned())
            .chain(self.above.iter().cloned())
        {
            text += "---\n";
            text += &document.to_string();
            text.push('\n');
        }
        text
    }
}

impl Pod {
    fn manifest(&self, key: &PodKey) -> Value {
        let containers: Vec<Value> = self
            .ports
            .iter()
            .enumerate()
            .map(|(number, port)| {
                let mut declared = json!({"containerPort": port.port, "protocol": port.protocol});
                if let Some(name) = &port.name {
                    declared["name"] = json!(name);
                }
                let name = port
                    .container
                    .clone()
                    .unwrap_or_else(|| format!("c{number}"));
                json!({"name": name, "ports": [declared]})
            })
            .collect();
        let addresses: Vec<Value> = self.addresses.iter().map(|ip| json!({"ip": ip})).collect();
        let mut manifest = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": key.namespace, "name": key.name, "labels": self.labels},
            "spec": {"containers": containers},
            "status": {"phase": self.phase, "podIPs": addresses},
        });
        if self.host_network {
            manifest["spec"]["hostNetwork"] = json!(true);
        } else {
            manifest["metadata"]["annotations"] = json!({"ringfence.dev/netns": netns(key)});
        }
        if let Some(node) = &self.node {
            manifest["spec"]["nodeName"] = json!(node);
        }
        if self.terminating {
            manifest["metadata"]["deletionTimestamp"] = json!("2024-01-01T00:00:00Z");
        }
        manifest
    }

    /// Numbers that a port's name stands for.
    #[must_use]
    pub fn named_port(&self, protocol: &str, name: &str) -> Option<u16> {
        self.ports
            .iter()
            .find(|port| port.protocol == protocol && port.name.as_deref() == Some(name))
            .map(|port| port.port)
    }
}
