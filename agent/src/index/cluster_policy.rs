//! Policies of the cluster's administrators.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{
    check::{self, Findings},
    policy::{exact_network, stated_enforcement},
    selector,
    shared::optional,
};
use crate::{
    api::{self, ClusterNetworkPolicy, NamespacedPod, PortMatch, ProtocolMatch, RuleAction, Tier},
    model::{
        ClusterAction, ClusterPeer, ClusterPolicy, ClusterRule, ClusterTier, PortSpec, Ports,
        Protocol, Selector,
    },
};

pub(super) fn convert(object: &ClusterNetworkPolicy, findings: &mut Findings<'_>) -> ClusterPolicy {
    let spec = &object.spec;
    let priority = u16::try_from(spec.priority)
        .ok()
        .filter(|&priority| priority <= 1000)
        .ok_or_else(|| format!("{} is no priority; allowed are 0 to 1000", spec.priority));
    let priority = findings
        .check("spec.priority", priority)
        .unwrap_or_default();
    let subject = pods(
        spec.subject.namespaces.as_ref(),
        spec.subject.pods.as_ref(),
        "spec.subject",
        findings,
    );
    let mut ingress = Vec::new();
    for (index, rule) in spec.ingress.iter().flatten().enumerate() {
        let field = format!("spec.ingress[{index}]");
        let mut peers = Vec::new();
        for (number, peer) in rule.from.iter().enumerate() {
            let at = format!("{field}.from[{number}]");
            let selected = pods(peer.namespaces.as_ref(), peer.pods.as_ref(), &at, findings);
            peers.extend(selected.map(|(namespaces, pods)| ClusterPeer::Pods { namespaces, pods }));
        }
        ingress.push(ClusterRule {
            name: rule.name.clone(),
            action: action(rule.action),
            peers,
            ports: ports(rule.protocols.as_deref(), &field, findings),
        });
    }
    let mut egress = Vec::new();
    for (index, rule) in spec.egress.iter().flatten().enumerate() {
        let field = format!("spec.egress[{index}]");
        let mut peers = Vec::new();
        for (number, peer) in rule.to.iter().enumerate() {
            peers.extend(egress_peer(
                peer,
                &format!("{field}.to[{number}]"),
                findings,
            ));
        }
        egress.push(ClusterRule {
            name: rule.name.clone(),
            action: action(rule.action),
            peers,
            ports: ports(rule.protocols.as_deref(), &field, findings),
        });
    }
    let (namespaces, pods) = subject.unwrap_or_default();
    ClusterPolicy {
        name: findings.read.key.name.clone(),
        tier: match spec.tier {
            Tier::Admin => ClusterTier::Admin,
            Tier::Baseline => ClusterTier::Baseline,
        },
        priority,
        namespaces,
        pods,
        ingress,
        egress,
        enforcement: stated_enforcement(&object.metadata, findings),
        origin: findings.read.origin.clone(),
    }
}

const fn action(action: RuleAction) -> ClusterAction {
    match action {
        RuleAction::Accept => ClusterAction::Accept,
        RuleAction::Deny => ClusterAction::Deny,
        RuleAction::Pass => ClusterAction::Pass,
    }
}

/// Namespaces and pods in them; one of the two ways to say it is there.
fn pods(
    namespaces: Option<&LabelSelector>,
    pods: Option<&NamespacedPod>,
    field: &str,
    findings: &mut Findings<'_>,
) -> Option<(Selector, Selector)> {
    if let Some(namespaces) = namespaces {
        let at = format!("{field}.namespaces");
        return Some((
            selector::convert(namespaces, &at, findings),
            Selector::default(),
        ));
    }
    let pods = pods?;
    let at = format!("{field}.pods.namespaceSelector");
    let namespaces = optional(pods.namespace_selector.as_ref(), &at, findings);
    let at = format!("{field}.pods.podSelector");
    Some((
        namespaces,
        selector::convert(&pods.pod_selector, &at, findings),
    ))
}

fn egress_peer(
    peer: &api::EgressPeer,
    field: &str,
    findings: &mut Findings<'_>,
) -> Vec<ClusterPeer> {
    if peer.domain_names.is_some() {
        let message = "names are not resolved; give the addresses as `networks`";
        findings.unsupported(format!("{field}.domainNames"), message);
    }
    if let Some(nodes) = &peer.nodes {
        let nodes = selector::convert(nodes, &format!("{field}.nodes"), findings);
        return vec![ClusterPeer::Nodes(nodes)];
    }
    if let Some(networks) = &peer.networks {
        let networks = networks.iter().enumerate();
        let networks = networks.filter_map(|(index, text)| {
            findings.check(&format!("{field}.networks[{index}]"), exact_network(text))
        });
        return networks.map(ClusterPeer::Network).collect();
    }
    let selected = pods(
        peer.namespaces.as_ref(),
        peer.pods.as_ref(),
        field,
        findings,
    );
    let selected = selected.map(|(namespaces, pods)| ClusterPeer::Pods { namespaces, pods });
    selected.into_iter().collect()
}

fn ports(protocols: Option<&[ProtocolMatch]>, field: &str, findings: &mut Findings<'_>) -> Ports {
    let Some(protocols) = protocols else {
        return Ports::Any;
    };
    let mut specs = Vec::new();
    for (index, protocol) in protocols.iter().enumerate() {
        let field = format!("{field}.protocols[{index}]");
        if let Some(name) = &protocol.destination_named_port {
            let at = format!("{field}.destinationNamedPort");
            if let Some(name) = findings.check(&at, check::port_name(name)) {
                // The name alone says which: of a pod's ports of any protocol.
                let all = Protocol::ALL.into_iter();
                specs.extend(all.map(|protocol| PortSpec::Named(protocol, name.clone())));
            }
        }
        for (number, name, asked) in [
            (Protocol::Tcp, "tcp", &protocol.tcp),
            (Protocol::Udp, "udp", &protocol.udp),
            (Protocol::Sctp, "sctp", &protocol.sctp),
        ] {
            if let Some(asked) = asked {
                let at = format!("{field}.{name}.destinationPort");
                specs.extend(port(number, asked, &at, findings));
            }
        }
    }
    Ports::Of(specs)
}

fn port(
    protocol: Protocol,
    asked: &PortMatch,
    field: &str,
    findings: &mut Findings<'_>,
) -> Option<PortSpec> {
    let Some(port) = &asked.destination_port else {
        return Some(PortSpec::All(protocol));
    };
    let (first, last) = match (&port.number, &port.range) {
        (Some(number), _) => (*number, *number),
        (None, Some(range)) => (range.start, range.end),
        (None, None) => return Some(PortSpec::All(protocol)),
    };
    let first = findings.check(field, check::port_number(first));
    let last = findings.check(field, check::port_number(last));
    Some(PortSpec::Range(protocol, first?, last?))
}
