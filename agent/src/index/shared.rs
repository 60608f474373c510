//! What several kinds share: pods, ports, moments.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};

use super::{
    check::{self, Findings},
    selector,
};
use crate::{
    api,
    model::{Canary, Enforcement, Expiry, PortSpec, Ports, Protocol, Selector, Workloads},
};

pub(super) const fn enforcement(enforcement: api::Enforcement) -> Enforcement {
    match enforcement {
        api::Enforcement::Enforce => Enforcement::Enforce,
        api::Enforcement::Audit => Enforcement::Audit,
        api::Enforcement::Disabled => Enforcement::Disabled,
    }
}

/// An absent selector selects all.
pub(super) fn optional(
    selector: Option<&LabelSelector>,
    field: &str,
    findings: &mut Findings<'_>,
) -> Selector {
    selector.map_or_else(Selector::default, |selector| {
        selector::convert(selector, field, findings)
    })
}

pub(super) fn workloads(
    workloads: &api::Workloads,
    field: &str,
    findings: &mut Findings<'_>,
) -> Workloads {
    let at = |name| format!("{field}.{name}");
    let accounts: BTreeSet<String> = workloads
        .service_account_names
        .iter()
        .flatten()
        .cloned()
        .collect();
    Workloads {
        namespaces: selector::convert(
            &workloads.namespace_selector,
            &at("namespaceSelector"),
            findings,
        ),
        pods: optional(
            workloads.pod_selector.as_ref(),
            &at("podSelector"),
            findings,
        ),
        accounts,
    }
}

pub(super) fn canary(
    canary: Option<&api::Canary>,
    field: &str,
    findings: &mut Findings<'_>,
) -> Option<Canary> {
    let canary = canary?;
    let mut part = |selector: &Option<_>, name| {
        optional(selector.as_ref(), &format!("{field}.{name}"), findings)
    };
    Some(Canary {
        namespaces: part(&canary.namespace_selector, "namespaceSelector"),
        pods: part(&canary.pod_selector, "podSelector"),
    })
}

/// Absent ports are all, and what has no ports too.
pub(super) fn ports(
    ports: Option<&[api::PortRange]>,
    field: &str,
    findings: &mut Findings<'_>,
) -> Ports {
    let Some(ports) = ports else {
        return Ports::Any;
    };
    let mut specs = Vec::new();
    for (index, range) in ports.iter().enumerate() {
        let at = |name| format!("{field}[{index}].{name}");
        let protocol = match range.protocol {
            api::Protocol::Tcp => Protocol::Tcp,
            api::Protocol::Udp => Protocol::Udp,
            api::Protocol::Sctp => Protocol::Sctp,
        };
        let Some(first) = range.port else {
            specs.push(PortSpec::All(protocol));
            continue;
        };
        let last = range.end_port;
        let first = findings.check(&at("port"), check::port_number(first));
        let last = match last {
            None => first,
            Some(last) => findings.check(&at("endPort"), check::port_number(last)),
        };
        if let (Some(first), Some(last)) = (first, last) {
            specs.push(PortSpec::Range(protocol, first, last));
        }
    }
    Ports::Of(specs)
}

/// Moments count in whole seconds: what ends within one is over when it begins.
pub(super) fn expiry(time: Option<&Time>) -> Expiry {
    Expiry(time.map(|time| time.0.as_second()))
}
