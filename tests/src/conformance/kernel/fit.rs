//! The lab that a case needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ringfence_agent::{
    lab::{Actor, LabPod, LabSpec, OutsideHost, OutsidePort, wire::Transport},
    model::{PodKey, Protocol},
};

use crate::{
    conformance::{
        case::{Case, End, Party},
        world::{self, Node, World},
    },
    lab::binary,
};

/// The pod whose address says which step is in force.
pub const MARKER: &str = "conformance/marker";

/// What a lab must have for a case. Cases of equal needs share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    node: BTreeSet<IpAddr>,
    pods: BTreeMap<PodKey, (Vec<IpAddr>, BTreeSet<u16>)>,
    outside: BTreeMap<IpAddr, BTreeSet<(Transport, u16)>>,
}

impl Fit {
    /// What a case needs, or why no lab can be that.
    pub fn of(case: &Case) -> Result<Self, String> {
        let mut fit = Self {
            node: own_node(case),
            pods: BTreeMap::new(),
            outside: BTreeMap::new(),
        };
        for step in &case.steps {
            for (key, pod) in &step.world.pods {
                if pod.host_network || pod.phase != "Running" {
                    continue;
                }
                let ports = pod.ports.iter().map(|port| port.port);
                let (addresses, served) = fit
                    .pods
                    .entry(key.clone())
                    .or_insert_with(|| (pod.addresses.clone(), BTreeSet::new()));
                if *addresses != pod.addresses {
                    return Err(format!("{key} changes its addresses"));
                }
                served.extend(ports);
            }
            for question in &step.questions {
                let port = question
                    .port
                    .and_then(|(protocol, port)| Some((transport(protocol)?, port)));
                fit.serve(&question.from, None);
                fit.serve(&question.to, port);
            }
        }
        let mut owners: BTreeMap<IpAddr, &PodKey> = BTreeMap::new();
        for (key, (addresses, _)) in &fit.pods {
            for address in addresses {
                if let Some(other) = owners.insert(*address, key) {
                    return Err(format!("{address} is now {other}'s and now {key}'s"));
                }
            }
        }
        Ok(fit)
    }

    fn serve(&mut self, end: &End, port: Option<(Transport, u16)>) {
        if let Party::Pod(key) = &end.party
            && let Some((_, served)) = self.pods.get_mut(key)
        {
            served.extend(port.map(|(_, port)| port));
        } else if !self.node.contains(&end.address) {
            self.outside.entry(end.address).or_default().extend(port);
        }
    }

    /// The lab.
    pub fn lab(&self) -> LabSpec {
        let mut pods: Vec<LabPod> = self
            .pods
            .iter()
            .map(|(key, (addresses, ports))| LabPod {
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                netns: world::netns(key),
                cgroup: None,
                addresses: addresses.clone(),
                ports: ports.iter().copied().collect(),
            })
            .collect();
        pods.push(LabPod {
            namespace: "conformance".to_owned(),
            name: "marker".to_owned(),
            netns: "conformance.marker".to_owned(),
            cgroup: None,
            addresses: vec!["2001:db8:c0de::".parse().expect("an address")],
            ports: Vec::new(),
        });
        LabSpec {
            name: LabSpec::unique_name("cf"),
            binary: binary().to_owned(),
            node: self.node.iter().copied().collect(),
            node_ports: Vec::new(),
            pods,
            outside: self
                .outside
                .iter()
                .map(|(address, serves)| OutsideHost {
                    name: address.to_string(),
                    addresses: vec![*address],
                    serves: serves
                        .iter()
                        .map(|&(protocol, port)| OutsidePort { protocol, port })
                        .collect(),
                    only_answers: false,
                })
                .collect(),
        }
    }

    /// Who an end is in the lab.
    pub fn actor(&self, end: &End) -> Actor {
        match &end.party {
            Party::Pod(key) if self.pods.contains_key(key) => Actor::pod(&key.namespace, &key.name),
            _ if self.node.contains(&end.address) => Actor::Node,
            _ => Actor::outside(&end.address.to_string()),
        }
    }

    /// Pods that are to be endpoints of a world.
    pub fn endpoints(world: &World) -> BTreeSet<String> {
        world
            .pods
            .iter()
            .filter(|(_, pod)| !pod.host_network && pod.phase == "Running")
            .map(|(key, _)| key.to_string())
            .collect()
    }
}

/// A protocol that the lab's sockets speak.
pub fn transport(protocol: Protocol) -> Option<Transport> {
    match protocol {
        Protocol::Tcp => Some(Transport::Tcp),
        Protocol::Udp => Some(Transport::Udp),
        Protocol::Sctp => None,
    }
}

/// Addresses of the lab's one node: the case's first, if it has any. The others are hosts outside, and their pods are
/// pods of the one node all the same.
fn own_node(case: &Case) -> BTreeSet<IpAddr> {
    let first = case.steps.first().and_then(|step| step.world.nodes.first());
    match first {
        Some(Node { ips, .. }) => ips.iter().copied().collect(),
        // Documentation's own: no case's pods are there.
        None => ["198.51.100.254", "2001:db8:ffff::fe"]
            .map(|address| address.parse().expect("an address"))
            .into(),
    }
}
