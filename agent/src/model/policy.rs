//! Policies, as the API means them: defaults applied, selectors parsed.

use std::fmt;

use ipnet::IpNet;
use ringfence_common::Direction;

use super::{Origin, PortSpec, Selector};

/// Namespace and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkPolicy/{}/{}", self.namespace, self.name)
    }
}

/// A `NetworkPolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Namespace and name.
    pub key: PolicyKey,
    /// Pods of its namespace that it is about.
    pub subject: Selector,
    /// Rules for what comes in; `None` if the policy does not speak of ingress, empty if it allows nothing.
    pub ingress: Option<Vec<Rule>>,
    /// Rules for what goes out, likewise.
    pub egress: Option<Vec<Rule>>,
    /// Whether it counts.
    pub enforcement: Enforcement,
    /// Where it was read.
    pub origin: Origin,
}

impl Policy {
    /// The rules of a direction; `None` if the policy does not isolate it.
    #[must_use]
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// Whether an object counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Enforcement {
    /// It does.
    #[default]
    Enforce,
    /// Only in the staged verdict.
    Audit,
    /// It is as if it were absent.
    Disabled,
}

/// One rule: these peers, on these ports, are allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The other side; `None` is everybody (`from` or `to` absent or empty).
    pub peers: Option<Vec<Peer>>,
    /// Ports.
    pub ports: Ports,
}

/// Ports of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    /// Every protocol and port, those without ports (ICMP) included.
    #[default]
    Any,
    /// Only these; protocols without ports are not among them.
    Of(Vec<PortSpec>),
}

/// The other side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Pods.
    Pods {
        /// Namespaces; `None` is the policy's own.
        namespaces: Option<Selector>,
        /// Pods in them.
        pods: Selector,
    },
    /// Addresses.
    Block(IpBlock),
}

/// A network without some of its parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpBlock {
    /// The network, host bits cleared.
    pub cidr: IpNet,
    /// Parts that do not belong to it, host bits cleared, sorted.
    pub except: Vec<IpNet>,
}
