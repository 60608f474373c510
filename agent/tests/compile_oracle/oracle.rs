//! A naive evaluator, straight from the API's text. It shares nothing with the compiler but the model's types.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use ringfence_agent::model::{
    Enforcement, Labels, Operator, Peer, Phase, Pod, PodKey, Policy, PortSpec, Ports, Protocol,
    Selector, Snapshot,
};
use ringfence_common::{Direction, cell::Tier};

use super::above;

/// What one tier says: `None` if nothing, else whether the flow is allowed and by what.
pub type Said = Option<(bool, String)>;

/// What all tiers say.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The flow is allowed.
    pub allowed: bool,
    /// The tier that decided.
    pub tier: Tier,
    /// Rules that may be named; none in tier `Default`.
    pub rules: BTreeSet<String>,
}

/// Judges one flow at one pod through all tiers, by all objects (`staged`) or by those that are enforced.
pub fn judge(
    snapshot: &Snapshot,
    pod: &PodKey,
    direction: Direction,
    peer: IpAddr,
    port: Option<(Protocol, u16)>,
    staged: bool,
) -> Judged {
    let flow = above::Flow::new(snapshot, pod, direction, peer, port, staged);
    let one = |tier, said: Said| {
        said.map(|(allowed, rule)| Judged {
            allowed,
            tier,
            rules: [rule].into(),
        })
    };
    let denied = |tier, rules: BTreeSet<String>| {
        (!rules.is_empty()).then_some(Judged {
            allowed: false,
            tier,
            rules,
        })
    };
    denied(Tier::ZoneDeny, flow.denials())
        .or_else(|| denied(Tier::ZoneIsolation, flow.isolation()))
        .or_else(|| denied(Tier::TenantStrict, flow.tenants(true)))
        .or_else(|| one(Tier::ClusterAdmin, flow.cluster(true)))
        .or_else(|| {
            let said = network_policies(snapshot, pod, direction, peer, port, staged);
            one(Tier::NetworkPolicy, said)
        })
        .or_else(|| denied(Tier::TenantOverridable, flow.tenants(false)))
        .or_else(|| one(Tier::ClusterBaseline, flow.cluster(false)))
        .unwrap_or(Judged {
            allowed: true,
            tier: Tier::Default,
            rules: BTreeSet::new(),
        })
}

fn network_policies(
    snapshot: &Snapshot,
    pod: &PodKey,
    direction: Direction,
    peer: IpAddr,
    port: Option<(Protocol, u16)>,
    staged: bool,
) -> Said {
    let subject = &snapshot.pods[pod];
    let others = owners(snapshot, peer);
    let word = if direction == Direction::Ingress {
        "ingress"
    } else {
        "egress"
    };
    let mut isolating = Vec::new();
    for (key, policy) in &snapshot.policies {
        let counts = staged || policy.enforcement == Enforcement::Enforce;
        let rules = match direction {
            Direction::Ingress => &policy.ingress,
            Direction::Egress => &policy.egress,
        };
        let Some(rules) = rules else { continue };
        if !counts || key.namespace != pod.namespace || !selects(&policy.subject, &subject.labels) {
            continue;
        }
        isolating.push(key);
        for (index, rule) in rules.iter().enumerate() {
            let destination = match direction {
                Direction::Ingress => vec![(pod, subject)],
                Direction::Egress => others.clone(),
            };
            if is_peer(snapshot, policy, rule.peers.as_deref(), peer, &others)
                && is_port(&rule.ports, port, &destination)
            {
                let name = format!(
                    "NetworkPolicy/{}/{} {word}[{index}]",
                    key.namespace, key.name
                );
                // Policies come by name and rules by index: the first is the one that users see.
                return Some((true, name));
            }
        }
    }
    let first = isolating.first()?;
    let more = match isolating.len() {
        1 => String::new(),
        n => format!(" (+{} more)", n - 1),
    };
    let name = format!(
        "NetworkPolicy/{}/{} {word}: no rule matches{more}",
        first.namespace, first.name
    );
    Some((false, name))
}

/// True for pods that are subjects and peers.
pub fn counts(pod: &Pod) -> bool {
    pod.phase != Phase::Succeeded && pod.phase != Phase::Failed && !pod.host_network
}

/// The pod that has an address; all that say so, if it cannot be told which.
pub fn owners(snapshot: &Snapshot, address: IpAddr) -> Vec<(&PodKey, &Pod)> {
    let claimants: Vec<(&PodKey, &Pod)> = snapshot
        .pods
        .iter()
        .filter(|(key, pod)| {
            counts(pod)
                && addresses(snapshot, key, pod)
                    .iter()
                    .any(|it| bits(*it) == bits(address))
        })
        .collect();
    let local: Vec<_> = claimants
        .iter()
        .filter(|it| snapshot.local.contains_key(it.0))
        .copied()
        .collect();
    match (claimants.as_slice(), local.as_slice()) {
        ([one], _) | (_, [one]) => vec![*one],
        _ => claimants,
    }
}

/// A pod's addresses, or its interface's.
pub fn addresses(snapshot: &Snapshot, key: &PodKey, pod: &Pod) -> Vec<IpAddr> {
    match snapshot.local.get(key) {
        Some(located) if pod.addresses.is_empty() => located
            .addresses
            .iter()
            .copied()
            .filter(|it| !matches!(it, IpAddr::V6(v6) if v6.segments()[0] == 0xfe80))
            .collect(),
        _ => pod.addresses.clone(),
    }
}

fn is_peer(
    snapshot: &Snapshot,
    policy: &Policy,
    peers: Option<&[Peer]>,
    address: IpAddr,
    are: &[(&PodKey, &Pod)],
) -> bool {
    let Some(peers) = peers else { return true };
    peers.is_empty()
        || peers.iter().any(|peer| match peer {
            Peer::Block(block) => {
                holds(block.cidr, address) && !block.except.iter().any(|it| holds(*it, address))
            }
            Peer::Pods { namespaces, pods } => are_all(are, |(key, pod)| {
                let in_namespace = match namespaces {
                    None => key.namespace == policy.key.namespace,
                    Some(selector) => selects(selector, &labels_of(snapshot, &key.namespace)),
                };
                in_namespace && selects(pods, &pod.labels)
            }),
        })
}

/// True if there is somebody, and this is true of each.
pub fn are_all(pods: &[(&PodKey, &Pod)], so: impl Fn(&(&PodKey, &Pod)) -> bool) -> bool {
    !pods.is_empty() && pods.iter().all(so)
}

/// Labels of a namespace, those that the API server gives it included.
pub fn labels_of(snapshot: &Snapshot, namespace: &str) -> Labels {
    match snapshot.namespaces.get(namespace) {
        Some(namespace) => namespace.labels.clone(),
        None => Labels::from([(
            "kubernetes.io/metadata.name".to_owned(),
            namespace.to_owned(),
        )]),
    }
}

pub fn is_port(
    ports: &Ports,
    port: Option<(Protocol, u16)>,
    destination: &[(&PodKey, &Pod)],
) -> bool {
    let Ports::Of(ports) = ports else { return true };
    let Some((protocol, number)) = port else {
        return false;
    };
    ports.iter().any(|it| match it {
        PortSpec::All(of) => *of == protocol,
        PortSpec::Range(of, first, last) => *of == protocol && *first <= number && number <= *last,
        PortSpec::Named(of, name) => {
            *of == protocol
                && are_all(destination, |(_, pod)| {
                    pod.ports.iter().any(|it| {
                        it.name.as_ref() == Some(name)
                            && it.port == number
                            && it.protocol == protocol
                    })
                })
        }
    })
}

pub fn selects(selector: &Selector, labels: &Labels) -> bool {
    for requirement in &selector.requirements {
        let value = labels.get(&requirement.key);
        let fine = match (&requirement.operator, value) {
            (Operator::In(values), Some(value)) => values.iter().any(|it| it == value),
            (Operator::NotIn(values), Some(value)) => values.iter().all(|it| it != value),
            (Operator::Exists, Some(_)) | (Operator::NotIn(_) | Operator::DoesNotExist, None) => {
                true
            }
            (Operator::DoesNotExist, Some(_)) | (Operator::In(_) | Operator::Exists, None) => false,
            (Operator::Blank, _) => panic!("no object says that"),
        };
        if !fine {
            return false;
        }
    }
    true
}

/// Family and bits, an IPv4-mapped address as IPv4.
pub fn bits(address: IpAddr) -> (bool, u128) {
    match address {
        IpAddr::V4(v4) => (true, u128::from(u32::from(v4))),
        IpAddr::V6(v6) => {
            let value = u128::from(v6);
            if value >> 32 == 0xffff {
                (true, value & 0xffff_ffff)
            } else {
                (false, value)
            }
        }
    }
}

pub fn holds(net: IpNet, address: IpAddr) -> bool {
    let (net4, mut start) = bits(net.addr());
    let mut length = u32::from(net.prefix_len());
    let mut width = if matches!(net, IpNet::V4(_)) { 32 } else { 128 };
    let (address4, mut value) = bits(address);
    let mapped = matches!(net, IpNet::V6(_)) && net4 && length >= 96;
    if mapped {
        (length, width) = (length - 96, 32);
    } else if matches!(net, IpNet::V6(_)) {
        // A network that merely contains the mapped ones holds none of them.
        if address4 {
            return false;
        }
        start = match net.addr() {
            IpAddr::V6(v6) => u128::from(v6),
            IpAddr::V4(_) => unreachable!("the network is IPv6"),
        };
    } else if !address4 {
        return false;
    }
    for _ in 0..width - length {
        start >>= 1;
        value >>= 1;
    }
    start == value
}
