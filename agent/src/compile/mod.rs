//! The compiler: a [`Snapshot`] to [`Desired`]. Pure, deterministic, total.
//!
//! ```text
//! world    who is a subject, whose is an address           policies, netpol   rules of NetworkPolicies
//!    └──────────────┬───────────────────────────────────────────────────┘
//! evaluator   the ruleset of a subject, the facts of an address; peers, blocks: found by what they are
//!    └──► ruleset::Facing::decide ◄── the only function that decides
//!            ├──► table       decides for every (class of peers, class of ports)
//!            └──► ask         decides for one flow, and explains it
//! compiler    signatures and tables, brought from one snapshot to the next
//! ```
//!
//! Everything is kept up to date by what differs between two snapshots: an event's cost follows what it changes.
//!
//! **Invariants.**
//! * Tables and questions go through [`ruleset::Facing::decide`]; nothing else produces a verdict.
//! * What a peer is to the rules is a set of [`fact::Fact`]s. A fact's text depends on its meaning only, so
//!   signatures stay what they are when objects that do not matter here come and go.
//! * Equal inputs give equal outputs, whatever the order in which the snapshot was filled.

mod address;
mod ask;
mod blocks;
mod census;
mod cluster;
mod compiler;
mod counted;
mod deferral;
mod desired;
mod evaluator;
pub mod fact;
mod layer;
mod lookup;
mod metadata;
mod names;
mod netpol;
mod nodes;
mod owned;
mod part;
mod peers;
mod policies;
mod ports;
pub mod ruleset;
mod rulesets;
mod selectors;
mod service;
mod signature;
mod table;
mod tables;
mod world;
mod zones;

use crate::model::{Diagnostic, Host, Located, PodKey, Snapshot};

pub use ask::{Answer, Asker, Family, Judgement, Member, Membership, Party, Question, ask};
pub use census::{Census, census};
pub use compiler::Compiler;
pub use desired::{
    Desired, DesiredCell, Endpoint, HostPod, Row, Rows, Signature, Table, Translated, encapsulates,
    is_pod,
};
pub use metadata::{
    Access, AnnotatedPods, Because, Denied, Grantor, Metadata, grants_of, is_of_this_node, missing,
};
pub use owned::{NetworkPolicy, owned_by_cni, without_network_policy};
pub use service::{resolve_service, service_at};

/// What the compiler is told besides the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// This node's name; `None`: pods of its network are those that say where their cgroup is.
    pub node: Option<String>,
    /// The pod that this runs in: it needs no grant.
    pub agent: Option<PodKey>,
    /// Whose annotations count as a grant of metadata access, where no `MetadataFirewall` says otherwise.
    pub annotated_pods: AnnotatedPods,
    /// True if `iam.amazonaws.com/role` counts as `metadata.ringfence.dev/access`.
    pub iam_role_annotation: bool,
    /// How the node itself is judged; `None`: not at all.
    pub host: Option<Host>,
    /// Who enforces `NetworkPolicy` and `ClusterNetworkPolicy`.
    pub network_policy: NetworkPolicy,
}

/// What the maps of the node should hold, and what is wrong with single objects: what a fresh [`Compiler`] says, with
/// numbers that depend on content only.
#[must_use]
pub fn compile(snapshot: &Snapshot, options: &Options) -> (Desired, Vec<Diagnostic>) {
    let (desired, diagnostics) = Compiler::new(options.clone()).update(snapshot);
    (compiler::canonical(desired), diagnostics)
}

/// The same snapshot as if every pod were on this node: what offline commands compile.
///
/// Interfaces are made up (index 0, no name); pods that have none already.
#[must_use]
pub fn as_if_local(snapshot: &Snapshot) -> Snapshot {
    let mut everywhere = snapshot.clone();
    for key in snapshot.pods.keys() {
        if !everywhere.local.contains_key(key) {
            let nowhere = Located {
                ifindex: 0,
                interface: String::new(),
                hardware_address: None,
                addresses: Vec::new(),
            };
            everywhere.local.insert(key.clone(), nowhere);
        }
    }
    everywhere
}
