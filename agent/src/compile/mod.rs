//! The compiler: a [`Snapshot`] to [`Desired`]. Pure, deterministic, total.
//!
//! ```text
//! world    who is a subject, whose is an address           netpol   rules of NetworkPolicies
//!    └──────────────┬───────────────────────────────────────────────────┘
//! evaluator   the ruleset of a subject, the facts of an address
//!    └──► ruleset::Facing::decide ◄── the only function that decides
//!            ├──► table       decides for every (class of peers, class of ports)
//!            └──► ask         decides for one flow, and explains it
//! ```
//!
//! **Invariants.**
//! * Tables and questions go through [`ruleset::Facing::decide`]; nothing else produces a verdict.
//! * What a peer is to the rules is a set of [`fact::Fact`]s. A fact's text depends on its meaning only, so
//!   signatures stay what they are when objects that do not matter here come and go.
//! * Equal inputs give equal outputs, whatever the order in which the snapshot was filled.

mod address;
mod ask;
mod blocks;
mod deferral;
mod desired;
mod evaluator;
pub mod fact;
mod lookup;
mod metadata;
mod netpol;
pub mod ruleset;
mod selectors;
mod service;
mod signature;
mod table;
mod world;

use std::net::IpAddr;

use ringfence_common::{
    Direction,
    endpoint::{MAX_ADDRESSES4, MAX_ADDRESSES6},
};

use self::{
    evaluator::{Evaluator, Subjects},
    signature::Signatures,
};
use crate::model::{Diagnostic, Located, Pod, PodKey, Snapshot};

pub use ask::{Answer, Asker, Family, Judgement, Party, Question, ask};
pub use desired::{Desired, DesiredCell, Endpoint, Signature, Table, Translated, is_pod};
pub use metadata::AnnotatedPods;
pub use service::resolve_service;

/// What the compiler is told besides the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whose annotations count as a request for metadata access.
    pub annotated_pods: AnnotatedPods,
    /// True if `iam.amazonaws.com/role` counts as `metadata.ringfence.dev/access`.
    pub iam_role_annotation: bool,
}

/// What the maps of the node should hold, and what is wrong with single objects.
#[must_use]
pub fn compile(snapshot: &Snapshot, options: &Options) -> (Desired, Vec<Diagnostic>) {
    let evaluator = Evaluator::new(snapshot, Subjects::Local);
    let signatures = Signatures::new(&evaluator);
    let mut tables = table::Tables::new(&evaluator, &signatures);
    let mut desired = Desired {
        signatures: signatures.texts.clone(),
        addresses: signatures.addresses.clone(),
        node_addresses: snapshot
            .node_addresses
            .iter()
            .map(IpAddr::to_canonical)
            .collect(),
        other_nodes: deferral::other_nodes(snapshot),
        services: deferral::translated(snapshot),
        ..Desired::default()
    };
    let mut surplus = Vec::new();
    for (key, located) in &snapshot.local {
        if !evaluator.world.is_subject(key) {
            continue;
        }
        let Some(pod) = snapshot.pods.get(key) else {
            continue;
        };
        let endpoint = Endpoint {
            uid: pod.uid.clone(),
            located: located.clone(),
            addresses: world::own_addresses(pod, Some(located)),
            ingress: tables.index(evaluator.ruleset_index(key, Direction::Ingress)),
            egress: tables.index(evaluator.ruleset_index(key, Direction::Egress)),
            metadata_granted: metadata::granted(pod, key, snapshot, options),
            cgroup: pod
                .cgroup
                .clone()
                .unwrap_or_else(|| format!("{}_{}", key.namespace, key.name)),
        };
        surplus.extend(surplus_addresses(pod, &endpoint));
        desired.endpoints.insert(key.clone(), endpoint);
    }
    (desired.rules, desired.tables) = tables.finish();
    let mut diagnostics = evaluator.into_diagnostics();
    diagnostics.extend(surplus);
    (desired, diagnostics)
}

/// Says which addresses of a pod do not fit its record: nothing can be sent from them.
fn surplus_addresses(pod: &Pod, endpoint: &Endpoint) -> Option<Diagnostic> {
    let (v4, v6): (Vec<_>, Vec<_>) = endpoint
        .sender_addresses()
        .into_iter()
        .partition(|address| address.is_ipv4());
    let surplus: Vec<String> = v4
        .iter()
        .skip(MAX_ADDRESSES4)
        .chain(v6.iter().skip(MAX_ADDRESSES6))
        .map(ToString::to_string)
        .collect();
    (!surplus.is_empty()).then(|| Diagnostic {
        origin: pod.origin.clone(),
        object: format!("Pod/{}", pod.key),
        field: "status.podIPs".to_owned(),
        message: format!(
            "a pod may have {MAX_ADDRESSES4} IPv4 and {MAX_ADDRESSES6} IPv6 addresses, those of its interface included; \
             what it sends from {} is dropped",
            surplus.join(", ")
        ),
    })
}

/// The same snapshot as if every pod were on this node: what offline commands compile.
///
/// Interfaces are made up (index 0, no name); pods that have none already.
#[must_use]
pub fn as_if_local(snapshot: &Snapshot) -> Snapshot {
    let mut everywhere = snapshot.clone();
    for key in snapshot.pods.keys() {
        everywhere
            .local
            .entry(PodKey::clone(key))
            .or_insert_with(|| Located {
                ifindex: 0,
                interface: String::new(),
                hardware_address: None,
                addresses: Vec::new(),
            });
    }
    everywhere
}
