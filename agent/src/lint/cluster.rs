//! Cluster policies whose order is not said.

use ipnet::IpNet;
use ringfence_common::Direction;

use super::{EQUAL_PRIORITY, Finding, Look};
use crate::model::{
    ClusterPeer, ClusterPolicy, ClusterRule, Enforcement, Operator, PortSpec, Ports, Protocol,
    Requirement, Selector,
};

pub(super) fn find(look: &Look<'_>) -> Vec<Finding> {
    let policies = look.snapshot.cluster_policies.values();
    let policies: Vec<&ClusterPolicy> = policies
        .filter(|policy| policy.enforcement != Enforcement::Disabled)
        .collect();
    let mut found = Vec::new();
    for (index, second) in policies.iter().enumerate() {
        let equal = policies[..index]
            .iter()
            .filter(|first| first.tier == second.tier && first.priority == second.priority)
            .find_map(|first| Some((first, differ(first, second)?)));
        if let Some((first, direction)) = equal {
            let message = format!(
                "ClusterNetworkPolicy/{} has priority {} too and says otherwise of the same {direction}",
                first.name, first.priority
            );
            let object = format!("ClusterNetworkPolicy/{}", second.name);
            found.push(look.finding(&EQUAL_PRIORITY, &object, "spec.priority", message));
        }
    }
    found
}

/// The direction of a flow that both may speak of and not alike.
fn differ(one: &ClusterPolicy, other: &ClusterPolicy) -> Option<&'static str> {
    if !may_meet(&one.namespaces, &other.namespaces) || !may_meet(&one.pods, &other.pods) {
        return None;
    }
    let rules = |policy: &ClusterPolicy, direction| match direction {
        Direction::Ingress => policy.ingress.clone(),
        Direction::Egress => policy.egress.clone(),
    };
    let directions = [
        (Direction::Ingress, "ingress"),
        (Direction::Egress, "egress"),
    ];
    let mut directions = directions.into_iter();
    let found = directions.find(|(direction, _)| {
        let (one, other) = (rules(one, *direction), rules(other, *direction));
        one.iter()
            .any(|one| other.iter().any(|other| contradict(one, other)))
    });
    found.map(|(_, word)| word)
}

fn contradict(one: &ClusterRule, other: &ClusterRule) -> bool {
    one.action != other.action
        && ports_meet(&one.ports, &other.ports)
        && one
            .peers
            .iter()
            .any(|one| other.peers.iter().any(|other| peers_meet(one, other)))
}

fn peers_meet(one: &ClusterPeer, other: &ClusterPeer) -> bool {
    use ClusterPeer::{Network, Nodes, Pods};
    match (one, other) {
        (
            Pods { namespaces, pods },
            Pods {
                namespaces: others,
                pods: of_others,
            },
        ) => may_meet(namespaces, others) && may_meet(pods, of_others),
        (Nodes(one), Nodes(other)) => may_meet(one, other),
        (Network(one), Network(other)) => nets_meet(one, other),
        (Pods { .. }, Nodes(_)) | (Nodes(_), Pods { .. }) => false,
        // Pods and nodes have addresses.
        (Network(_), _) | (_, Network(_)) => true,
    }
}

fn nets_meet(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn ports_meet(one: &Ports, other: &Ports) -> bool {
    let (Ports::Of(one), Ports::Of(other)) = (one, other) else {
        return true;
    };
    one.iter().any(|one| {
        other.iter().any(|other| match (range(one), range(other)) {
            (Ok((of, first, last)), Ok((protocol, from, to))) => {
                of == protocol && first <= to && from <= last
            }
            // A name is any number.
            (Ok((of, ..)) | Err(of), Ok((protocol, ..)) | Err(protocol)) => of == protocol,
        })
    })
}

fn range(port: &PortSpec) -> Result<(Protocol, u16, u16), Protocol> {
    match port {
        PortSpec::All(protocol) => Ok((*protocol, 0, u16::MAX)),
        PortSpec::Range(protocol, first, last) => Ok((*protocol, *first, *last)),
        PortSpec::Named(protocol, _) => Err(*protocol),
    }
}

/// False if no labels satisfy both.
fn may_meet(one: &Selector, other: &Selector) -> bool {
    let pairs = one.requirements.iter().flat_map(|one| {
        let others = other.requirements.iter();
        others.map(move |other| (one, other))
    });
    !pairs
        .filter(|(one, other)| one.key == other.key)
        .any(|(one, other)| excludes(one, other) || excludes(other, one))
}

fn excludes(one: &Requirement, other: &Requirement) -> bool {
    match (&one.operator, &other.operator) {
        (Operator::In(ours), Operator::In(theirs)) => ours.iter().all(|it| !theirs.contains(it)),
        (Operator::In(ours), Operator::NotIn(theirs)) => ours.iter().all(|it| theirs.contains(it)),
        (Operator::In(_) | Operator::Exists, Operator::DoesNotExist) => true,
        _ => false,
    }
}
