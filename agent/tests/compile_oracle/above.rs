//! The naive evaluator's tiers around `NetworkPolicy`: zones, tenants, cluster policy. It looks at flows, from one end to
//! the other, where the compiler looks at subjects and peers.

use std::{collections::BTreeSet, net::IpAddr};

use ringfence_agent::model::{
    Canary, ClusterAction, ClusterPeer, ClusterPolicy, ClusterTier, Enforcement, Entity, Expiry,
    IntraZone, Labels, Members, Openness, Pod, PodKey, Protocol, Snapshot, TenantIsolation,
    TenantMode, Workloads, Zone, ZoneAction, ZonePeer, ZonePolicy,
};
use ringfence_common::Direction;

use super::oracle::{Said, are_all, bits, holds, is_port, labels_of, owners, selects};

/// One flow, looked at where a pod is one of its ends.
pub struct Flow<'a> {
    snapshot: &'a Snapshot,
    direction: Direction,
    from: End<'a>,
    to: End<'a>,
    port: Option<(Protocol, u16)>,
    staged: bool,
}

/// One end.
struct End<'a> {
    /// The pod; several, if it cannot be told which.
    pods: Vec<(&'a PodKey, &'a Pod)>,
    /// A pod's or a node's.
    in_cluster: bool,
    /// Labels of the nodes that have the address.
    nodes: Vec<Labels>,
    address: Option<IpAddr>,
    zones: BTreeSet<String>,
}

impl<'a> Flow<'a> {
    pub fn new(
        snapshot: &'a Snapshot,
        pod: &PodKey,
        direction: Direction,
        peer: IpAddr,
        port: Option<(Protocol, u16)>,
        staged: bool,
    ) -> Self {
        let (key, subject) = snapshot.pods.get_key_value(pod).unwrap();
        let mut zones = zones_of_pod(snapshot, key, subject, staged);
        if zones.is_empty() {
            // Whichever of its addresses of this family it talks from.
            for address in own_addresses(snapshot, key, subject) {
                if bits(address).0 == bits(peer).0 {
                    zones.extend(zones_of_address(snapshot, address, staged));
                }
            }
        }
        let subject = End {
            pods: vec![(key, subject)],
            in_cluster: true,
            nodes: Vec::new(),
            address: None,
            zones,
        };
        let other = End::at(snapshot, peer, staged);
        let (from, to) = match direction {
            Direction::Ingress => (other, subject),
            Direction::Egress => (subject, other),
        };
        Self {
            snapshot,
            direction,
            from,
            to,
            port,
            staged,
        }
    }

    /// Rules that deny it.
    pub fn denials(&self) -> BTreeSet<String> {
        let mut by = BTreeSet::new();
        for policy in self.policies() {
            for rule in &policy.rules {
                if rule.action != ZoneAction::Deny || self.is_over(rule.expiry) {
                    continue;
                }
                let matches = is_any(&rule.from, &self.from)
                    && is_any(&rule.to, &self.to)
                    && is_port(&rule.ports, self.port, &[]);
                let excepted = rule.except.iter().any(|except| {
                    !self.is_over(except.expiry)
                        && except
                            .from
                            .as_ref()
                            .is_none_or(|it| is_surely(it, &self.from))
                        && except.to.as_ref().is_none_or(|it| is_surely(it, &self.to))
                        && is_port(&except.ports, self.port, &[])
                });
                if matches && !excepted {
                    by.insert(format!("ZonePolicy/{} rule {}", policy.name, rule.name));
                }
            }
        }
        by
    }

    /// Zones whose isolation denies it.
    pub fn isolation(&self) -> BTreeSet<String> {
        let allowed = self.policies().any(|policy| {
            policy.rules.iter().any(|rule| {
                rule.action == ZoneAction::Allow
                    && !self.is_over(rule.expiry)
                    && is_surely(&rule.from, &self.from)
                    && is_surely(&rule.to, &self.to)
                    && is_port(&rule.ports, self.port, &[])
            })
        });
        let mut by = BTreeSet::new();
        if allowed {
            return by;
        }
        let mut within_one = false;
        for zone in self.snapshot.zones.values().filter(|it| self.counts(it)) {
            let both = self.from.zones.contains(&zone.name) && self.to.zones.contains(&zone.name);
            let alone = self.from.zones.len() == 1 && self.to.zones.len() == 1;
            within_one |= both && alone && zone.intra_zone == IntraZone::Allow;
            if both && zone.intra_zone == IntraZone::Deny {
                by.insert(format!(
                    "SecurityZone/{} within: no rule allows it",
                    zone.name
                ));
            }
        }
        if within_one {
            return by;
        }
        for zone in self.snapshot.zones.values().filter(|it| self.counts(it)) {
            if self.to.zones.contains(&zone.name) && zone.ingress == Openness::Isolated {
                by.insert(format!(
                    "SecurityZone/{} ingress: no rule allows it",
                    zone.name
                ));
            }
            if self.from.zones.contains(&zone.name) && zone.egress == Openness::Isolated {
                by.insert(format!(
                    "SecurityZone/{} egress: no rule allows it",
                    zone.name
                ));
            }
        }
        by
    }

    /// Tenant isolations that deny it.
    pub fn tenants(&self, strict: bool) -> BTreeSet<String> {
        let mut by = BTreeSet::new();
        if self.from.pods.is_empty() || self.to.pods.is_empty() {
            return by;
        }
        if !strict && self.direction == Direction::Egress {
            return by;
        }
        let labelled = |end: &End<'a>| -> Vec<(Labels, &'a Pod)> {
            let pods = end.pods.iter();
            pods.map(|(key, pod)| (labels_of(self.snapshot, &key.namespace), *pod))
                .collect()
        };
        let (from, to) = (labelled(&self.from), labelled(&self.to));
        for tenants in self.snapshot.tenants.values() {
            if (tenants.mode == TenantMode::Strict) != strict
                || !self.in_force(tenants.enforcement, tenants.canary.as_ref())
            {
                continue;
            }
            let tenant = |of: &(Labels, &Pod)| of.0.get(&tenants.label).unwrap_or("").to_owned();
            let mut all = from.iter().chain(&to).map(tenant);
            let first = all.next();
            let same = all.all(|it| Some(it) == first);
            if same || shared_by_one(tenants, &from) || shared_by_one(tenants, &to) {
                continue;
            }
            let one_of = |list: &Option<Vec<Workloads>>, of: &[(Labels, &Pod)]| {
                list.as_ref().is_none_or(|list| {
                    list.iter()
                        .any(|it| of.iter().all(|of| is_workload(it, &of.0, of.1)))
                })
            };
            let open = tenants.except.iter().any(|it| {
                !self.is_over(it.expiry)
                    && one_of(&it.from, &from)
                    && one_of(&it.to, &to)
                    && is_port(&it.ports, self.port, &[])
            });
            if !open {
                by.insert(format!("TenantIsolation/{} another tenant", tenants.name));
            }
        }
        by
    }

    /// What the cluster policies of a tier say.
    pub fn cluster(&self, admin: bool) -> Said {
        let (subject, other, word) = match self.direction {
            Direction::Ingress => (&self.to, &self.from, "ingress"),
            Direction::Egress => (&self.from, &self.to, "egress"),
        };
        let (key, pod) = subject.pods[0];
        let mut policies: Vec<&ClusterPolicy> = self
            .snapshot
            .cluster_policies
            .values()
            .filter(|policy| {
                (policy.tier == ClusterTier::Admin) == admin
                    && self.in_force(policy.enforcement, None)
                    && selects(
                        &policy.namespaces,
                        &labels_of(self.snapshot, &key.namespace),
                    )
                    && selects(&policy.pods, &pod.labels)
            })
            .collect();
        policies.sort_by_key(|policy| (policy.priority, policy.name.clone()));
        for policy in policies {
            let rules = match self.direction {
                Direction::Ingress => &policy.ingress,
                Direction::Egress => &policy.egress,
            };
            for (index, rule) in rules.iter().enumerate() {
                if !rule
                    .peers
                    .iter()
                    .any(|peer| self.is_cluster_peer(peer, other))
                    || !is_port(&rule.ports, self.port, &self.to.pods)
                {
                    continue;
                }
                let name = format!(
                    "ClusterNetworkPolicy/{} {word}[{index}] {}",
                    policy.name, rule.name
                );
                return match rule.action {
                    ClusterAction::Accept => Some((true, name)),
                    ClusterAction::Deny => Some((false, name)),
                    ClusterAction::Pass => None,
                };
            }
        }
        None
    }

    fn is_cluster_peer(&self, peer: &ClusterPeer, other: &End<'_>) -> bool {
        match peer {
            ClusterPeer::Pods { namespaces, pods } => are_all(&other.pods, |(key, pod)| {
                selects(namespaces, &labels_of(self.snapshot, &key.namespace))
                    && selects(pods, &pod.labels)
            }),
            ClusterPeer::Nodes(selector) => other.nodes.iter().any(|it| selects(selector, it)),
            ClusterPeer::Network(net) => other.address.is_some_and(|it| holds(*net, it)),
        }
    }

    fn policies(&self) -> impl Iterator<Item = &ZonePolicy> {
        let policies = self.snapshot.zone_policies.values();
        policies.filter(|it| self.in_force(it.enforcement, it.canary.as_ref()))
    }

    fn counts(&self, zone: &Zone) -> bool {
        is_counted(zone, self.staged)
    }

    fn in_force(&self, enforcement: Enforcement, canary: Option<&Canary>) -> bool {
        match enforcement {
            Enforcement::Enforce => true,
            Enforcement::Disabled => false,
            Enforcement::Audit => {
                self.staged
                    || canary.is_some_and(|canary| {
                        [&self.from, &self.to].into_iter().any(|end| {
                            are_all(&end.pods, |(key, pod)| {
                                selects(
                                    &canary.namespaces,
                                    &labels_of(self.snapshot, &key.namespace),
                                ) && selects(&canary.pods, &pod.labels)
                            })
                        })
                    })
            }
        }
    }

    fn is_over(&self, expiry: Expiry) -> bool {
        expiry.0.is_some_and(|moment| moment <= self.snapshot.past)
    }
}

impl<'a> End<'a> {
    fn at(snapshot: &'a Snapshot, address: IpAddr, staged: bool) -> Self {
        let pods = owners(snapshot, address);
        let is_own = |of: &IpAddr| bits(*of) == bits(address);
        let this_node = snapshot.node_addresses.iter().any(is_own);
        let mut nodes = Vec::new();
        if pods.is_empty() {
            for node in snapshot.nodes.values() {
                // All addresses of this machine are its node's, whichever the object names.
                let is_this = node.addresses.iter().any(|one| {
                    snapshot
                        .node_addresses
                        .iter()
                        .any(|it| bits(*it) == bits(*one))
                });
                if node.addresses.iter().any(is_own) || this_node && is_this {
                    nodes.push(node.labels.clone());
                }
            }
        }
        let is_node = this_node
            || snapshot
                .nodes
                .values()
                .any(|node| node.addresses.iter().any(is_own));
        let mut zones = BTreeSet::new();
        for (key, pod) in &pods {
            // Who may be either is in the zones of each.
            let mut of_pod = zones_of_pod(snapshot, key, pod, staged);
            if of_pod.is_empty() {
                of_pod = zones_of_address(snapshot, address, staged);
            }
            zones.extend(of_pod);
        }
        if pods.is_empty() && !nodes.is_empty() {
            for zone in snapshot.zones.values().filter(|it| is_counted(it, staged)) {
                let selected = zone.members.iter().any(|members| {
                    matches!(members, Members::Nodes(selector)
                        if nodes.iter().any(|labels| selects(selector, labels)))
                });
                if selected {
                    zones.insert(zone.name.clone());
                }
            }
        }
        if pods.is_empty() && zones.is_empty() {
            zones = zones_of_address(snapshot, address, staged);
        }
        Self {
            in_cluster: !pods.is_empty() || is_node,
            pods,
            nodes,
            address: Some(address),
            zones,
        }
    }
}

fn is_counted(zone: &Zone, staged: bool) -> bool {
    match zone.enforcement {
        Enforcement::Enforce => true,
        Enforcement::Audit => staged,
        Enforcement::Disabled => false,
    }
}

fn zones_of_pod(snapshot: &Snapshot, key: &PodKey, pod: &Pod, staged: bool) -> BTreeSet<String> {
    let namespace = labels_of(snapshot, &key.namespace);
    let selecting = snapshot.zones.values().filter(|zone| {
        is_counted(zone, staged)
            && zone.members.iter().any(|members| {
                matches!(members, Members::Workloads(it) if is_workload(it, &namespace, pod))
            })
    });
    selecting.map(|zone| zone.name.clone()).collect()
}

fn zones_of_address(snapshot: &Snapshot, address: IpAddr, staged: bool) -> BTreeSet<String> {
    let mut longest = 0;
    let mut zones = BTreeSet::new();
    for zone in snapshot.zones.values().filter(|it| is_counted(it, staged)) {
        for members in &zone.members {
            let Members::Networks { cidrs, except } = members else {
                continue;
            };
            for cidr in cidrs {
                if !holds(*cidr, address) || except.iter().any(|it| holds(*it, address)) {
                    continue;
                }
                // A mapped network is as long as the IPv4 network that it means.
                let width = if bits(address).0 && cidr.max_prefix_len() == 128 {
                    96
                } else {
                    0
                };
                let length = cidr.prefix_len() - width + 1;
                if length > longest {
                    longest = length;
                    zones.clear();
                }
                if length == longest {
                    zones.insert(zone.name.clone());
                }
            }
        }
    }
    zones
}

/// True if one selector of shared namespaces holds of all of them.
fn shared_by_one(tenants: &TenantIsolation, of: &[(Labels, &Pod)]) -> bool {
    let mut shared = tenants.shared.iter();
    shared.any(|it| of.iter().all(|of| selects(it, &of.0)))
}

fn is_workload(workloads: &Workloads, namespace: &Labels, pod: &Pod) -> bool {
    selects(&workloads.namespaces, namespace)
        && selects(&workloads.pods, &pod.labels)
        && (workloads.accounts.is_empty() || workloads.accounts.contains(&*pod.service_account))
}

/// True if any of these may be meant: somebody in several zones is in each.
fn is_any(peers: &[ZonePeer], end: &End<'_>) -> bool {
    peers.iter().any(|peer| match peer {
        ZonePeer::Zone(name) => end.zones.contains(name),
        ZonePeer::Entity(entity) => is_entity(*entity, end),
    })
}

/// True if one of these is meant without doubt: somebody in several zones is in none.
fn is_surely(peers: &[ZonePeer], end: &End<'_>) -> bool {
    peers.iter().any(|peer| match peer {
        ZonePeer::Zone(name) => end.zones.len() == 1 && end.zones.contains(name),
        ZonePeer::Entity(entity) => is_entity(*entity, end),
    })
}

fn is_entity(entity: Entity, end: &End<'_>) -> bool {
    match entity {
        Entity::Any => true,
        Entity::World => !end.in_cluster,
        Entity::Cluster => end.in_cluster,
        Entity::Unzoned => end.zones.is_empty(),
    }
}

/// A pod's addresses, or all of its interface's.
fn own_addresses(snapshot: &Snapshot, key: &PodKey, pod: &Pod) -> Vec<IpAddr> {
    match snapshot.local.get(key) {
        Some(located) if pod.addresses.is_empty() => located.addresses.clone(),
        _ => pod.addresses.clone(),
    }
}
