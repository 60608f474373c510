//! Network policies.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    check::{self, Findings, annotation},
    selector,
};
use crate::{
    model::{
        Enforcement, IpBlock, Origin, Peer, Policy, PolicyKey, PortSpec, Ports, Rule, Selector,
    },
    watch::{Object, ObjectKey, Read},
};

/// Whether a policy counts.
pub(super) const ENFORCEMENT: &str = "ringfence.dev/enforcement";

pub(super) fn convert(object: &NetworkPolicy, findings: &mut Findings<'_>) -> Policy {
    let default = NetworkPolicySpec::default();
    let spec = object.spec.as_ref().unwrap_or(&default);
    let (ingress, egress) = directions(spec, findings);
    // Rules of a direction that the policy does not speak of count for nothing, and are checked.
    let incoming = spec
        .ingress
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, rule)| {
            let field = format!("spec.ingress[{index}]");
            convert_rule(
                rule.from.as_deref(),
                rule.ports.as_deref(),
                &field,
                "from",
                findings,
            )
        });
    let incoming: Vec<Rule> = incoming.collect();
    let outgoing = spec
        .egress
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, rule)| {
            let field = format!("spec.egress[{index}]");
            convert_rule(
                rule.to.as_deref(),
                rule.ports.as_deref(),
                &field,
                "to",
                findings,
            )
        });
    let outgoing: Vec<Rule> = outgoing.collect();
    Policy {
        subject: subject(spec, findings),
        enforcement: stated_enforcement(&object.metadata, findings),
        ingress: ingress.then_some(incoming),
        egress: egress.then_some(outgoing),
        key: key(&findings.read.key),
        origin: findings.read.origin.clone(),
    }
}

/// What stands in for a policy that cannot be in force: it lets nothing through to or from the pods
/// that it selects. `None` if it cannot be told which they are.
pub(super) fn substitute(
    object_key: &ObjectKey,
    object: &NetworkPolicy,
    origin: &Origin,
) -> Option<Policy> {
    let spec = object.spec.as_ref()?;
    let read = Read {
        key: object_key.clone(),
        object: Object::NetworkPolicy(Box::default()),
        origin: origin.clone(),
        lines: std::collections::BTreeMap::new(),
    };
    let mut findings = Findings::new(&read);
    let subject = subject(spec, &mut findings);
    findings.none().ok()?;
    let mut findings = Findings::new(&read);
    let (ingress, egress) = directions(spec, &mut findings);
    let certain = findings.none().is_ok();
    let mut findings = Findings::new(&read);
    let enforcement = stated_enforcement(&object.metadata, &mut findings);
    Some(Policy {
        key: key(object_key),
        subject,
        ingress: (ingress || !certain).then(Vec::new),
        egress: (egress || !certain).then(Vec::new),
        enforcement,
        origin: origin.clone(),
    })
}

/// What a substitute does, for the diagnostic.
pub(super) fn describe_substitute(policy: &Policy) -> String {
    let directions = match (&policy.ingress, &policy.egress) {
        (Some(_), Some(_)) => "ingress and egress",
        (Some(_), None) => "ingress",
        (None, _) => "egress",
    };
    let audited = match policy.enforcement {
        Enforcement::Enforce => "",
        Enforcement::Audit => " (audited only)",
        Enforcement::Disabled => " (disabled)",
    };
    format!(
        "not in force, and no good state of it is known: until this is mended, the pods that it \
         selects are isolated for {directions}{audited}"
    )
}

fn key(key: &ObjectKey) -> PolicyKey {
    PolicyKey {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

/// The pods that it is about. The API server takes an absent selector for an empty one.
fn subject(spec: &NetworkPolicySpec, findings: &mut Findings<'_>) -> Selector {
    spec.pod_selector
        .as_ref()
        .map_or_else(Selector::default, |selector| {
            selector::convert(selector, "spec.podSelector", findings)
        })
}

/// Whether it speaks of ingress and of egress.
fn directions(spec: &NetworkPolicySpec, findings: &mut Findings<'_>) -> (bool, bool) {
    let types = spec.policy_types.as_deref().unwrap_or_default();
    if types.is_empty() {
        // What the API server fills in: an egress section counts if it has rules.
        return (
            true,
            spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
        );
    }
    let (mut ingress, mut egress) = (false, false);
    for (index, name) in types.iter().enumerate() {
        match name.as_str() {
            "Ingress" => ingress = true,
            "Egress" => egress = true,
            other => {
                let message =
                    format!("unknown policy type \"{other}\"; allowed are Ingress and Egress");
                findings.report(format!("spec.policyTypes[{index}]"), message);
            }
        }
    }
    (ingress, egress)
}

/// What the annotation says, for kinds that are not of this project.
pub(super) fn stated_enforcement(
    metadata: &ObjectMeta,
    findings: &mut Findings<'_>,
) -> Enforcement {
    match annotation(metadata, ENFORCEMENT) {
        None | Some("Enforce") => Enforcement::Enforce,
        Some("Audit") => Enforcement::Audit,
        Some(other) => {
            let message = format!("unknown value \"{other}\"; allowed are Enforce and Audit");
            findings.report(format!("metadata.annotations.{ENFORCEMENT}"), message);
            Enforcement::Enforce
        }
    }
}

fn convert_rule(
    peers: Option<&[NetworkPolicyPeer]>,
    ports: Option<&[NetworkPolicyPort]>,
    field: &str,
    side: &str,
    findings: &mut Findings<'_>,
) -> Rule {
    let mut all = Vec::new();
    for (index, peer) in peers.unwrap_or_default().iter().enumerate() {
        all.extend(convert_peer(
            peer,
            &format!("{field}.{side}[{index}]"),
            findings,
        ));
    }
    let mut specs = Vec::new();
    for (index, port) in ports.unwrap_or_default().iter().enumerate() {
        specs.extend(convert_port(
            port,
            &format!("{field}.ports[{index}]"),
            findings,
        ));
    }
    // An empty list is everybody, as an absent one is.
    let peers = peers.is_some_and(|peers| !peers.is_empty()).then_some(all);
    let some = ports.is_some_and(|ports| !ports.is_empty());
    Rule {
        peers,
        ports: if some { Ports::Of(specs) } else { Ports::Any },
    }
}

fn convert_peer(
    peer: &NetworkPolicyPeer,
    field: &str,
    findings: &mut Findings<'_>,
) -> Option<Peer> {
    let NetworkPolicyPeer {
        ip_block,
        namespace_selector,
        pod_selector,
    } = peer;
    match (ip_block, namespace_selector, pod_selector) {
        (None, None, None) => {
            let message = "a peer must not be empty: give podSelector, namespaceSelector or ipBlock \
                           (`namespaceSelector: {}` is every pod)";
            findings.report(field, message);
            None
        }
        (Some(block), None, None) => {
            convert_block(block, &format!("{field}.ipBlock"), findings).map(Peer::Block)
        }
        (Some(_), ..) => {
            let message = "ipBlock stands alone: make podSelector and namespaceSelector a peer of \
                           their own";
            findings.report(format!("{field}.ipBlock"), message);
            None
        }
        (None, namespaces, pods) => Some(Peer::Pods {
            namespaces: namespaces.as_ref().map(|namespaces| {
                selector::convert(namespaces, &format!("{field}.namespaceSelector"), findings)
            }),
            pods: pods.as_ref().map_or_else(Selector::default, |pods| {
                selector::convert(pods, &format!("{field}.podSelector"), findings)
            }),
        }),
    }
}

fn convert_block(block: &IPBlock, field: &str, findings: &mut Findings<'_>) -> Option<IpBlock> {
    let cidr = findings.check(&format!("{field}.cidr"), network(&block.cidr));
    let mut except = Vec::new();
    for (index, text) in block.except.iter().flatten().enumerate() {
        let at = format!("{field}.except[{index}]");
        let Some(part) = findings.check(&at, network(text)) else {
            continue;
        };
        match cidr {
            Some(cidr) if !cidr.contains(&part) || cidr == part => {
                findings.report(
                    at,
                    format!("{part} must lie inside of {cidr} and be smaller"),
                );
            }
            Some(_) => except.push(part),
            None => {}
        }
    }
    except.sort_unstable();
    except.dedup();
    Some(IpBlock {
        cidr: cidr?,
        except,
    })
}

/// A network; its host bits are cleared, as the API means it.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    match text.parse::<IpNet>() {
        Ok(IpNet::V6(network)) if network.addr().to_ipv4_mapped().is_some() => Err(format!(
            "\"{text}\" is an IPv4 network in IPv6 clothes; write it as IPv4"
        )),
        Ok(network) => Ok(network.trunc()),
        Err(_) if check::address(text).is_ok() => {
            let bits = if text.contains(':') { 128 } else { 32 };
            Err(format!(
                "\"{text}\" is an address, not a network; write {text}/{bits} for it alone"
            ))
        }
        Err(_) => Err(format!(
            "\"{text}\" is no network; write it as 10.0.0.0/8 or fd00::/8 (at most /32, /128)"
        )),
    }
}

/// The same as kinds of our own, and cluster policies, take it: numbers without leading zeros, which to some mean other bases.
pub(super) fn exact_network(text: &str) -> Result<IpNet, String> {
    let network = network(text)?;
    let is_exact = text.split_once('/').is_some_and(|(address, length)| {
        address.parse::<IpAddr>().is_ok() && (length == "0" || !length.starts_with('0'))
    });
    if is_exact {
        Ok(network)
    } else {
        Err(format!(
            "\"{text}\" has a number with a leading zero; write it as {network}"
        ))
    }
}

fn convert_port(
    port: &NetworkPolicyPort,
    field: &str,
    findings: &mut Findings<'_>,
) -> Option<PortSpec> {
    let protocol = findings.check(
        &format!("{field}.protocol"),
        check::protocol(port.protocol.as_deref()),
    );
    let end = format!("{field}.endPort");
    match (&port.port, port.end_port) {
        (None, None) => protocol.map(PortSpec::All),
        (None, Some(_)) => {
            findings.report(end, "endPort needs a port, the first of the range");
            None
        }
        (Some(IntOrString::String(_)), Some(_)) => {
            findings.report(end, "endPort needs a port that is a number, not a name");
            None
        }
        (Some(IntOrString::String(name)), None) => {
            let name = findings.check(&format!("{field}.port"), check::port_name(name));
            Some(PortSpec::Named(protocol?, name?))
        }
        (Some(IntOrString::Int(first)), last) => {
            let first = findings.check(&format!("{field}.port"), check::port_number(*first));
            let last = match last {
                None => first,
                Some(last) => findings.check(&end, check::port_number(last)),
            };
            let (protocol, first, last) = (protocol?, first?, last?);
            if last < first {
                findings.report(
                    end,
                    format!("endPort {last} must not be below port {first}"),
                );
            }
            Some(PortSpec::Range(protocol, first, last))
        }
    }
}
