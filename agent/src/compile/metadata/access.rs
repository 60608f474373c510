//! Which pods may reach which endpoints, and by what.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use super::{super::Options, AnnotatedPods, Metadata};
use crate::{
    compile::fact::bare_namespace,
    metadata::ACCESS_ANNOTATION as ACCESS,
    model::{
        Annotated, Diagnostic, EndpointKind, Labels, MetadataAccess, MetadataFirewall, Pod, PodKey,
        Selector, Snapshot, Workloads,
    },
};

/// What kube2iam and kiam read.
const IAM_ROLE: &str = "iam.amazonaws.com/role";

/// The endpoints that a pod may reach, and those that it may send to: a proxy's grant covers sending to what the proxy
/// stands for, and reaching nothing but the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// May be reached.
    pub reach: BTreeSet<Arc<str>>,
    /// May be sent to from the pod; all of `reach` is among them.
    pub ask: BTreeSet<Arc<str>>,
}

/// What a pod is granted endpoints by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Because {
    /// By what.
    pub by: Grantor,
    /// The endpoints; names that there are not are left out.
    pub endpoints: BTreeSet<Arc<str>>,
    /// Seconds since 1970 at which it ends.
    pub ends: Option<i64>,
}

/// What grants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantor {
    /// A `MetadataAccess`, by its name.
    Access(String),
    /// The pod's own annotation, by its key.
    Annotation(&'static str),
    /// It is the agent's own pod.
    Agent,
    /// `hostNetworkPods: Allow`.
    HostNetwork,
    /// `hostNetworkPods: Deny`, and this one of its `hostNetworkExceptions`.
    HostNetworkException(String),
}

impl Access {
    /// No endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ask.is_empty()
    }

    fn add(&mut self, name: &Arc<str>, metadata: &Metadata) {
        let Some(kind) = metadata.endpoints.get(name) else {
            return;
        };
        self.reach.insert(name.clone());
        self.ask.insert(name.clone());
        if let EndpointKind::Proxy(others) = kind {
            self.ask.extend(others.iter().cloned());
        }
    }
}

/// What a pod may reach.
pub(in crate::compile) fn access(
    pod: &Pod,
    snapshot: &Snapshot,
    metadata: &Metadata,
    options: &Options,
) -> Access {
    let mut access = Access::default();
    for because in grants_of(pod, snapshot, metadata, options) {
        for name in &because.endpoints {
            access.add(name, metadata);
        }
    }
    access
}

/// Everything by which a pod is granted something, as of now.
#[must_use]
pub fn grants_of(
    pod: &Pod,
    snapshot: &Snapshot,
    metadata: &Metadata,
    options: &Options,
) -> Vec<Because> {
    let all = || metadata.endpoints.keys().cloned().collect();
    let mut found = Vec::new();
    let mut firewalls = snapshot.firewalls.values();
    let firewall = firewalls.next();
    if options.agent.as_ref() == Some(&pod.key) {
        found.push(Because {
            by: Grantor::Agent,
            endpoints: all(),
            ends: None,
        });
    }
    let of_network = firewall.and_then(|firewall| by_network(pod, firewall, snapshot));
    found.extend(of_network.map(|by| Because {
        by,
        endpoints: all(),
        ends: None,
    }));
    let annotation = asks(pod, options).filter(|_| {
        match (
            firewall.and_then(|it| it.annotated.as_ref()),
            &options.annotated_pods,
        ) {
            (Some(Annotated::RequestOnly), _) | (None, AnnotatedPods::None) => false,
            (None, AnnotatedPods::All) => true,
            (Some(Annotated::Granted(selector)), _)
            | (None, AnnotatedPods::Namespaces(selector)) => {
                in_namespace(selector, &pod.key, snapshot)
            }
        }
    });
    found.extend(annotation.map(|key| Because {
        by: Grantor::Annotation(key),
        endpoints: all(),
        ends: None,
    }));
    let grants = snapshot.grants.values();
    for grant in grants.filter(|grant| is_for(grant, pod, snapshot)) {
        let named = |name: &&Arc<str>| metadata.endpoints.contains_key(*name);
        let names = grant.endpoints.as_ref();
        let endpoints: BTreeSet<_> =
            names.map_or_else(all, |names| names.iter().filter(named).cloned().collect());
        if !endpoints.is_empty() {
            found.push(Because {
                by: Grantor::Access(grant.name.clone()),
                endpoints,
                ends: grant.expiry.0,
            });
        }
    }
    found
}

/// What a pod with its node's network has everything by, if it does.
fn by_network(pod: &Pod, firewall: &MetadataFirewall, snapshot: &Snapshot) -> Option<Grantor> {
    if !pod.host_network {
        return None;
    }
    let mut exceptions = firewall.host_network_exceptions.iter();
    let namespace = labels_of(&pod.key, snapshot);
    let exception = exceptions.find(|it| it.has(&namespace, &pod.labels));
    match (firewall.host_network_granted, exception) {
        (true, None) => Some(Grantor::HostNetwork),
        (false, Some(exception)) => Some(Grantor::HostNetworkException(exception.name.clone())),
        (true, Some(_)) | (false, None) => None,
    }
}

/// Every name of an endpoint that a grant uses and that no endpoint has.
pub(in crate::compile) fn unresolved(snapshot: &Snapshot, metadata: &Metadata) -> Vec<Diagnostic> {
    let known: Vec<&str> = metadata.endpoints.keys().map(|name| &**name).collect();
    let missing = |grant: &MetadataAccess| {
        let names = missing(grant, metadata).into_iter();
        let found = names.map(|name| Diagnostic {
            origin: grant.origin.clone(),
            object: format!("MetadataAccess/{}", grant.name),
            field: "spec.endpointNames".to_owned(),
            message: format!(
                "there is no metadata endpoint {name:?}: the name opens nothing, and the rest is in force; there are {}. Add it to the \
                 MetadataFirewall, or correct the name",
                known.join(", ")
            ),
        });
        found.collect::<Vec<_>>()
    };
    snapshot.grants.values().flat_map(missing).collect()
}

/// Names of a grant that no endpoint has.
#[must_use]
pub fn missing<'a>(grant: &'a MetadataAccess, metadata: &Metadata) -> Vec<&'a str> {
    let names = grant.endpoints.iter().flatten();
    let names = names.filter(|name| !metadata.endpoints.contains_key(*name));
    names.map(|name| &**name).collect()
}

/// The annotation by which a pod asks, if it does.
fn asks(pod: &Pod, options: &Options) -> Option<&'static str> {
    let asks = |key: &&'static str| {
        let value = pod.metadata_requests.get(key);
        value.is_some_and(|value| !refuses(value))
    };
    let count = if options.iam_role_annotation { 2 } else { 1 };
    [ACCESS, IAM_ROLE].into_iter().take(count).find(asks)
}

/// True if a grant that has not ended is for this pod.
fn is_for(grant: &MetadataAccess, pod: &Pod, snapshot: &Snapshot) -> bool {
    let names = |subject: &Workloads| {
        let account = pod.service_account.to_string();
        in_namespace(&subject.namespaces, &pod.key, snapshot)
            && subject.pods.matches(&pod.labels)
            && (subject.accounts.is_empty() || subject.accounts.contains(&account))
    };
    let asked = || pod.metadata_requests.get(ACCESS) == Some(grant.name.as_str());
    !grant.expiry.is_over(snapshot.past)
        && (!grant.annotation_required || asked())
        && grant.subjects.iter().any(names)
}

/// True for a pod that may send encapsulated packets to nodes.
pub(in crate::compile) fn encapsulates(pod: &Pod, snapshot: &Snapshot) -> bool {
    let firewall = snapshot.firewalls.values().next();
    let namespace = labels_of(&pod.key, snapshot);
    firewall.is_some_and(|it| it.lets_encapsulate(&namespace, &pod.labels))
}

fn in_namespace(selector: &Selector, key: &PodKey, snapshot: &Snapshot) -> bool {
    selector.matches(&labels_of(key, snapshot))
}

fn labels_of<'a>(key: &PodKey, snapshot: &'a Snapshot) -> Cow<'a, Labels> {
    match snapshot.namespaces.get(&key.namespace) {
        Some(namespace) => Cow::Borrowed(&namespace.labels),
        None => Cow::Owned(bare_namespace(&key.namespace)),
    }
}

/// True for a value that says no: whoever writes `false` does not mean "grant it".
fn refuses(value: &str) -> bool {
    let value = value.trim();
    value.is_empty()
        || ["false", "no", "none", "deny"]
            .iter()
            .any(|no| value.eq_ignore_ascii_case(no))
}

#[cfg(test)]
mod tests;
