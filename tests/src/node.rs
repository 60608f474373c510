//! A node as the API server sees one: a lab whose pods are created, bound and reported by what plays kubelet and CNI.
//!
//! The lab has the pods' namespaces, devices and listeners from its beginning; which of them are pods of the cluster is
//! said by the API server alone.

use std::{net::IpAddr, path::Path, time::Duration};

use ringfence_agent::lab::{Actor, Lab, LabPod, LabSpec, Probe, names, wire::Transport};
use serde_json::{Value, json};

use crate::{agent::Agent, apiserver::ApiServer, lab::binary};

/// The Kubernetes namespace of all pods.
pub const NAMESPACE: &str = "t";
/// For what need not be answered: each such probe takes this long.
const SHORT: Duration = Duration::from_millis(400);

/// A node and its lab.
pub struct Node {
    /// Its name in the cluster.
    pub name: String,
    /// Its number there, from 1.
    pub number: u8,
    /// Where its pods are.
    pub lab: Lab,
    pods: Vec<String>,
}

impl Node {
    /// A node with room for these pods, each serving these ports; none of them exists in the cluster yet.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[must_use]
    pub fn up(api: &ApiServer, number: u8, pods: &[&str], ports: &[u16]) -> Self {
        let name = format!("node{number}");
        let lab_pods = pods.iter().zip(1..).map(|(pod, index)| LabPod {
            namespace: NAMESPACE.to_owned(),
            name: (*pod).to_owned(),
            netns: (*pod).to_owned(),
            cgroup: None,
            addresses: addresses(number, index).to_vec(),
            ports: ports.to_vec(),
        });
        let spec = LabSpec {
            name: LabSpec::unique_name(&name),
            binary: binary().to_owned(),
            node: vec![
                [10, 0, number, 1].into(),
                [0xfd00, u16::from(number), 0, 0, 0, 0, 0, 1].into(),
            ],
            node_ports: Vec::new(),
            pods: lab_pods.collect(),
            outside: Vec::new(),
        };
        let lab = Lab::up(&spec).expect("a lab");
        let netns = names::node_netns(lab.name());
        let own = api.connect(number, &netns);
        let internal: Vec<Value> = own
            .iter()
            .map(|address| json!({ "type": "InternalIP", "address": address }))
            .collect();
        api.apply(&json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } }));
        api.merge(
            &format!("/api/v1/nodes/{name}/status"),
            &json!({ "status": { "addresses": internal } }),
        );
        Self {
            name,
            number,
            lab,
            pods: pods.iter().map(|&pod| pod.to_owned()).collect(),
        }
    }

    /// Routes the pods of another node there, and its here.
    ///
    /// # Panics
    ///
    /// If the kernel refuses it.
    pub fn meet(&self, other: &Self) {
        for (here, there) in [(self, other), (other, self)] {
            let number = there.number;
            let networks = [
                format!("10.244.{number}.0/24"),
                format!("fd00:10:244:{number}::/64"),
            ];
            ApiServer::route(&names::node_netns(here.lab.name()), &networks, number);
        }
    }

    /// Creates a pod of this node with these labels, as running.
    ///
    /// # Panics
    ///
    /// If the API server refuses it.
    pub fn run(&self, api: &ApiServer, pod: &str, labels: &Value) {
        api.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod, "namespace": NAMESPACE, "labels": labels,
                "annotations": { "ringfence.dev/netns": pod },
            },
            "spec": {
                "nodeName": self.name,
                "containers": [{ "name": "main", "image": "none", "ports": [{ "name": "http", "containerPort": 80 }] }],
            },
        }));
        let addresses = self.addresses(pod);
        api.merge(
            &(path(pod) + "/status"),
            &json!({ "status": {
                "phase": "Running",
                "podIP": addresses[0],
                "podIPs": addresses.map(|address| json!({ "ip": address })),
            } }),
        );
    }

    /// Addresses of a pod.
    ///
    /// # Panics
    ///
    /// If there is no such pod.
    #[must_use]
    pub fn addresses(&self, pod: &str) -> [IpAddr; 2] {
        let index = self.pods.iter().position(|name| name == pod);
        let index = index.unwrap_or_else(|| panic!("no pod {pod} on {}", self.name));
        addresses(self.number, u8::try_from(index + 1).expect("few pods"))
    }

    /// An agent of this node, with this right to the API, not started yet. It believes what pods say of their places.
    #[must_use]
    pub fn agent(&self, kubeconfig: &Path, more: &[&str]) -> Agent {
        self.wary_agent(kubeconfig, &[&["--trust-place-annotations"], more].concat())
    }

    /// The same as on a real node: it finds pods by itself, and does not believe what they say.
    #[must_use]
    pub fn wary_agent(&self, kubeconfig: &Path, more: &[&str]) -> Agent {
        let kubeconfig = kubeconfig.display().to_string();
        let cluster = ["--kubeconfig", &kubeconfig, "--node", &self.name];
        Agent::of_cluster(&self.lab, &cluster, more)
    }

    /// True if a pod of this node gets through to one by both families and transports; false if by none.
    ///
    /// # Panics
    ///
    /// If some get through and some do not.
    #[must_use]
    pub fn reaches(&self, from: &str, to: [IpAddr; 2], port: u16) -> bool {
        let answered = self.answered(from, to, port);
        assert!(
            answered == 0 || answered == 4,
            "{from} -> {to:?}:{port}: {answered} of 4"
        );
        answered == 4
    }

    /// By how many of both families and transports a pod of this node gets through.
    ///
    /// # Panics
    ///
    /// If the lab does not obey.
    #[must_use]
    pub fn answered(&self, from: &str, to: [IpAddr; 2], port: u16) -> usize {
        let probes: Vec<Probe> = to
            .into_iter()
            .flat_map(|to| {
                Transport::ALL.map(|protocol| Probe {
                    from: Actor::pod(NAMESPACE, from),
                    to,
                    port,
                    protocol,
                    timeout: SHORT,
                })
            })
            .collect();
        let outcomes = self.lab.probe_all(&probes).expect("the lab obeys");
        let answered = outcomes.iter().filter(|outcome| outcome.is_answered());
        answered.count()
    }
}

/// Where a pod lies.
#[must_use]
pub fn path(pod: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}")
}

/// Addresses of pod number N of node number M.
#[must_use]
pub fn addresses(node: u8, pod: u8) -> [IpAddr; 2] {
    [
        [10, 244, node, pod].into(),
        [
            0xfd00,
            0x10,
            0x244,
            u16::from(node),
            0,
            0,
            0,
            u16::from(pod),
        ]
        .into(),
    ]
}
