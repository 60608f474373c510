//! Objects as a source delivers them.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::{
    api::{
        core::v1::{Namespace, Node, Pod, Service},
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use kube::core::{ApiResource, GroupVersionKind};

use super::Revision;
use crate::{
    api::{
        ClusterNetworkPolicy, MetadataAccess, MetadataFirewall, SecurityZone, TenantIsolation,
        ZonePolicy,
    },
    model::{Diagnostic, Origin},
};

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1 Namespace`.
    Namespace,
    /// `v1 Node`.
    Node,
    /// `v1 Pod`.
    Pod,
    /// `v1 Service`.
    Service,
    /// `networking.k8s.io/v1 NetworkPolicy`.
    NetworkPolicy,
    /// `policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy`.
    ClusterNetworkPolicy,
    /// `ringfence.dev/v1alpha1 SecurityZone`.
    SecurityZone,
    /// `ringfence.dev/v1alpha1 ZonePolicy`.
    ZonePolicy,
    /// `ringfence.dev/v1alpha1 TenantIsolation`.
    TenantIsolation,
    /// `ringfence.dev/v1alpha1 MetadataFirewall`.
    MetadataFirewall,
    /// `ringfence.dev/v1alpha1 MetadataAccess`.
    MetadataAccess,
}

/// What tells an object from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Kind.
    pub kind: Kind,
    /// Namespace; empty for kinds that are in none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// An object of one of the kinds, as the Kubernetes API defines it.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A namespace.
    Namespace(Box<Namespace>),
    /// A node.
    Node(Box<Node>),
    /// A pod.
    Pod(Box<Pod>),
    /// A service.
    Service(Box<Service>),
    /// A policy.
    NetworkPolicy(Box<NetworkPolicy>),
    /// A policy of the cluster's administrators.
    ClusterNetworkPolicy(Box<ClusterNetworkPolicy>),
    /// A zone.
    SecurityZone(Box<SecurityZone>),
    /// Rules between zones.
    ZonePolicy(Box<ZonePolicy>),
    /// What keeps tenants apart.
    TenantIsolation(Box<TenantIsolation>),
    /// The metadata firewall.
    MetadataFirewall(Box<MetadataFirewall>),
    /// A grant of metadata access.
    MetadataAccess(Box<MetadataAccess>),
}

/// An object that could be decoded. Whether it is valid is the index's question.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// What tells it from others; the namespace's default is applied.
    pub key: ObjectKey,
    /// The object.
    pub object: Object,
    /// Where it was read.
    pub origin: Origin,
    /// Lines of its fields by path; empty if it comes from the API.
    pub lines: BTreeMap<String, usize>,
}

/// An object that exists and cannot be decoded: it does not count as deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// What tells it from others.
    pub key: ObjectKey,
    /// Where it was read.
    pub origin: Origin,
    /// Which version of it this is, if it comes from a cluster.
    pub revision: Option<Revision>,
    /// Of a policy, what could be read of its metadata, `podSelector` and `policyTypes`, so that its
    /// subjects can be isolated if no good state of it is known.
    pub remnant: Option<Box<NetworkPolicy>>,
    /// What is wrong with it; never empty.
    pub diagnostics: Vec<Diagnostic>,
}

// === impl Kind ===

impl Kind {
    /// All of them, in the order in which a source delivers them.
    pub const ALL: [Self; 11] = [
        Self::Namespace,
        Self::Node,
        Self::Pod,
        Self::Service,
        Self::NetworkPolicy,
        Self::ClusterNetworkPolicy,
        Self::SecurityZone,
        Self::ZonePolicy,
        Self::TenantIsolation,
        Self::MetadataFirewall,
        Self::MetadataAccess,
    ];

    /// The name, as in `kind:`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::Service => "Service",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::SecurityZone => "SecurityZone",
            Self::ZonePolicy => "ZonePolicy",
            Self::TenantIsolation => "TenantIsolation",
            Self::MetadataFirewall => "MetadataFirewall",
            Self::MetadataAccess => "MetadataAccess",
        }
    }

    /// The version that is read, as in `apiVersion:`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "networking.k8s.io/v1",
            Self::Namespace | Self::Node | Self::Pod | Self::Service => "v1",
            Self::ClusterNetworkPolicy => "policy.networking.k8s.io/v1alpha2",
            Self::SecurityZone
            | Self::ZonePolicy
            | Self::TenantIsolation
            | Self::MetadataFirewall
            | Self::MetadataAccess => "ringfence.dev/v1alpha1",
        }
    }

    /// True if its objects are in namespaces.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        matches!(self, Self::Pod | Self::Service | Self::NetworkPolicy)
    }

    /// True if its objects are defined by a CustomResourceDefinition, which a cluster may lack.
    #[must_use]
    pub const fn is_custom(self) -> bool {
        !matches!(
            self,
            Self::Namespace | Self::Node | Self::Pod | Self::Service | Self::NetworkPolicy
        )
    }

    /// How the API server is asked for its objects.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        let (group, version) = self
            .api_version()
            .split_once('/')
            .unwrap_or(("", self.api_version()));
        ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, self.as_str()))
    }

    /// The kind of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

// === impl Object ===

impl Object {
    /// Its metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Namespace(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::NetworkPolicy(object) => &object.metadata,
            Self::ClusterNetworkPolicy(object) => &object.metadata,
            Self::SecurityZone(object) => &object.metadata,
            Self::ZonePolicy(object) => &object.metadata,
            Self::TenantIsolation(object) => &object.metadata,
            Self::MetadataFirewall(object) => &object.metadata,
            Self::MetadataAccess(object) => &object.metadata,
        }
    }

    /// Its metadata, to change.
    #[must_use]
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Namespace(object) => &mut object.metadata,
            Self::Node(object) => &mut object.metadata,
            Self::Pod(object) => &mut object.metadata,
            Self::Service(object) => &mut object.metadata,
            Self::NetworkPolicy(object) => &mut object.metadata,
            Self::ClusterNetworkPolicy(object) => &mut object.metadata,
            Self::SecurityZone(object) => &mut object.metadata,
            Self::ZonePolicy(object) => &mut object.metadata,
            Self::TenantIsolation(object) => &mut object.metadata,
            Self::MetadataFirewall(object) => &mut object.metadata,
            Self::MetadataAccess(object) => &mut object.metadata,
        }
    }

    /// An object of a kind out of its JSON.
    ///
    /// # Errors
    ///
    /// It is none of that kind.
    pub fn from_json(kind: Kind, text: &str) -> serde_json::Result<Self> {
        Ok(match kind {
            Kind::Namespace => Self::Namespace(serde_json::from_str(text)?),
            Kind::Node => Self::Node(serde_json::from_str(text)?),
            Kind::Pod => Self::Pod(serde_json::from_str(text)?),
            Kind::Service => Self::Service(serde_json::from_str(text)?),
            Kind::NetworkPolicy => Self::NetworkPolicy(serde_json::from_str(text)?),
            Kind::ClusterNetworkPolicy => Self::ClusterNetworkPolicy(serde_json::from_str(text)?),
            Kind::SecurityZone => Self::SecurityZone(serde_json::from_str(text)?),
            Kind::ZonePolicy => Self::ZonePolicy(serde_json::from_str(text)?),
            Kind::TenantIsolation => Self::TenantIsolation(serde_json::from_str(text)?),
            Kind::MetadataFirewall => Self::MetadataFirewall(serde_json::from_str(text)?),
            Kind::MetadataAccess => Self::MetadataAccess(serde_json::from_str(text)?),
        })
    }

    /// Its kind and its JSON.
    ///
    /// # Errors
    ///
    /// It cannot be said as JSON, which no object of the API is.
    pub fn to_json(&self) -> serde_json::Result<(Kind, Box<serde_json::value::RawValue>)> {
        use serde_json::value::to_raw_value as json;
        Ok(match self {
            Self::Namespace(object) => (Kind::Namespace, json(object)?),
            Self::Node(object) => (Kind::Node, json(object)?),
            Self::Pod(object) => (Kind::Pod, json(object)?),
            Self::Service(object) => (Kind::Service, json(object)?),
            Self::NetworkPolicy(object) => (Kind::NetworkPolicy, json(object)?),
            Self::ClusterNetworkPolicy(object) => (Kind::ClusterNetworkPolicy, json(object)?),
            Self::SecurityZone(object) => (Kind::SecurityZone, json(object)?),
            Self::ZonePolicy(object) => (Kind::ZonePolicy, json(object)?),
            Self::TenantIsolation(object) => (Kind::TenantIsolation, json(object)?),
            Self::MetadataFirewall(object) => (Kind::MetadataFirewall, json(object)?),
            Self::MetadataAccess(object) => (Kind::MetadataAccess, json(object)?),
        })
    }
}

// === impl ObjectKey ===

impl ObjectKey {
    /// The key of an object; a missing namespace is `default` where there has to be one.
    #[must_use]
    pub fn new(kind: Kind, namespace: Option<&str>, name: &str) -> Self {
        let namespace = match namespace {
            _ if !kind.is_namespaced() => "",
            None | Some("") => "default",
            Some(namespace) => namespace,
        };
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
        } = self;
        match namespace.as_str() {
            "" => write!(f, "{}/{name}", kind.as_str()),
            _ => write!(f, "{}/{namespace}/{name}", kind.as_str()),
        }
    }
}

// === impl Read ===

impl Read {
    /// Where a field was read: its own line, or that of the nearest field around it.
    #[must_use]
    pub fn place(&self, field: &str) -> Origin {
        let mut path = field;
        while !path.is_empty() {
            if let Some(&line) = self.lines.get(path) {
                return Origin {
                    line,
                    ..self.origin.clone()
                };
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
        self.origin.clone()
    }
}
