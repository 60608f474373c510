//! Objects as a source delivers them.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::api::{
    core::v1::{Namespace, Node, Pod, Service},
    networking::v1::NetworkPolicy,
};

use crate::model::{Diagnostic, Origin};

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
    /// Of a policy, what could be read of its metadata, `podSelector` and `policyTypes`, so that its
    /// subjects can be isolated if no good state of it is known.
    pub remnant: Option<Box<NetworkPolicy>>,
    /// What is wrong with it; never empty.
    pub diagnostics: Vec<Diagnostic>,
}

// === impl Kind ===

impl Kind {
    /// All of them, in the order in which a source delivers them.
    pub const ALL: [Self; 5] = [
        Self::Namespace,
        Self::Node,
        Self::Pod,
        Self::Service,
        Self::NetworkPolicy,
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
        }
    }

    /// The version that is read, as in `apiVersion:`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "networking.k8s.io/v1",
            Self::Namespace | Self::Node | Self::Pod | Self::Service => "v1",
        }
    }

    /// True if its objects are in namespaces.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node)
    }

    /// The kind of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
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
