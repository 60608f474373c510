//! The metadata firewall and its grants.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    check::{self, Findings},
    shared::{enforcement, expiry, optional, workloads},
};
use crate::{
    api::{self, HostNetworkPods, PodAnnotation},
    metadata::{self, Kind},
    model::{
        Annotated, EndpointKind, MetadataAccess, MetadataEndpoint, MetadataFirewall, NamedPods,
        Protocol,
    },
};

pub(super) fn firewall(
    object: &api::MetadataFirewall,
    findings: &mut Findings<'_>,
) -> MetadataFirewall {
    let spec = &object.spec;
    if spec.enforcement == api::Enforcement::Disabled {
        findings.unsupported(
            "spec.enforcement",
            "the metadata firewall is in force without this object, too, and cannot be switched off; leave this out, take Audit \
             to let through and be told of what has no grant, or grant access with a MetadataAccess that selects all namespaces",
        );
    }
    let mut endpoints = BTreeMap::new();
    let mut addresses: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for (index, endpoint) in spec.endpoints.iter().flatten().enumerate() {
        let field = format!("spec.endpoints[{index}]");
        let read = read_endpoint(endpoint, spec, &field, findings);
        for (number, &address) in read.addresses.iter().enumerate() {
            if let Some(other) = addresses.insert(address, &endpoint.name) {
                let message =
                    format!("{address} is an address of {other}, too; an address has one name");
                findings.report(format!("{field}.addresses[{number}]"), message);
            }
        }
        endpoints.insert(endpoint.name.as_str().into(), read);
    }
    MetadataFirewall {
        enforcement: enforcement(spec.enforcement),
        endpoints,
        host_network_granted: spec.host_network_pods == HostNetworkPods::Allow,
        host_network_exceptions: named(
            spec.host_network_exceptions.as_deref(),
            "spec.hostNetworkExceptions",
            findings,
        ),
        encapsulating: named(
            spec.encapsulating_pods.as_deref(),
            "spec.encapsulatingPods",
            findings,
        ),
        annotated: spec.annotated_pods.map(|worth| match worth {
            api::AnnotatedPods::Granted => Annotated::Granted(optional(
                spec.annotation_namespace_selector.as_ref(),
                "spec.annotationNamespaceSelector",
                findings,
            )),
            api::AnnotatedPods::RequestOnly => Annotated::RequestOnly,
        }),
        origin: findings.read.origin.clone(),
    }
}

fn named(
    list: Option<&[api::NamedPods]>,
    field: &str,
    findings: &mut Findings<'_>,
) -> Vec<NamedPods> {
    let mut named = Vec::new();
    for (index, pods) in list.into_iter().flatten().enumerate() {
        let mut part = |selector: &Option<_>, name| {
            let at = format!("{field}[{index}].{name}");
            optional(selector.as_ref(), &at, findings)
        };
        named.push(NamedPods {
            name: pods.name.clone(),
            namespaces: part(&pods.namespace_selector, "namespaceSelector"),
            pods: part(&pods.pod_selector, "podSelector"),
        });
    }
    named
}

fn read_endpoint(
    endpoint: &api::Endpoint,
    spec: &api::MetadataFirewallSpec,
    field: &str,
    findings: &mut Findings<'_>,
) -> MetadataEndpoint {
    let mut addresses = BTreeSet::new();
    for (number, text) in endpoint.addresses.iter().flatten().enumerate() {
        let at = format!("{field}.addresses[{number}]");
        let Some(address) = findings.check(&at, check::address(text)) else {
            continue;
        };
        match beyond(address) {
            Some(why) => findings.unsupported(at, format!("{address} {why}")),
            None => drop(addresses.insert(address)),
        }
    }
    let kind = match endpoint.kind {
        api::EndpointKind::Service => EndpointKind::Service,
        api::EndpointKind::Proxy => {
            EndpointKind::Proxy(stands_for(endpoint, spec, field, findings))
        }
    };
    let built_in = metadata::endpoint(&endpoint.name).map(|it| it.kind);
    if built_in == Some(Kind::Service) && kind != EndpointKind::Service {
        let message = format!(
            "{} is a service of the built-in catalogue; give the proxy a name of its own",
            endpoint.name
        );
        findings.report(format!("{field}.name"), message);
    }
    let protocols = endpoint.protocols.clone();
    let protocols = protocols.unwrap_or_else(|| vec![api::Protocol::Tcp]);
    let mut ports = endpoint.ports.as_ref().map(|_| BTreeSet::new());
    for (number, &port) in endpoint.ports.iter().flatten().enumerate() {
        let at = format!("{field}.ports[{number}]");
        if let (Some(port), Some(ports)) = (
            findings.check(&at, check::port_number(port)),
            ports.as_mut(),
        ) {
            ports.extend(protocols.iter().map(|it| (protocol(*it), port)));
        }
    }
    MetadataEndpoint {
        kind,
        addresses,
        ports,
    }
}

/// Services that a proxy answers for; what is none is wrong, for all that may be named is here.
fn stands_for(
    endpoint: &api::Endpoint,
    spec: &api::MetadataFirewallSpec,
    field: &str,
    findings: &mut Findings<'_>,
) -> BTreeSet<Arc<str>> {
    let mut names = BTreeSet::new();
    for (number, name) in endpoint.stands_for.iter().flatten().enumerate() {
        let own = spec.endpoints.iter().flatten();
        let own = own
            .filter(|it| it.kind == api::EndpointKind::Service)
            .map(|it| it.name.as_str());
        let built_in = metadata::catalogue().endpoints.iter();
        let built_in = built_in
            .filter(|it| it.kind == Kind::Service)
            .map(|it| it.name.as_str());
        let services: BTreeSet<&str> = own.chain(built_in).collect();
        if services.contains(name.as_str()) {
            names.insert(name.as_str().into());
        } else {
            let known: Vec<&str> = services.into_iter().collect();
            let message = format!(
                "there is no metadata service \"{name}\"; there are {}",
                known.join(", ")
            );
            findings.report(format!("{field}.standsFor[{number}]"), message);
        }
    }
    names
}

/// Why an address cannot be denied as a metadata service.
fn beyond(address: IpAddr) -> Option<&'static str> {
    if address.is_loopback() || address.is_unspecified() {
        return Some("does not leave the pod, so nothing judges it");
    }
    if address.is_multicast() || address == IpAddr::from([255, 255, 255, 255]) {
        return Some("is an address of many, and no service's");
    }
    let IpAddr::V6(v6) = address else {
        return None;
    };
    ringfence_common::metadata::embedded(&v6.octets()).map(|_| {
        "stands for an IPv4 address (mapped, NAT64, or 6to4); name that one, and all of its forms are denied"
    })
}

const fn protocol(protocol: api::Protocol) -> Protocol {
    match protocol {
        api::Protocol::Tcp => Protocol::Tcp,
        api::Protocol::Udp => Protocol::Udp,
        api::Protocol::Sctp => Protocol::Sctp,
    }
}

pub(super) fn access(object: &api::MetadataAccess, findings: &mut Findings<'_>) -> MetadataAccess {
    let spec = &object.spec;
    let mut subjects = Vec::new();
    for (index, subject) in spec.subjects.iter().enumerate() {
        subjects.push(workloads(
            subject,
            &format!("spec.subjects[{index}]"),
            findings,
        ));
    }
    let endpoints = spec.endpoint_names.as_ref();
    MetadataAccess {
        name: findings.read.key.name.clone(),
        endpoints: endpoints.map(|names| names.iter().map(|name| name.as_str().into()).collect()),
        subjects,
        annotation_required: spec.pod_annotation == PodAnnotation::Required,
        expiry: expiry(spec.expiration_time.as_ref()),
        origin: findings.read.origin.clone(),
    }
}
