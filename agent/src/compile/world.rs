//! Who is a subject, who is a peer, and whose is an address.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use super::{address::is_link_local, layer::ByFamily};
use crate::model::{ContainerPort, Diagnostic, Labels, Located, Pod, PodKey};

/// What rules can tell of a pod but its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// Namespace.
    pub(super) namespace: String,
    /// Labels.
    pub(super) labels: Labels,
    /// Container ports.
    pub(super) ports: Arc<[ContainerPort]>,
    /// Service account.
    pub(super) account: Arc<str>,
}

impl Kind {
    /// A pod's.
    pub(super) fn of(pod: &Pod) -> Self {
        Self {
            namespace: pod.key.namespace.clone(),
            labels: pod.labels.clone(),
            ports: pod.ports.clone(),
            account: Arc::clone(&pod.service_account),
        }
    }
}

/// Pods of one kind.
#[derive(Debug)]
pub(super) struct Group {
    /// What they are.
    pub(super) kind: Arc<Kind>,
    /// How many.
    pub(super) pods: usize,
    /// How many of them are subjects, by the zones that their addresses are in.
    pub(super) subjects: BTreeMap<ByFamily, usize>,
    /// Addresses that they claim, in no order.
    pub(super) addresses: Vec<IpAddr>,
}

/// Number of a group; one that has no pods any more may become another's.
pub(super) type GroupId = usize;

/// A pod that says that an address is its own.
#[derive(Clone, Debug)]
pub(super) struct Claimant {
    /// The pod.
    pub(super) pod: Arc<Pod>,
    /// Its group.
    pub(super) group: GroupId,
    /// It is on this node.
    pub(super) local: bool,
}

#[derive(Debug)]
enum Claim {
    One(Claimant),
    /// By key.
    Several(Vec<Claimant>),
}

/// The pods that count, by what rules can say about them.
#[derive(Debug, Default)]
pub(super) struct World {
    groups: Vec<Option<Group>>,
    free: Vec<GroupId>,
    by_kind: HashMap<Arc<Kind>, GroupId>,
    by_namespace: HashMap<String, BTreeSet<GroupId>>,
    claims: HashMap<IpAddr, Claim>,
    /// Addresses with several claimants.
    disputed: BTreeSet<IpAddr>,
}

impl World {
    /// A pod joins: its group, and its addresses.
    pub(super) fn join(
        &mut self,
        pod: &Arc<Pod>,
        located: Option<&Located>,
        subject: Option<&ByFamily>,
    ) -> (GroupId, Vec<IpAddr>) {
        let kind = Kind::of(pod);
        let id = match self.by_kind.get(&kind) {
            Some(&id) => id,
            None => self.add(kind),
        };
        let addresses = peer_addresses(pod, located);
        if let Some(group) = self.groups[id].as_mut() {
            group.pods += 1;
            if let Some(zones) = subject {
                *group.subjects.entry(zones.clone()).or_default() += 1;
            }
            group.addresses.extend(&addresses);
        }
        for &address in &addresses {
            self.claim(
                address,
                Claimant {
                    pod: Arc::clone(pod),
                    group: id,
                    local: located.is_some(),
                },
            );
        }
        (id, addresses)
    }

    /// A pod leaves that joined exactly so.
    pub(super) fn leave(
        &mut self,
        pod: &Pod,
        located: Option<&Located>,
        subject: Option<&ByFamily>,
    ) -> Option<(GroupId, Vec<IpAddr>)> {
        let id = *self.by_kind.get(&Kind::of(pod))?;
        let group = self.groups[id].as_mut()?;
        let addresses = peer_addresses(pod, located);
        group.pods -= 1;
        if let Some(zones) = subject
            && let Entry::Occupied(mut left) = group.subjects.entry(zones.clone())
        {
            *left.get_mut() -= 1;
            if *left.get() == 0 {
                left.remove();
            }
        }
        for address in &addresses {
            if let Some(at) = group.addresses.iter().position(|it| it == address) {
                group.addresses.swap_remove(at);
            }
        }
        for &address in &addresses {
            self.disclaim(address, &pod.key);
        }
        Some((id, addresses))
    }

    /// Forgets a group that has no pods.
    pub(super) fn forget(&mut self, id: GroupId) {
        if let Some(group) = self.groups[id].take() {
            self.by_kind.remove(&group.kind);
            let namespace = &group.kind.namespace;
            if let Some(groups) = self.by_namespace.get_mut(namespace) {
                groups.remove(&id);
                if groups.is_empty() {
                    self.by_namespace.remove(namespace);
                }
            }
            self.free.push(id);
        }
    }

    /// A group.
    pub(super) fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id)?.as_ref()
    }

    /// The group of a pod that has joined.
    pub(super) fn group_of(&self, pod: &Pod) -> Option<GroupId> {
        self.by_kind.get(&Kind::of(pod)).copied()
    }

    /// All groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        let groups = self.groups.iter().enumerate();
        groups.filter_map(|(id, group)| Some((id, group.as_ref()?)))
    }

    /// Groups of a namespace, ascending.
    pub(super) fn groups_in(&self, namespace: &str) -> impl Iterator<Item = GroupId> + '_ {
        self.by_namespace
            .get(namespace)
            .into_iter()
            .flatten()
            .copied()
    }

    /// Namespaces that have groups.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.by_namespace.keys().map(String::as_str)
    }

    /// The pod whose an address is. One address, several pods: the local one knows best.
    pub(super) fn owner(&self, address: IpAddr) -> Option<&Claimant> {
        match self.claims.get(&address)? {
            Claim::One(only) => Some(only),
            Claim::Several(several) => {
                let mut local = several.iter().filter(|it| it.local);
                let first = local.next()?;
                local.next().is_none().then_some(first)
            }
        }
    }

    /// Groups of all pods that say that an address is their own.
    pub(super) fn claimants(&self, address: IpAddr) -> impl Iterator<Item = GroupId> + '_ {
        let claimants = match self.claims.get(&address) {
            Some(Claim::One(only)) => std::slice::from_ref(only),
            Some(Claim::Several(several)) => several,
            None => &[],
        };
        claimants.iter().map(|it| it.group)
    }

    /// True if any pod says that it is its own.
    pub(super) fn is_claimed(&self, address: IpAddr) -> bool {
        self.claims.contains_key(&address)
    }

    /// Addresses that several pods claim.
    pub(super) fn disputed(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.disputed.iter().copied()
    }

    /// What is wrong with addresses that several pods claim.
    pub(super) fn diagnostics(&self) -> impl Iterator<Item = Diagnostic> + '_ {
        self.disputed.iter().flat_map(|&address| {
            let claimants: &[Claimant] = match self.claims.get(&address) {
                Some(Claim::Several(several)) => several,
                _ => &[],
            };
            let names: Vec<String> = claimants.iter().map(|it| it.pod.key.to_string()).collect();
            let consequence = match self.owner(address) {
                Some(owner) => format!(
                    "it counts as that of {}, which is on this node",
                    owner.pod.key
                ),
                None => "it counts as what all of them are, in the zones of each".to_owned(),
            };
            let message = format!(
                "{address} is claimed by {}: {consequence}; \
                 delete the pod that no longer has it, or correct its address",
                names.join(", ")
            );
            claimants.iter().map(move |claimant| Diagnostic {
                origin: claimant.pod.origin.clone(),
                object: format!("Pod/{}", claimant.pod.key),
                field: "status.podIPs".to_owned(),
                message: message.clone(),
            })
        })
    }

    fn add(&mut self, kind: Kind) -> GroupId {
        let kind = Arc::new(kind);
        let group = Group {
            kind: Arc::clone(&kind),
            pods: 0,
            subjects: BTreeMap::new(),
            addresses: Vec::new(),
        };
        let id = self.free.pop().unwrap_or_else(|| {
            self.groups.push(None);
            self.groups.len() - 1
        });
        let namespace = self.by_namespace.entry(kind.namespace.clone());
        namespace.or_default().insert(id);
        self.groups[id] = Some(group);
        self.by_kind.insert(kind, id);
        id
    }

    fn claim(&mut self, address: IpAddr, claimant: Claimant) {
        let claim = match self.claims.remove(&address) {
            None => Claim::One(claimant),
            Some(claim) => {
                let mut several = match claim {
                    Claim::One(only) => vec![only],
                    Claim::Several(several) => several,
                };
                let at = several.partition_point(|it| it.pod.key < claimant.pod.key);
                several.insert(at, claimant);
                self.disputed.insert(address);
                Claim::Several(several)
            }
        };
        self.claims.insert(address, claim);
    }

    fn disclaim(&mut self, address: IpAddr, key: &PodKey) {
        let left = match self.claims.remove(&address) {
            Some(Claim::Several(several)) => several
                .into_iter()
                .filter(|it| it.pod.key != *key)
                .collect(),
            Some(Claim::One(_)) | None => Vec::new(),
        };
        let claim = match <[Claimant; 1]>::try_from(left) {
            Ok([only]) => {
                self.disputed.remove(&address);
                Claim::One(only)
            }
            Err(several) if several.is_empty() => return,
            Err(several) => Claim::Several(several),
        };
        self.claims.insert(address, claim);
    }
}

/// True for pods that can be subjects and peers: they run and have a network of their own.
pub(super) fn is_member(pod: &Pod) -> bool {
    pod.is_running() && !pod.host_network
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
