//! Pods.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1;

use super::check::{self, Findings, annotation};
use crate::model::{
    CGROUP_ANNOTATION as CGROUP, ContainerPort, INTERFACE_ANNOTATION as INTERFACE, Labels,
    NETNS_ANNOTATION as NETNS, Owner, Phase, Place, Pod, PodKey,
};

/// What may count as a request for metadata access.
pub(crate) const METADATA_REQUESTS: [&str; 2] =
    ["metadata.ringfence.dev/access", "iam.amazonaws.com/role"];

pub(super) fn convert(object: &v1::Pod, findings: &mut Findings<'_>) -> Pod {
    let default = (v1::PodSpec::default(), v1::PodStatus::default());
    let spec = object.spec.as_ref().unwrap_or(&default.0);
    let status = object.status.as_ref().unwrap_or(&default.1);
    let metadata = &object.metadata;
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let controller = metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    let mut metadata_requests = Labels::new();
    for key in METADATA_REQUESTS {
        if let Some(value) = annotation(metadata, key).filter(|value| !value.is_empty()) {
            metadata_requests.insert(key.to_owned(), value.to_owned());
        }
    }
    let key = &findings.read.key;
    Pod {
        key: PodKey {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        },
        uid: uid(object, findings),
        labels: check::labels(metadata),
        phase: phase(status, findings),
        addresses: addresses(status, findings),
        ports: ports(spec, findings).into(),
        terminating: metadata.deletion_timestamp.is_some(),
        host_network: spec.host_network == Some(true),
        node: filled(&spec.node_name).map(Into::into),
        service_account: filled(&spec.service_account_name)
            .or_else(|| filled(&spec.service_account))
            .unwrap_or_else(|| "default".to_owned())
            .into(),
        owner: controller.map(|owner| {
            Arc::new(Owner {
                kind: owner.kind.clone(),
                name: owner.name.clone(),
            })
        }),
        place: place(object, findings),
        cgroup: cgroup(object, findings),
        metadata_requests,
        origin: findings.read.origin.clone(),
    }
}

/// Kubernetes' own are 36 characters; a name in the kernel's catalogue has room for a few more.
const MAX_UID: usize = 63;

fn uid(object: &v1::Pod, findings: &mut Findings<'_>) -> String {
    let uid = object.metadata.uid.clone().unwrap_or_default();
    if uid.len() > MAX_UID || uid.contains(char::is_whitespace) {
        let message = format!(
            "a UID has at most {MAX_UID} characters, none of them a space; Kubernetes writes them as 8-4-4-4-12 hexadecimal digits"
        );
        findings.report("metadata.uid", message);
    }
    uid
}

fn phase(status: &v1::PodStatus, findings: &mut Findings<'_>) -> Phase {
    match status.phase.as_deref() {
        None | Some("" | "Pending") => Phase::Pending,
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some("Unknown") => Phase::Unknown,
        Some(other) => {
            let message = format!(
                "unknown phase \"{other}\"; allowed are Pending, Running, Succeeded, Failed, Unknown"
            );
            findings.report("status.phase", message);
            Phase::Unknown
        }
    }
}

fn addresses(status: &v1::PodStatus, findings: &mut Findings<'_>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut add = |field: &str, text: &str| {
        if text.is_empty() {
            return;
        }
        if let Some(address) = findings.check(field, check::address(text))
            && !addresses.contains(&address)
        {
            addresses.push(address);
        }
    };
    match status.pod_ips.as_deref() {
        None | Some([]) => add("status.podIP", status.pod_ip.as_deref().unwrap_or_default()),
        Some(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                add(&format!("status.podIPs[{index}].ip"), &entry.ip);
            }
        }
    }
    addresses
}

fn ports(spec: &v1::PodSpec, findings: &mut Findings<'_>) -> Vec<ContainerPort> {
    let containers = spec
        .containers
        .iter()
        .map(|container| (container, "containers"));
    let initial = spec
        .init_containers
        .iter()
        .flatten()
        .map(|container| (container, "initContainers"));
    let mut ports = Vec::new();
    for (index, (container, list)) in containers.enumerate().chain(initial.enumerate()) {
        // Other init containers are gone before the pod is there for anybody.
        if list == "initContainers" && container.restart_policy.as_deref() != Some("Always") {
            continue;
        }
        for (number, port) in container.ports.iter().flatten().enumerate() {
            let field = format!("spec.{list}[{index}].ports[{number}]");
            ports.extend(container_port(port, &field, findings));
        }
    }
    ports
}

fn container_port(
    port: &v1::ContainerPort,
    field: &str,
    findings: &mut Findings<'_>,
) -> Option<ContainerPort> {
    let number = findings.check(
        &format!("{field}.containerPort"),
        check::port_number(port.container_port),
    );
    let protocol = findings.check(
        &format!("{field}.protocol"),
        check::protocol(port.protocol.as_deref()),
    );
    let name = match port.name.as_deref() {
        None | Some("") => None,
        Some(name) => findings.check(&format!("{field}.name"), check::port_name(name)),
    };
    let host_port = match port.host_port {
        None | Some(0) => None,
        Some(number) => findings.check(&format!("{field}.hostPort"), check::port_number(number)),
    };
    Some(ContainerPort {
        name,
        port: number?,
        protocol: protocol?,
        host_port,
    })
}

fn place(object: &v1::Pod, findings: &mut Findings<'_>) -> Option<Place> {
    let netns = annotation(&object.metadata, NETNS);
    let interface = annotation(&object.metadata, INTERFACE);
    let field = |key: &str| format!("metadata.annotations.{key}");
    let is_name = |name: &str| {
        !name.is_empty()
            && ![".", ".."].contains(&name)
            && !name.contains(|each: char| each == '/' || each.is_whitespace() || each.is_control())
    };
    match (netns, interface) {
        (None, None) => None,
        (Some(_), Some(_)) => {
            let message = format!("{NETNS} and {INTERFACE} both say where the pod is; keep one");
            findings.report(field(INTERFACE), message);
            None
        }
        (Some(name), None) if is_name(name) => Some(Place::Netns(name.to_owned())),
        (None, Some(name)) if is_name(name) && name.len() <= 15 => {
            Some(Place::Interface(name.to_owned()))
        }
        (Some(name), None) => {
            let message =
                format!("\"{name}\" is no name of a network namespace, as `ip netns` lists them");
            findings.report(field(NETNS), message);
            None
        }
        (None, Some(name)) => {
            let message = format!(
                "\"{name}\" is no name of an interface: 1 to 15 characters without `/` and blanks"
            );
            findings.report(field(INTERFACE), message);
            None
        }
    }
}

fn cgroup(object: &v1::Pod, findings: &mut Findings<'_>) -> Option<String> {
    let path = annotation(&object.metadata, CGROUP)?;
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
    if path.split('/').any(bad) {
        let message = format!(
            "\"{path}\" must be a path below the pods' root cgroup: relative, without `.` and `..`"
        );
        findings.report(format!("metadata.annotations.{CGROUP}"), message);
        return None;
    }
    Some(path.to_owned())
}
