//! Policies that are about nobody.

use super::{Finding, Look, NOBODY_SELECTED};
use crate::model::{Canary, Enforcement, Labels, Pod, Selector, Snapshot};

/// A namespace's labels; of one without an object its name.
pub(super) fn namespace_labels(snapshot: &Snapshot, name: &str) -> Labels {
    match snapshot.namespaces.get(name) {
        Some(namespace) => namespace.labels.clone(),
        None => Labels::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]),
    }
}

pub(super) fn find(look: &Look<'_>) -> Vec<Finding> {
    let snapshot = look.snapshot;
    // Whoever keeps policies apart from pods says nothing about pods.
    if snapshot.pods.is_empty() {
        return Vec::new();
    }
    let any = |selects: &dyn Fn(&Pod) -> bool| {
        let mut pods = snapshot.pods.values();
        pods.any(|pod| pod.is_running() && !pod.host_network && selects(pod))
    };
    let in_both = |namespaces: &Selector, pods: &Selector| {
        any(&|pod| {
            namespaces.matches(&namespace_labels(snapshot, &pod.key.namespace))
                && pods.matches(&pod.labels)
        })
    };
    let nobody = |object: &str, field: &str| {
        let message = "this selects no pod of these manifests";
        look.finding(&NOBODY_SELECTED, object, field, message)
    };
    let mut found = Vec::new();
    for policy in snapshot.policies.values() {
        let about = |pod: &Pod| {
            pod.key.namespace == policy.key.namespace && policy.subject.matches(&pod.labels)
        };
        // One that is about all pods of a namespace waits for them.
        if policy.subject != Selector::default() && !any(&about) {
            found.push(nobody(&policy.key.to_string(), "spec.podSelector"));
        }
    }
    for policy in snapshot.cluster_policies.values() {
        if policy.enforcement != Enforcement::Disabled && !in_both(&policy.namespaces, &policy.pods)
        {
            let object = format!("ClusterNetworkPolicy/{}", policy.name);
            found.push(nobody(&object, "spec.subject"));
        }
    }
    let zone_policies = snapshot.zone_policies.values();
    let zone_policies = zone_policies.map(|it| (format!("ZonePolicy/{}", it.name), &it.canary));
    let tenants = snapshot.tenants.values();
    let tenants = tenants.map(|it| (format!("TenantIsolation/{}", it.name), &it.canary));
    for (object, canary) in zone_policies.chain(tenants) {
        if let Some(Canary { namespaces, pods }) = canary
            && !in_both(namespaces, pods)
        {
            found.push(nobody(&object, "spec.canary"));
        }
    }
    for (name, firewall) in &snapshot.firewalls {
        let object = format!("MetadataFirewall/{name}");
        for (index, named) in firewall.host_network_exceptions.iter().enumerate() {
            let mut pods = snapshot.pods.values();
            let names = |pod: &Pod| {
                let namespace = namespace_labels(snapshot, &pod.key.namespace);
                pod.is_running() && pod.host_network && named.has(&namespace, &pod.labels)
            };
            if !pods.any(names) {
                let message = "this selects no pod of these manifests that has its node's network";
                let field = format!("spec.hostNetworkExceptions[{index}]");
                found.push(look.finding(&NOBODY_SELECTED, &object, &field, message));
            }
        }
        for (index, named) in firewall.encapsulating.iter().enumerate() {
            if !in_both(&named.namespaces, &named.pods) {
                let field = format!("spec.encapsulatingPods[{index}]");
                found.push(nobody(&object, &field));
            }
        }
    }
    found
}
