//! The metadata firewall, and what may pass it besides pods that ask by annotation.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{Enforcement, Expiry, Labels, Origin, Protocol, Selector, Workloads};

/// A `MetadataFirewall`: what it adds to the built-in catalogue, and what counts as a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataFirewall {
    /// Whether what has no grant is denied, or only told of. Never `Disabled`.
    pub enforcement: Enforcement,
    /// Endpoints by name, beside those of the catalogue; those of the catalogue's own names add to them.
    pub endpoints: BTreeMap<Arc<str>, MetadataEndpoint>,
    /// Pods with their node's network have every grant.
    pub host_network_granted: bool,
    /// Those of them for which it is the other way round.
    pub host_network_exceptions: Vec<NamedPods>,
    /// Pods that may send encapsulated packets to nodes.
    pub encapsulating: Vec<NamedPods>,
    /// Whose annotation alone is a grant; `None`: as the agent is told.
    pub annotated: Option<Annotated>,
    /// Where it was read.
    pub origin: Origin,
}

/// Pods under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPods {
    /// The name.
    pub name: String,
    /// Namespaces.
    pub namespaces: Selector,
    /// Pods in them.
    pub pods: Selector,
}

/// Whose annotation alone is a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Annotated {
    /// That of pods in these namespaces.
    Granted(Selector),
    /// Nobody's: it only asks for what a `MetadataAccess` grants.
    RequestOnly,
}

/// A metadata service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataEndpoint {
    /// What answers.
    pub kind: EndpointKind,
    /// Where; empty for a proxy at the node's own addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// At which ports; `None`: at all of them, and without ports too.
    pub ports: Option<BTreeSet<(Protocol, u16)>>,
}

/// What answers at a metadata endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EndpointKind {
    /// The cloud.
    #[default]
    Service,
    /// A program that answers for these endpoints: the node translates what pods send to them.
    Proxy(BTreeSet<Arc<str>>),
}

/// A `MetadataAccess`: a grant that is kept outside the namespaces that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataAccess {
    /// Name.
    pub name: String,
    /// Endpoints that it opens; `None`: all of them.
    pub endpoints: Option<BTreeSet<Arc<str>>>,
    /// Pods that it is for: whom any of these names.
    pub subjects: Vec<Workloads>,
    /// The pod must name this grant in its annotation, too.
    pub annotation_required: bool,
    /// From then on it is absent.
    pub expiry: Expiry,
    /// Where it was read.
    pub origin: Origin,
}

impl MetadataFirewall {
    /// True if pods with these labels, in a namespace with those, may send encapsulated packets to nodes.
    #[must_use]
    pub fn lets_encapsulate(&self, namespace: &Labels, pod: &Labels) -> bool {
        let mut named = self.encapsulating.iter();
        named.any(|it| it.has(namespace, pod))
    }
}

impl NamedPods {
    /// True if it names pods with these labels, in a namespace with those.
    #[must_use]
    pub fn has(&self, namespace: &Labels, pod: &Labels) -> bool {
        self.namespaces.matches(namespace) && self.pods.matches(pod)
    }
}
