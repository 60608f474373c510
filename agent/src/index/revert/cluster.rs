//! Policies of the cluster's administrators.

use super::{super::policy::ENFORCEMENT, metadata, selector};
use crate::{
    api::{
        self, ClusterNetworkPolicy, ClusterNetworkPolicySpec, EgressPeer, EgressRule, IngressPeer,
        IngressRule, NamespacedPod, Port, PortMatch, ProtocolMatch, Range, RuleAction, Tier,
    },
    model::{
        ClusterAction, ClusterPeer, ClusterPolicy, ClusterRule, ClusterTier, Enforcement, Labels,
        PortSpec, Ports, Protocol, Selector,
    },
    watch::Object,
};

pub(super) fn policy(policy: &ClusterPolicy) -> Object {
    let ingress = policy.ingress.iter().map(|rule| IngressRule {
        name: rule.name.clone(),
        action: action(rule.action),
        from: rule.peers.iter().filter_map(ingress_peer).collect(),
        protocols: protocols(rule),
    });
    let egress = policy.egress.iter().map(|rule| EgressRule {
        name: rule.name.clone(),
        action: action(rule.action),
        to: rule.peers.iter().map(egress_peer).collect(),
        protocols: protocols(rule),
    });
    let spec = ClusterNetworkPolicySpec {
        tier: match policy.tier {
            ClusterTier::Admin => Tier::Admin,
            ClusterTier::Baseline => Tier::Baseline,
        },
        priority: policy.priority.into(),
        subject: api::Subject {
            namespaces: None,
            pods: Some(pods(&policy.namespaces, &policy.pods)),
        },
        ingress: Some(ingress.collect()),
        egress: Some(egress.collect()),
    };
    let mut object = ClusterNetworkPolicy::new(&policy.name, spec);
    object.metadata = metadata("", &policy.name, &Labels::new());
    if policy.enforcement == Enforcement::Audit {
        let audit = (ENFORCEMENT.to_owned(), "Audit".to_owned());
        object.metadata.annotations = Some([audit].into());
    }
    Object::ClusterNetworkPolicy(Box::new(object))
}

const fn action(action: ClusterAction) -> RuleAction {
    match action {
        ClusterAction::Accept => RuleAction::Accept,
        ClusterAction::Deny => RuleAction::Deny,
        ClusterAction::Pass => RuleAction::Pass,
    }
}

fn pods(namespaces: &Selector, pods: &Selector) -> NamespacedPod {
    NamespacedPod {
        namespace_selector: Some(selector(namespaces)),
        pod_selector: selector(pods),
    }
}

/// What comes in has no other peers than pods.
fn ingress_peer(peer: &ClusterPeer) -> Option<IngressPeer> {
    let ClusterPeer::Pods {
        namespaces,
        pods: selected,
    } = peer
    else {
        return None;
    };
    Some(IngressPeer {
        namespaces: None,
        pods: Some(pods(namespaces, selected)),
    })
}

fn egress_peer(peer: &ClusterPeer) -> EgressPeer {
    match peer {
        ClusterPeer::Pods {
            namespaces,
            pods: selected,
        } => EgressPeer {
            pods: Some(pods(namespaces, selected)),
            ..EgressPeer::default()
        },
        ClusterPeer::Nodes(nodes) => EgressPeer {
            nodes: Some(selector(nodes)),
            ..EgressPeer::default()
        },
        ClusterPeer::Network(network) => EgressPeer {
            networks: Some(vec![network.to_string()]),
            ..EgressPeer::default()
        },
    }
}

fn protocols(rule: &ClusterRule) -> Option<Vec<ProtocolMatch>> {
    let Ports::Of(ports) = &rule.ports else {
        return None;
    };
    let mut all = Vec::new();
    for port in ports {
        all.push(match port {
            PortSpec::All(protocol) => numbered(*protocol, PortMatch::default()),
            PortSpec::Range(protocol, first, last) => {
                let (start, end) = (i32::from(*first), i32::from(*last));
                let port = if start == end {
                    Port {
                        number: Some(start),
                        range: None,
                    }
                } else {
                    Port {
                        number: None,
                        range: Some(Range { start, end }),
                    }
                };
                let asked = PortMatch {
                    destination_port: Some(port),
                };
                numbered(*protocol, asked)
            }
            // A name stands for all protocols.
            PortSpec::Named(Protocol::Tcp, name) => ProtocolMatch {
                destination_named_port: Some(name.clone()),
                ..ProtocolMatch::default()
            },
            PortSpec::Named(..) => continue,
        });
    }
    Some(all)
}

fn numbered(protocol: Protocol, asked: PortMatch) -> ProtocolMatch {
    let mut made = ProtocolMatch::default();
    match protocol {
        Protocol::Tcp => made.tcp = Some(asked),
        Protocol::Udp => made.udp = Some(asked),
        Protocol::Sctp => made.sctp = Some(asked),
    }
    made
}
