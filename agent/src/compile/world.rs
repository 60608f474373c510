//! Who is a subject, who is a peer, and whose is an address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::address::is_link_local;
use crate::model::{ContainerPort, Diagnostic, Labels, Located, Pod, PodKey, Snapshot};

/// Pods that no rule can tell apart but by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group<'a> {
    /// Namespace.
    pub(super) namespace: &'a str,
    /// Labels.
    pub(super) labels: &'a Labels,
    /// Container ports.
    pub(super) ports: &'a [ContainerPort],
}

/// Number of a group.
pub(super) type GroupId = usize;

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    /// This pod's.
    Pod(&'a PodKey),
    /// Several pods claim it, so it is none's: only networks hold it.
    Disputed,
}

/// The pods that count, by what rules can say about them.
#[derive(Debug, Default)]
pub(super) struct World<'a> {
    /// Groups, by number.
    pub(super) groups: Vec<Group<'a>>,
    /// Pods that can be subjects and peers: they run and have a network of their own.
    pub(super) members: BTreeMap<&'a PodKey, GroupId>,
    /// Addresses of the members.
    pub(super) owners: BTreeMap<IpAddr, Owner<'a>>,
}

impl<'a> World<'a> {
    /// Looks at everybody.
    pub(super) fn new(snapshot: &'a Snapshot, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut world = Self::default();
        let mut ids = BTreeMap::new();
        let mut claims: BTreeMap<IpAddr, Vec<&'a PodKey>> = BTreeMap::new();
        for (key, pod) in &snapshot.pods {
            if !is_member(pod) {
                continue;
            }
            let group = Group {
                namespace: &key.namespace,
                labels: &pod.labels,
                ports: &pod.ports,
            };
            let id = *ids.entry(group).or_insert_with(|| {
                world.groups.push(group);
                world.groups.len() - 1
            });
            world.members.insert(key, id);
            for address in peer_addresses(pod, snapshot.local.get(key)) {
                claims.entry(address).or_default().push(key);
            }
        }
        for (address, claimants) in claims {
            let owner = match claimants.as_slice() {
                [only] => Owner::Pod(only),
                several => dispute(address, several, snapshot, diagnostics),
            };
            world.owners.insert(address, owner);
        }
        world
    }

    /// True if the pod's traffic is judged.
    pub(super) fn is_subject(&self, key: &PodKey) -> bool {
        self.members.contains_key(key)
    }
}

fn is_member(pod: &Pod) -> bool {
    pod.is_running() && !pod.host_network
}

/// One address, several pods: the local one knows best. Otherwise nobody gets what another may have been granted.
fn dispute<'a>(
    address: IpAddr,
    claimants: &[&'a PodKey],
    snapshot: &Snapshot,
    diagnostics: &mut Vec<Diagnostic>,
) -> Owner<'a> {
    let mut local = claimants
        .iter()
        .filter(|&&key| snapshot.local.contains_key(key));
    let (owner, consequence) = match (local.next(), local.next()) {
        (Some(only), None) => (
            Owner::Pod(only),
            format!("it counts as that of {only}, which is on this node"),
        ),
        _ => (
            Owner::Disputed,
            "it counts as no pod's, only ipBlocks match it".to_owned(),
        ),
    };
    let names: Vec<String> = claimants.iter().map(ToString::to_string).collect();
    for &claimant in claimants {
        let Some(pod) = snapshot.pods.get(claimant) else {
            continue;
        };
        diagnostics.push(Diagnostic {
            origin: pod.origin.clone(),
            object: format!("Pod/{claimant}"),
            field: "status.podIPs".to_owned(),
            message: format!(
                "{address} is claimed by {}: {consequence}; \
                 delete the pod that no longer has it, or correct its address",
                names.join(", ")
            ),
        });
    }
    owner
}

/// The pod's addresses as its endpoint has them: its own, else those of its interface.
pub(super) fn own_addresses(pod: &Pod, located: Option<&Located>) -> Vec<IpAddr> {
    let from: &[IpAddr] = match located {
        Some(located) if pod.addresses.is_empty() => &located.addresses,
        _ => &pod.addresses,
    };
    let mut seen = BTreeSet::new();
    from.iter()
        .map(IpAddr::to_canonical)
        .filter(|address| seen.insert(*address))
        .collect()
}

/// The pod's addresses as others see them: without those of its interface that mean nothing elsewhere.
pub(super) fn peer_addresses(pod: &Pod, located: Option<&Located>) -> Vec<IpAddr> {
    let mut addresses = own_addresses(pod, located);
    if pod.addresses.is_empty() {
        addresses.retain(|&address| !is_link_local(address));
    }
    addresses
}
