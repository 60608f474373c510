//! What manifests say that no verdict depends on, and that somebody who looks through them wants to know.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{self, Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::check;
use crate::{
    api::ZonePeer,
    model::{Diagnostic, PodKey},
    watch::{Object, Read},
};

/// What manifests say beside what counts.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// Where objects and their fields are, by `Kind/namespace/name`.
    reads: BTreeMap<String, Read>,
    /// Ports at which the kubelet asks pods how they are.
    pub probes: BTreeMap<PodKey, Vec<Field<u16>>>,
    /// Services (namespace, name) whose clients from outside come with a node's address.
    pub masquerading: Vec<(String, String)>,
    /// Zones that zone policies name, by policy.
    pub zone_names: BTreeMap<String, Vec<Field<String>>>,
    /// What kube2iam and kiam let the pods of a namespace have, by namespace.
    pub iam_roles: BTreeMap<String, IamRoles>,
}

/// Which roles kube2iam and kiam let a namespace's pods have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IamRoles {
    /// `iam.amazonaws.com/permitted`: a regular expression.
    pub permitted: Option<String>,
    /// `iam.amazonaws.com/allowed-roles`: a JSON array of names, ARNs and globs.
    pub allowed: Option<String>,
}

/// What a field says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<T> {
    /// Its path.
    pub path: String,
    /// What it says.
    pub says: T,
}

impl Details {
    /// Takes note of an object.
    pub(super) fn note(&mut self, read: &Read) {
        match &read.object {
            Object::Pod(pod) => {
                let key = PodKey {
                    namespace: read.key.namespace.clone(),
                    name: read.key.name.clone(),
                };
                let probes = pod.spec.as_ref().map(probes).unwrap_or_default();
                if !probes.is_empty() {
                    self.probes.insert(key, probes);
                }
            }
            Object::Namespace(namespace) => {
                let of = |key| check::annotation(&namespace.metadata, key).map(str::to_owned);
                let roles = IamRoles {
                    permitted: of("iam.amazonaws.com/permitted"),
                    allowed: of("iam.amazonaws.com/allowed-roles"),
                };
                self.iam_roles.insert(read.key.name.clone(), roles);
            }
            Object::Service(service) => {
                let spec = service.spec.as_ref();
                let from_outside = spec.and_then(|it| it.type_.as_deref());
                let policy = spec.and_then(|it| it.external_traffic_policy.as_deref());
                if matches!(from_outside, Some("NodePort" | "LoadBalancer"))
                    && policy != Some("Local")
                {
                    let key = (read.key.namespace.clone(), read.key.name.clone());
                    self.masquerading.push(key);
                }
            }
            Object::ZonePolicy(policy) => {
                let mut names = Vec::new();
                for (index, rule) in policy.spec.rules.iter().enumerate() {
                    let field = format!("spec.rules[{index}]");
                    let sides = [("from", Some(&rule.from)), ("to", Some(&rule.to))];
                    add_names(&mut names, &field, sides);
                    for (index, except) in rule.except.iter().flatten().enumerate() {
                        let field = format!("{field}.except[{index}]");
                        let sides = [("from", except.from.as_ref()), ("to", except.to.as_ref())];
                        add_names(&mut names, &field, sides);
                    }
                }
                self.zone_names.insert(read.key.name.clone(), names);
            }
            _ => {}
        }
        self.reads.insert(read.key.to_string(), read.clone());
    }

    /// The place of an object's field.
    #[must_use]
    pub fn place(&self, object: &str, field: &str) -> Diagnostic {
        let read = self.reads.get(object);
        Diagnostic {
            origin: read.map(|read| read.place(field)).unwrap_or_default(),
            object: object.to_owned(),
            field: field.to_owned(),
            message: String::new(),
        }
    }
}

fn add_names(
    names: &mut Vec<Field<String>>,
    field: &str,
    sides: [(&str, Option<&Vec<ZonePeer>>); 2],
) {
    for (side, peers) in sides {
        for (index, peer) in peers.into_iter().flatten().enumerate() {
            for (number, name) in peer.zone_names.iter().flatten().enumerate() {
                names.push(Field {
                    path: format!("{field}.{side}[{index}].zoneNames[{number}]"),
                    says: name.clone(),
                });
            }
        }
    }
}

/// The ports of a pod's probes, by address and port: what asks within the pod crosses no network.
fn probes(spec: &v1::PodSpec) -> Vec<Field<u16>> {
    let containers = spec.containers.iter().enumerate();
    let containers = containers.map(|(index, it)| (format!("spec.containers[{index}]"), it));
    let initial = spec.init_containers.iter().flatten().enumerate();
    let sidecars = initial
        .filter(|(_, it)| it.restart_policy.as_deref() == Some("Always"))
        .map(|(index, it)| (format!("spec.initContainers[{index}]"), it));
    let mut found = Vec::new();
    for (field, container) in containers.chain(sidecars) {
        for (name, probe) in [
            ("startupProbe", &container.startup_probe),
            ("livenessProbe", &container.liveness_probe),
            ("readinessProbe", &container.readiness_probe),
        ] {
            let Some((asks, port)) = probe.as_ref().and_then(|probe| port(probe, container)) else {
                continue;
            };
            found.push(Field {
                path: format!("{field}.{name}.{asks}.port"),
                says: port,
            });
        }
    }
    found
}

/// How a probe asks, and at which TCP port.
fn port(probe: &Probe, container: &Container) -> Option<(&'static str, u16)> {
    let resolved = |port: &IntOrString| match port {
        IntOrString::Int(number) => check::port_number(*number).ok(),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let port = ports.find(|it| it.name.as_deref() == Some(name))?;
            check::port_number(port.container_port).ok()
        }
    };
    if let Some(http) = &probe.http_get {
        return Some(("httpGet", resolved(&http.port)?));
    }
    if let Some(tcp) = &probe.tcp_socket {
        return Some(("tcpSocket", resolved(&tcp.port)?));
    }
    let grpc = probe.grpc.as_ref()?;
    Some(("grpc", check::port_number(grpc.port).ok()?))
}
