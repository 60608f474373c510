//! Services.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{api::core::v1, apimachinery::pkg::util::intstr::IntOrString};

use super::check::{self, Findings};
use crate::model::{Operator, Requirement, Selector, Service, ServicePort, TargetPort};

pub(super) fn convert(object: &v1::Service, findings: &mut Findings<'_>) -> Service {
    let default = v1::ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&default);
    let mut addresses = BTreeSet::new();
    let mut add = |field: String, text: &str, findings: &mut Findings<'_>| {
        if !text.is_empty() && text != "None" {
            addresses.extend(findings.check(&field, check::address(text)));
        }
    };
    add(
        "spec.clusterIP".into(),
        spec.cluster_ip.as_deref().unwrap_or_default(),
        findings,
    );
    for (index, text) in spec.cluster_ips.iter().flatten().enumerate() {
        add(format!("spec.clusterIPs[{index}]"), text, findings);
    }
    for (index, text) in spec.external_ips.iter().flatten().enumerate() {
        add(format!("spec.externalIPs[{index}]"), text, findings);
    }
    let balancer = object
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let entries = balancer.and_then(|balancer| balancer.ingress.as_ref());
    for (index, entry) in entries.into_iter().flatten().enumerate() {
        let field = format!("status.loadBalancer.ingress[{index}].ip");
        add(field, entry.ip.as_deref().unwrap_or_default(), findings);
    }
    let ports = spec.ports.iter().flatten().enumerate();
    let ports = ports
        .filter_map(|(index, port)| convert_port(port, index, findings))
        .collect();
    let key = &findings.read.key;
    Service {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        selector: spec
            .selector
            .clone()
            .filter(|labels| !labels.is_empty())
            .map(equal),
        addresses,
        ports,
        origin: findings.read.origin.clone(),
    }
}

fn convert_port(
    port: &v1::ServicePort,
    index: usize,
    findings: &mut Findings<'_>,
) -> Option<ServicePort> {
    let field = |name| format!("spec.ports[{index}].{name}");
    let number = findings.check(&field("port"), check::port_number(port.port));
    let protocol = findings.check(
        &field("protocol"),
        check::protocol(port.protocol.as_deref()),
    );
    let name = match port.name.as_deref() {
        None | Some("") => None,
        Some(name) => {
            findings.check(&field("name"), check::dns_label(name));
            Some(name.to_owned())
        }
    };
    let at = field("targetPort");
    let target = match &port.target_port {
        None | Some(IntOrString::Int(0)) => number.map(TargetPort::Number),
        Some(IntOrString::String(name)) if name.is_empty() => number.map(TargetPort::Number),
        Some(IntOrString::Int(target)) => findings
            .check(&at, check::port_number(*target))
            .map(TargetPort::Number),
        Some(IntOrString::String(name)) => findings
            .check(&at, check::port_name(name))
            .map(TargetPort::Name),
    };
    let node_port = match port.node_port {
        None | Some(0) => None,
        Some(node_port) => findings.check(&field("nodePort"), check::port_number(node_port)),
    };
    Some(ServicePort {
        name,
        protocol: protocol?,
        port: number?,
        target: target?,
        node_port,
    })
}

/// The selector that wants exactly these labels.
fn equal(labels: BTreeMap<String, String>) -> Selector {
    let requirements = labels.into_iter().map(|(key, value)| Requirement {
        key,
        operator: Operator::In([value].into()),
    });
    Selector {
        requirements: requirements.collect(),
    }
}
