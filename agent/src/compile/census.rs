//! Who is in which zone, counted: for people, not for verdicts.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{
    fact::{Facts, bare_namespace},
    ruleset::View,
    world::is_member,
    zones::{ZoneNames, Zones},
};
use crate::model::{Enforcement, Labels, Members, Snapshot};

/// As many are named of those that are in several zones.
const SHOWN: usize = 5;

/// Who is in a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Pods with a network of their own, by selector or by address.
    pub pods: usize,
    /// Nodes, likewise.
    pub nodes: usize,
    /// Networks that it names.
    pub networks: usize,
    /// Pods, nodes and networks that are another zone's as well.
    pub shared: usize,
    /// The first of those, with the other zones.
    pub examples: Vec<String>,
}

impl Census {
    /// True if somebody is in it, or may be.
    #[must_use]
    pub const fn is_populated(&self) -> bool {
        self.pods + self.nodes + self.networks > 0
    }
}

/// Counts who is in the zones, those in audit included; a disabled one has nobody.
#[must_use]
pub fn census(snapshot: &Snapshot) -> BTreeMap<String, Census> {
    let mut zones = Zones::default();
    zones.update(&Snapshot::default(), snapshot, &mut Facts::default());
    let mut counts = Counts::default();
    for zone in snapshot.zones.values() {
        let count = counts.0.entry(zone.name.clone()).or_default();
        if zone.enforcement == Enforcement::Disabled {
            continue;
        }
        let networks: Vec<IpNet> = zone.members.iter().flat_map(Members::networks).collect();
        count.networks = networks.len();
        for net in networks {
            let names = zones.of_net(net);
            counts.shared_by(&zone.name, names.of(View::Staged), || {
                format!("network {net}")
            });
        }
    }
    // Pods of one kind are in the same zones, unless they are by their addresses.
    let mut kinds: BTreeMap<(&str, &Labels, &str), ZoneNames> = BTreeMap::new();
    for (key, pod) in snapshot.pods.iter().filter(|(_, pod)| is_member(pod)) {
        let kind = (&*key.namespace, &pod.labels, &*pod.service_account);
        let selected = kinds.entry(kind).or_insert_with(|| {
            let namespace = snapshot.namespaces.get(&key.namespace);
            let namespace = namespace.map_or_else(
                || bare_namespace(&key.namespace),
                |namespace| namespace.labels.clone(),
            );
            let zones = zones.of_pod(&namespace, &pod.labels, &pod.service_account);
            zones.of(View::Staged).clone()
        });
        let names = or_by_address(selected.clone(), &pod.addresses, &zones);
        counts.member(&names, |count| count.pods += 1, || format!("pod {key}"));
    }
    for node in snapshot.nodes.values() {
        let selected = zones.of_node(std::iter::once(&node.labels));
        let selected = selected.of(View::Staged).clone();
        let names = or_by_address(selected, &node.addresses, &zones);
        let name = || format!("node {}", node.name);
        counts.member(&names, |count| count.nodes += 1, name);
    }
    counts.0
}

fn or_by_address(selected: ZoneNames, addresses: &[IpAddr], zones: &Zones) -> ZoneNames {
    if !selected.is_empty() {
        return selected;
    }
    let by_address = addresses
        .iter()
        .map(|&address| zones.of_net(address.into()));
    let all = by_address.reduce(|one, other| one.and(&other));
    all.unwrap_or_default().of(View::Staged).clone()
}

#[derive(Default)]
struct Counts(BTreeMap<String, Census>);

impl Counts {
    fn member(
        &mut self,
        zones: &ZoneNames,
        count: impl Fn(&mut Census),
        name: impl Fn() -> String,
    ) {
        for zone in zones.iter() {
            if let Some(entry) = self.0.get_mut(&**zone) {
                count(entry);
            }
            self.shared_by(zone, zones, &name);
        }
    }

    /// Notes that somebody is not in this zone alone.
    fn shared_by(&mut self, zone: &str, zones: &ZoneNames, name: impl Fn() -> String) {
        let others: Vec<&str> = zones
            .iter()
            .map(|it| &**it)
            .filter(|it| *it != zone)
            .collect();
        let Some(entry) = self.0.get_mut(zone).filter(|_| !others.is_empty()) else {
            return;
        };
        entry.shared += 1;
        if entry.examples.len() < SHOWN {
            let example = format!("{} (also in {})", name(), others.join(", "));
            entry.examples.push(example);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{index::load, watch::Options};

    /// Two zones over the same pods, one of them over the nodes' network too.
    const WORLD: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: all }
spec: { members: [{ workloads: { namespaceSelector: {} } }, { networks: { cidrs: [10.0.0.0/8] } }] }
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: shop }
spec:
  enforcement: Audit
  members: [{ workloads: { namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: shop } } } }]
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: off }
spec: { enforcement: Disabled, members: [{ networks: { cidrs: [10.0.0.0/8] } }] }
---
apiVersion: ringfence.dev/v1alpha1
kind: SecurityZone
metadata: { name: same }
spec: { members: [{ networks: { cidrs: [10.0.0.0/8] } }] }
---
{ apiVersion: v1, kind: Pod, metadata: { name: a, namespace: shop }, status: { podIP: 10.1.0.1 } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: b, namespace: other }, status: { podIP: 10.1.0.2 } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: over, namespace: shop }, status: { podIP: 10.1.0.3, phase: Failed } }
---
{ apiVersion: v1, kind: Pod, metadata: { name: host, namespace: shop }, spec: { hostNetwork: true } }
---
{ apiVersion: v1, kind: Node, metadata: { name: w1 }, status: { addresses: [{ type: InternalIP, address: 10.0.0.1 }] } }
";

    #[test]
    fn members_are_counted_by_what_puts_them_there() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("world.yaml");
        std::fs::write(&file, WORLD).unwrap();
        let counts = census(&load(&[file], Options::default()).unwrap());
        let count = |zone: &str| {
            let Census {
                pods,
                nodes,
                networks,
                shared,
                ..
            } = counts[zone];
            [pods, nodes, networks, shared]
        };
        // The node is in it by its address, and so in the other zone of that network.
        assert_eq!(count("all"), [2, 1, 1, 3]);
        assert_eq!(count("shop"), [1, 0, 0, 1]);
        assert_eq!(count("same"), [0, 1, 1, 2]);
        assert_eq!(count("off"), [0; 4]);
        assert!(!counts["off"].is_populated());
        let examples = &counts["all"].examples;
        assert_eq!(examples[0], "network 10.0.0.0/8 (also in same)");
        assert_eq!(examples[1], "pod shop/a (also in shop)");
    }
}
