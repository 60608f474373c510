//! What the node's maps should hold, by content: no number of a map is in it, so two equal clusters
//! have equal values here, whatever came before.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use imbl::{OrdMap, OrdSet};
use ipnet::IpNet;
use ringfence_common::cell::{Tier, Verdict};

use super::{
    fact::{ENCAPSULATES, POD},
    metadata::{Access, Metadata},
};
use crate::{
    model::{Located, Objects, PodKey, Protocol},
    paged::Paged,
};

/// What the node's maps should hold. A clone is a few pointers, and comparing a state with the one before costs what
/// differs: parts that did not change are shared.
///
/// Rules, signatures and tables are known by numbers. From one state of a [`super::Compiler`] to the next a number never
/// means something else; those of [`super::compile`] count up from 0 in the order of content, and are always the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Names of all rules that cells name; each once.
    pub rules: Objects<usize, String>,
    /// What addresses have in common; each once. Number 0 is the empty one: of every address that is not listed.
    pub signatures: Objects<usize, Signature>,
    /// Every pod's address, and every network that any table asks about. A network of full length is an
    /// exact address. The value is a number of `signatures`.
    pub addresses: OrdMap<IpNet, usize>,
    /// Tables, each once, whatever the number of endpoints that share it.
    pub tables: Objects<usize, Table>,
    /// Pods of this node; and the node itself, if it is judged ([`PodKey::is_node`]).
    pub endpoints: Objects<PodKey, Endpoint>,
    /// Addresses of the node itself.
    pub node_addresses: BTreeSet<IpAddr>,
    /// Addresses that other nodes of the cluster listen to: theirs, and the broadcast addresses of this node's networks.
    pub other_nodes: BTreeSet<IpAddr>,
    /// Those of them that are broadcast addresses, which this node listens to as well.
    pub broadcasts: BTreeSet<IpAddr>,
    /// Destinations that the node translates: egress to them is judged after that.
    pub services: OrdSet<Translated>,
    /// What the metadata firewall denies.
    pub metadata: Arc<Metadata>,
    /// Pods of this node that have its network: they have no interface, only a cgroup.
    pub host_network: Objects<PodKey, HostPod>,
}

/// A pod of this node that has its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPod {
    /// UID.
    pub uid: String,
    /// Its cgroup below the pods' root.
    pub cgroup: String,
    /// What of the metadata services it may reach.
    pub metadata: Arc<Access>,
}

/// A destination that the node translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Translated {
    /// Cluster, external or load balancer address; `None`: any address of the node (a node or host port).
    pub address: Option<IpAddr>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
}

/// All that selectors and networks say about an address: sorted, each once. Opaque to everybody but the compiler, but
/// for [`is_pod`] and [`encapsulates`].
pub type Signature = Vec<Arc<str>>;

/// True for a signature that only running pods' addresses have.
#[must_use]
pub fn is_pod(signature: &Signature) -> bool {
    signature.iter().any(|fact| **fact == *POD)
}

/// True for a signature that only addresses of pods have that may send encapsulated packets to nodes.
#[must_use]
pub fn encapsulates(signature: &Signature) -> bool {
    signature.iter().any(|fact| **fact == *ENCAPSULATES)
}

/// What one class of peers gets, column by column.
pub type Row = Arc<[DesiredCell]>;

/// Rows by class. A clone is a few pointers.
pub type Rows = imbl::Vector<Row>;

/// One decision table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Columns: classes of (protocol, port). Column 0 is that of protocols without ports.
    pub columns: usize,
    /// For each protocol the first port of every run of ports with one column, and that column; the first
    /// run begins at port 0, and neighbouring runs differ. Same order as [`Protocol::ALL`].
    pub ports: [Vec<(u16, usize)>; Protocol::ALL.len()],
    /// Rows: classes of peers, `columns` cells each, no two alike. Row 0 is that of unlisted addresses.
    pub rows: Rows,
    /// The row of each signature, by its number; row 0 if it is not listed.
    pub classes: Paged<u32>,
    /// True if an address that is no pod's must be looked up among the networks.
    pub looks_at_networks: bool,
}

impl Table {
    /// The row of a signature.
    #[must_use]
    pub fn class(&self, signature: usize) -> usize {
        self.classes.get(signature) as usize
    }

    /// True if this is `other` with more rows behind its own, or with as many.
    #[must_use]
    pub fn grew_from(&self, other: &Self) -> bool {
        self.columns == other.columns
            && self.looks_at_networks == other.looks_at_networks
            && self.ports == other.ports
            && self.rows.len() >= other.rows.len()
            && (self.follows(other) || self.rows.iter().zip(&other.rows).all(|(a, b)| a == b))
    }

    /// True of another state of the same table, which a copy of its first row shows. Rows are only ever put behind others, and
    /// a signature, once known, stays in its row: so both say the same of everybody whom both know.
    #[must_use]
    pub fn follows(&self, other: &Self) -> bool {
        match (self.rows.front(), other.rows.front()) {
            (Some(own), Some(theirs)) => Arc::ptr_eq(own, theirs),
            _ => false,
        }
    }

    /// The rows from this one on.
    pub fn rows_from(&self, first: usize) -> impl Iterator<Item = &Row> + Clone {
        (first..self.rows.len()).filter_map(|at| self.rows.get(at))
    }
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DesiredCell {
    /// What counts.
    pub live: Verdict,
    /// What would count if everything in audit were enforced.
    pub staged: Verdict,
    /// The tier that decided.
    pub tier: Tier,
    /// The rule that decided, a number of [`Desired::rules`]; `None` in tier `Default`.
    pub rule: Option<usize>,
    /// What counts is a denial by a `ZonePolicy`: it binds the pod's own node, too.
    pub binds_own_node: bool,
    /// What would count is one.
    pub would_bind_own_node: bool,
}

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// UID; another one is another incarnation.
    pub uid: String,
    /// Its interface.
    pub located: Located,
    /// Its addresses: the pod's own, else its interface's.
    pub addresses: Vec<IpAddr>,
    /// Number of the table for what comes in; `None`: not isolated.
    pub ingress: Option<usize>,
    /// Number of the table for what goes out; `None`: not isolated.
    pub egress: Option<usize>,
    /// What of the metadata services it may reach.
    pub metadata: Arc<Access>,
    /// It may send encapsulated packets to nodes.
    pub encapsulates: bool,
    /// Its cgroup below the pods' root.
    pub cgroup: String,
}

impl Endpoint {
    /// Every address that the pod may send from: its own, and what its interface has on the link. Other addresses of the
    /// interface are not believed where the pod's are known: the pod itself may have put them there.
    #[must_use]
    pub fn sender_addresses(&self) -> Vec<IpAddr> {
        let mut all = Vec::new();
        let on_the_link = self.located.addresses.iter().filter(
            |address| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()),
        );
        for address in self.addresses.iter().chain(on_the_link) {
            let address = address.to_canonical();
            if !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }
}
