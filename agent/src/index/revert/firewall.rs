//! The metadata firewall and its grants.

use std::collections::BTreeSet;

use super::{
    selector,
    zones::{enforcement, filled, named, protocol, time, workloads},
};
use crate::{
    api,
    model::{
        Annotated, EndpointKind, MetadataAccess, MetadataEndpoint, MetadataFirewall, NamedPods,
        Protocol,
    },
    watch::Object,
};

/// The one name that it may have.
const FIREWALL: &str = "default";

pub(super) fn firewall(firewall: &MetadataFirewall) -> Object {
    let endpoints = firewall.endpoints.iter();
    let (annotated_pods, annotation_namespace_selector) = match &firewall.annotated {
        None => (None, None),
        Some(Annotated::RequestOnly) => (Some(api::AnnotatedPods::RequestOnly), None),
        Some(Annotated::Granted(namespaces)) => (
            Some(api::AnnotatedPods::Granted),
            Some(selector(namespaces)),
        ),
    };
    let spec = api::MetadataFirewallSpec {
        enforcement: enforcement(firewall.enforcement),
        host_network_pods: if firewall.host_network_granted {
            api::HostNetworkPods::Allow
        } else {
            api::HostNetworkPods::Deny
        },
        host_network_exceptions: pods(&firewall.host_network_exceptions),
        encapsulating_pods: pods(&firewall.encapsulating),
        annotated_pods,
        annotation_namespace_selector,
        endpoints: filled(endpoints.map(|(name, it)| endpoint(name, it)).collect()),
    };
    let mut object = api::MetadataFirewall::new(FIREWALL, spec);
    object.metadata = named(FIREWALL);
    Object::MetadataFirewall(Box::new(object))
}

fn pods(named: &[NamedPods]) -> Option<Vec<api::NamedPods>> {
    let named = named.iter().map(|pods| api::NamedPods {
        name: pods.name.clone(),
        namespace_selector: Some(selector(&pods.namespaces)),
        pod_selector: Some(selector(&pods.pods)),
    });
    filled(named.collect())
}

fn endpoint(name: &str, endpoint: &MetadataEndpoint) -> api::Endpoint {
    let (kind, stands_for) = match &endpoint.kind {
        EndpointKind::Service => (api::EndpointKind::Service, None),
        EndpointKind::Proxy(names) => (
            api::EndpointKind::Proxy,
            filled(names.iter().map(ToString::to_string).collect()),
        ),
    };
    // Every protocol has the same ports.
    let ports = endpoint.ports.iter().flatten();
    let numbers: BTreeSet<i32> = ports.clone().map(|(_, port)| i32::from(*port)).collect();
    let protocols: BTreeSet<Protocol> = ports.map(|(protocol, _)| *protocol).collect();
    api::Endpoint {
        name: name.to_owned(),
        kind,
        stands_for,
        addresses: filled(endpoint.addresses.iter().map(ToString::to_string).collect()),
        ports: filled(numbers.into_iter().collect()),
        protocols: filled(protocols.into_iter().map(protocol).collect()),
    }
}

pub(super) fn grant(grant: &MetadataAccess) -> Object {
    let names = grant.endpoints.as_ref();
    let spec = api::MetadataAccessSpec {
        description: None,
        endpoint_names: names.map(|names| names.iter().map(ToString::to_string).collect()),
        subjects: grant.subjects.iter().map(workloads).collect(),
        pod_annotation: if grant.annotation_required {
            api::PodAnnotation::Required
        } else {
            api::PodAnnotation::Ignored
        },
        expiration_time: time(grant.expiry),
    };
    let mut object = api::MetadataAccess::new(&grant.name, spec);
    object.metadata = named(&grant.name);
    Object::MetadataAccess(Box::new(object))
}
