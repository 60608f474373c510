//! Security zones, and who may talk to whom between them.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Enforcement, Expiry, Origin, Ports, Selector};

/// A `SecurityZone`: who is in it, and what is so before any policy speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Name.
    pub name: String,
    /// Who is in it: whoever any of these names.
    pub members: Vec<Members>,
    /// What may come in.
    pub ingress: Openness,
    /// What may go out.
    pub egress: Openness,
    /// What members may say to each other.
    pub intra_zone: IntraZone,
    /// Whether it counts.
    pub enforcement: Enforcement,
    /// Where it was read.
    pub origin: Origin,
}

/// Members of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// Pods with a network of their own.
    Workloads(Workloads),
    /// Addresses; a pod or node has one of its own only where nothing selects it.
    Networks {
        /// Networks.
        cidrs: Vec<IpNet>,
        /// Parts of them that do not belong to the zone.
        except: Vec<IpNet>,
    },
    /// Nodes, with the pods that have their network.
    Nodes(Selector),
}

/// Pods, by what their authors cannot choose freely first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workloads {
    /// Namespaces.
    pub namespaces: Selector,
    /// Pods in them.
    pub pods: Selector,
    /// Service accounts; empty: any.
    pub accounts: BTreeSet<String>,
}

/// What a zone does with what no policy allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Openness {
    /// It passes.
    #[default]
    Open,
    /// It is denied, but within the zone.
    Isolated,
}

/// What members of a zone may say to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntraZone {
    /// Everything.
    #[default]
    Allow,
    /// What a policy allows.
    Deny,
}

/// A `ZonePolicy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZonePolicy {
    /// Name.
    pub name: String,
    /// Rules; their order means nothing.
    pub rules: Vec<ZoneRule>,
    /// Whether it counts.
    pub enforcement: Enforcement,
    /// In audit: flows of which either end is one of these are enforced.
    pub canary: Option<Canary>,
    /// Where it was read.
    pub origin: Origin,
}

/// One rule: these may or may not talk to those, on these ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneRule {
    /// Name, unique within its policy.
    pub name: String,
    /// What it says.
    pub action: ZoneAction,
    /// Who begins the flow; never empty.
    pub from: Vec<ZonePeer>,
    /// Whom it is for; never empty.
    pub to: Vec<ZonePeer>,
    /// Ports of the destination, without names.
    pub ports: Ports,
    /// Of a rule that denies: what it does not deny.
    pub except: Vec<ZoneException>,
    /// It may close ports of a node without which nobody gets in to mend it.
    pub acknowledge_lockout: bool,
    /// From then on it is absent.
    pub expiry: Expiry,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ZoneAction {
    /// The isolation of zones does not stand in its way.
    Allow,
    /// Denied, whatever else allows it.
    Deny,
}

/// One side of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ZonePeer {
    /// The zone of this name; nobody if there is none.
    Zone(String),
    /// A class of addresses.
    Entity(Entity),
}

/// A class of addresses that needs no zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// All.
    Any,
    /// No running pod's and no node's.
    World,
    /// Pods and nodes.
    Cluster,
    /// In no zone.
    Unzoned,
}

/// What a rule that denies does not deny; what is absent does not narrow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneException {
    /// Name, unique within its rule.
    pub name: String,
    /// Who begins the flow.
    pub from: Option<Vec<ZonePeer>>,
    /// Whom it is for.
    pub to: Option<Vec<ZonePeer>>,
    /// Ports of the destination, without names.
    pub ports: Ports,
    /// From then on it is absent.
    pub expiry: Expiry,
}

/// Pods that an audited object is enforced upon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Canary {
    /// Namespaces.
    pub namespaces: Selector,
    /// Pods in them.
    pub pods: Selector,
}

impl Members {
    /// Networks that exceptions leave something of; none of workloads and nodes.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        let (cidrs, except): (&[IpNet], &[IpNet]) = match self {
            Self::Networks { cidrs, except } => (cidrs, except),
            Self::Workloads(_) | Self::Nodes(_) => (&[], &[]),
        };
        let gone = IpNet::aggregate(&except.to_vec());
        let left = move |net: &IpNet| !gone.iter().any(|gone| gone.contains(net));
        cidrs.iter().copied().filter(left)
    }
}
