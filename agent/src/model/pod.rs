//! Pods.

use std::{fmt, net::IpAddr, sync::Arc};

use super::{Labels, Origin, Protocol};

/// Namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl PodKey {
    /// The key by which the node itself is one of its endpoints: no pod has it, for pods have a namespace.
    #[must_use]
    pub fn of_node(name: &str) -> Self {
        Self {
            namespace: String::new(),
            name: name.to_owned(),
        }
    }

    /// True for the node itself.
    #[must_use]
    pub const fn is_node(&self) -> bool {
        self.namespace.is_empty()
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_node() {
            // A colon: no pod's namespace has one.
            return write!(f, "node:{}", self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod, as far as traffic is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub key: PodKey,
    /// UID; empty where a manifest has none. Another UID is another incarnation.
    pub uid: String,
    /// Labels.
    pub labels: Labels,
    /// Addresses (`status.podIPs`, else `status.podIP`).
    pub addresses: Vec<IpAddr>,
    /// Ports of its containers, sidecars (restartable init containers) included.
    pub ports: Arc<[ContainerPort]>,
    /// Phase.
    pub phase: Phase,
    /// `metadata.deletionTimestamp` is set: it is going, and until it is gone it counts.
    pub terminating: bool,
    /// It has the node's network: neither subject nor pod peer.
    pub host_network: bool,
    /// Node it is bound to.
    pub node: Option<Arc<str>>,
    /// Service account.
    pub service_account: Arc<str>,
    /// Controller that owns it.
    pub owner: Option<Arc<Owner>>,
    /// Where it is on this machine, in standalone mode.
    pub place: Option<Place>,
    /// Its own cgroup below the pods' root, in standalone mode; absent: `NAMESPACE_NAME`.
    pub cgroup: Option<String>,
    /// Annotations that the metadata firewall may count as a request for access: keys and values of
    /// `metadata.ringfence.dev/access` and `iam.amazonaws.com/role`, if present and not empty.
    pub metadata_requests: Labels,
    /// Where it was read.
    pub origin: Origin,
}

impl Pod {
    /// False for a pod that has ended: its address may be another's by now.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Name of its cgroup below the pods' root, if it has one of its own.
    #[must_use]
    pub fn cgroup_name(&self) -> String {
        let PodKey { namespace, name } = &self.key;
        let own = self.cgroup.clone();
        own.unwrap_or_else(|| format!("{namespace}_{name}"))
    }
}

/// `status.phase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Not all containers have started, or no phase was given.
    #[default]
    Pending,
    /// Running.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// The node cannot be asked.
    Unknown,
}

/// A port of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerPort {
    /// Name, if it has one.
    pub name: Option<String>,
    /// Number.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the node that leads here.
    pub host_port: Option<u16>,
}

/// The controller of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Kind, such as `ReplicaSet`.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// Annotation: name of the pod's network namespace.
pub const NETNS_ANNOTATION: &str = "ringfence.dev/netns";
/// Annotation: name of the pod's host-side interface.
pub const INTERFACE_ANNOTATION: &str = "ringfence.dev/interface";
/// Annotation: the pod's cgroup, below the pods' root.
pub const CGROUP_ANNOTATION: &str = "ringfence.dev/cgroup";
/// Annotations that say where a pod is: believed of manifests, not of a cluster's objects.
pub const PLACE_ANNOTATIONS: [&str; 3] =
    [NETNS_ANNOTATION, INTERFACE_ANNOTATION, CGROUP_ANNOTATION];

/// How to find a pod's host-side interface in standalone mode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Annotation `ringfence.dev/netns`: name of its network namespace.
    Netns(String),
    /// Annotation `ringfence.dev/interface`: name of the host-side interface.
    Interface(String),
}

/// A local pod's host-side interface, as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Index of the host-side interface.
    pub ifindex: u32,
    /// Name of the host-side interface.
    pub interface: String,
    /// Hardware address of the pod's own interface, if it could be read.
    pub hardware_address: Option<[u8; 6]>,
    /// Addresses on the pod's own interface, link-local ones included; empty if they could not be read.
    pub addresses: Vec<IpAddr>,
}

impl Located {
    /// Where the node itself is: at an index that no device has.
    #[must_use]
    pub const fn of_node() -> Self {
        Self {
            ifindex: 0,
            interface: String::new(),
            hardware_address: None,
            addresses: Vec::new(),
        }
    }
}

/// A device of the node's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostDevice {
    /// Its index.
    pub ifindex: u32,
    /// What it is.
    pub kind: HostKind,
    /// Its packets have an Ethernet header.
    pub ethernet: bool,
    /// The UDP port at which it opens what comes in, if it is such a tunnel.
    pub listens: Option<u16>,
}

/// What a device of the node's own is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostKind {
    /// It leads off the node.
    Uplink,
    /// It opens what comes in.
    Tunnel,
    /// What crosses it is judged elsewhere: it is no pod's, and has no programs.
    Bridge,
    /// What is forwarded there is judged elsewhere, and what the node sends there by itself is not: an end of a pair of which the
    /// node has both, a port of a bond.
    Inner,
}

impl HostKind {
    /// True if packets leave the node there.
    #[must_use]
    pub const fn leads_off(self) -> bool {
        matches!(self, Self::Uplink | Self::Tunnel)
    }
}
