//! The metadata firewall and its grants.
//!
//! What the firewall does today is fixed: it denies the catalogue's addresses to every pod without a grant, and a grant
//! opens all of them. Whatever says otherwise is refused, for to take it would be a promise.

use std::net::IpAddr;

use super::{
    check::{self, Findings},
    shared::{expiry, workloads},
};
use crate::{
    api::{self, HostNetworkPods, MetadataFirewall, PodAnnotation},
    metadata::catalogue,
    model::MetadataAccess,
};

/// Checks the firewall: there is nothing about it that is not so without the object.
pub(super) fn firewall(object: &MetadataFirewall, findings: &mut Findings<'_>) {
    let spec = &object.spec;
    if spec.enforcement != api::Enforcement::Enforce {
        let message = "the metadata firewall is always in force; leave this out, or grant access with a MetadataAccess";
        findings.unsupported("spec.enforcement", message);
    }
    if spec.host_network_pods == HostNetworkPods::Allow {
        let message = "pods with their node's network get what others get; leave this out, and grant access to those that \
                       need it with a MetadataAccess";
        findings.unsupported("spec.hostNetworkPods", message);
    }
    let known: Vec<IpAddr> = catalogue().iter().map(|it| it.address).collect();
    for (index, endpoint) in spec.endpoints.iter().flatten().enumerate() {
        let field = format!("spec.endpoints[{index}]");
        for (number, text) in endpoint.addresses.iter().enumerate() {
            let at = format!("{field}.addresses[{number}]");
            if let Some(address) = findings.check(&at, check::address(text))
                && !known.contains(&address)
            {
                let message = format!(
                    "{address} is not among the metadata services that are denied, and none can be added yet"
                );
                findings.unsupported(at, message);
            }
        }
        if endpoint.ports.is_some() {
            let message = "a metadata service is denied at all its ports, but for DNS and NTP where it is also the \
                           resolver or time server; leave this out";
            findings.unsupported(format!("{field}.ports"), message);
        }
    }
}

pub(super) fn access(object: &api::MetadataAccess, findings: &mut Findings<'_>) -> MetadataAccess {
    let spec = &object.spec;
    if spec.endpoint_names.is_some() {
        let message = "a grant opens every metadata service; leave this out";
        findings.unsupported("spec.endpointNames", message);
    }
    let mut subjects = Vec::new();
    for (index, subject) in spec.subjects.iter().enumerate() {
        subjects.push(workloads(
            subject,
            &format!("spec.subjects[{index}]"),
            findings,
        ));
    }
    MetadataAccess {
        name: findings.read.key.name.clone(),
        subjects,
        annotation_required: spec.pod_annotation == PodAnnotation::Required,
        expiry: expiry(spec.expiration_time.as_ref()),
        origin: findings.read.origin.clone(),
    }
}
