//! Those who are in every cluster and in few manifests: a node, and who answers for names.
//!
//! They are put beside the snapshot, so that the evaluator can be asked about them. Their addresses are from the ranges
//! for documentation (RFC 5737, RFC 3849), which nobody has.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ringfence_common::cell::{Tier, Verdict};

use super::{Finding, Look, WITHOUT_DNS};
use crate::{
    compile::{Asker, Party, Question},
    model::{ContainerPort, Labels, Node, Pod, PodKey, Protocol, Snapshot},
};

/// Name of a node that stands in for one that is not in the manifests.
const NODE: &str = "node.invalid";
const SYSTEM: &str = "kube-system";
/// Where NodeLocal DNSCache listens.
const NODE_LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 20, 10));

/// Nobody's address, by its last part.
pub(super) fn documentation(last: u8) -> [IpAddr; 2] {
    [
        Ipv4Addr::new(192, 0, 2, last).into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)).into(),
    ]
}

/// An address outside of the cluster.
pub(super) const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7)),
];

/// The snapshot, every pod on a node that has an address, and one more node (its name) that has no pods.
pub(super) fn with_nodes(snapshot: &Snapshot) -> (Snapshot, Node) {
    let mut scene = snapshot.clone();
    let stand_in = |name: &str, last| Node {
        name: name.to_owned(),
        addresses: documentation(last).to_vec(),
        ..Node::default()
    };
    let homeless = snapshot.pods.iter().filter(|(_, pod)| {
        let node = pod
            .node
            .as_deref()
            .and_then(|name| snapshot.nodes.get(name));
        node.is_none_or(|node| node.addresses.is_empty())
    });
    for (key, _) in homeless {
        if let Some(pod) = scene.pods.get_mut(key) {
            pod.node = Some(NODE.into());
        }
    }
    scene.nodes.insert(NODE.to_owned(), stand_in(NODE, 1));
    let other = stand_in("other.invalid", 2);
    scene.nodes.insert(other.name.clone(), other.clone());
    (scene, other)
}

/// What the evaluator says of a flow to a port, if there is an address family for it.
pub(super) fn ask(
    asker: &Asker<'_>,
    from: &Party,
    to: &Party,
    port: (Protocol, u16),
) -> Option<crate::compile::Answer> {
    let question = Question {
        from: from.clone(),
        to: to.clone(),
        port: Some(port),
        family: None,
    };
    asker.ask(&question).ok()
}

/// Pods that may not ask for names.
pub(super) fn without_dns(look: &Look<'_>) -> Vec<Finding> {
    let mut scene = look.snapshot.clone();
    let servers = name_servers(&mut scene);
    let asker = Asker::new(&scene);
    let mut isolated: BTreeMap<String, (String, BTreeSet<&PodKey>)> = BTreeMap::new();
    for (key, pod) in &look.snapshot.pods {
        if !pod.is_running() || pod.host_network || servers.contains(key) {
            continue;
        }
        let source = Party::Pod(key.clone());
        let to = servers.iter().cloned().map(Party::Pod);
        let to = to.chain([Party::Address(NODE_LOCAL)]);
        let sides = to.filter_map(|to| ask(&asker, &source, &to, (Protocol::Udp, 53)));
        let sides: Vec<_> = sides.filter_map(|answer| answer.egress).collect();
        let may_ask = sides
            .iter()
            .any(|it| it.live == Verdict::Allow && it.staged == Verdict::Allow);
        let Some(first) = sides.into_iter().next().filter(|_| !may_ask) else {
            continue;
        };
        let (tier, rule) = match first.live {
            Verdict::Deny => (first.tier, first.rule),
            Verdict::Allow => first.told,
        };
        // What keeps tenants from kube-system is told where it is.
        if let Some(rule) = rule.filter(|_| tier != Tier::TenantStrict)
            && let Some(object) = object_of(&rule)
        {
            let (_, pods) = isolated
                .entry(object.to_owned())
                .or_insert((rule.clone(), BTreeSet::new()));
            pods.insert(key);
        }
    }
    let found = isolated.into_iter().map(|(object, (rule, pods))| {
        let first = pods.first().map(ToString::to_string).unwrap_or_default();
        let more = match pods.len() {
            0 | 1 => String::new(),
            many => format!(" and {} more", many - 1),
        };
        let message = format!("pod/{first}{more} may not ask for names (53/UDP): {rule}");
        look.finding(&WITHOUT_DNS, &object, "spec.egress", message)
    });
    found.collect()
}

/// The object that a rule is of: rules are named after it.
pub(super) fn object_of(rule: &str) -> Option<&str> {
    Some(rule.split_whitespace().next()?.trim_end_matches(':'))
}

/// Pods that answer for names; if there are none, one that stands in for them.
fn name_servers(scene: &mut Snapshot) -> BTreeSet<PodKey> {
    let label = ("k8s-app", "kube-dns");
    let pods = scene.pods.iter().filter(|(key, pod)| {
        key.namespace == SYSTEM && pod.labels.get(label.0) == Some(label.1) && pod.is_running()
    });
    let found: BTreeSet<PodKey> = pods.map(|(key, _)| key.clone()).collect();
    if !found.is_empty() {
        return found;
    }
    let key = PodKey {
        namespace: SYSTEM.to_owned(),
        name: "dns.invalid".to_owned(),
    };
    let port = |name: &str, protocol| ContainerPort {
        name: Some(name.to_owned()),
        port: 53,
        protocol,
        host_port: None,
    };
    let pod = Pod {
        key: key.clone(),
        labels: Labels::from([(label.0.to_owned(), label.1.to_owned())]),
        addresses: documentation(53).to_vec(),
        ports: [port("dns", Protocol::Udp), port("dns-tcp", Protocol::Tcp)].into(),
        ..Pod::default()
    };
    scene.pods.insert(key.clone(), pod);
    BTreeSet::from([key])
}
