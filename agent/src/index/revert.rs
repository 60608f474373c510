//! The model back to objects of the Kubernetes API, as far as it was made from them: for what is kept on disk.
//!
//! **Invariant.** What is converted back and forth is equal, but for where it was read.

mod cluster;
mod firewall;
mod zones;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1,
        networking::v1::{
            IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule,
            NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{
        apis::meta::v1::{
            LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference, Time,
        },
        util::intstr::IntOrString,
    },
    jiff::Timestamp,
};

use super::policy;
use crate::{
    model::{
        CGROUP_ANNOTATION, ContainerPort, Enforcement, INTERFACE_ANNOTATION, Labels,
        NETNS_ANNOTATION, Namespace, Node, Operator, Peer, Phase, Place, Pod, Policy, PortSpec,
        Ports, Rule, Selector, Service, Snapshot, TargetPort,
    },
    watch::Object,
};

/// Everything that a source has told, one after the other.
pub(super) fn objects(snapshot: &Snapshot) -> impl Iterator<Item = Object> {
    let Snapshot {
        namespaces,
        pods,
        nodes,
        services,
        policies,
        local: _,
        node_addresses: _,
        broadcasts: _,
        cluster_policies,
        zones: all_zones,
        zone_policies,
        tenants,
        firewalls,
        grants,
        past: _,
    } = snapshot;
    let namespaces = namespaces.values().map(namespace);
    let nodes = nodes.values().map(node);
    let pods = pods.values().map(pod);
    let services = services.values().map(service);
    let policies = policies.values().map(policy);
    namespaces
        .chain(nodes)
        .chain(pods)
        .chain(services)
        .chain(policies)
        .chain(cluster_policies.values().map(cluster::policy))
        .chain(all_zones.values().map(zones::zone))
        .chain(zone_policies.values().map(zones::policy))
        .chain(tenants.values().map(zones::tenants))
        .chain(firewalls.values().map(firewall::firewall))
        .chain(grants.values().map(firewall::grant))
}

fn namespace(namespace: &Namespace) -> Object {
    let metadata = metadata("", &namespace.name, &namespace.labels);
    Object::Namespace(Box::new(v1::Namespace {
        metadata,
        ..v1::Namespace::default()
    }))
}

fn node(node: &Node) -> Object {
    let addresses = node.addresses.iter().map(|address| v1::NodeAddress {
        type_: "InternalIP".to_owned(),
        address: address.to_string(),
    });
    Object::Node(Box::new(v1::Node {
        metadata: metadata("", &node.name, &node.labels),
        spec: None,
        status: Some(v1::NodeStatus {
            addresses: Some(addresses.collect()),
            ..v1::NodeStatus::default()
        }),
    }))
}

fn pod(pod: &Pod) -> Object {
    let mut metadata = metadata(&pod.key.namespace, &pod.key.name, &pod.labels);
    metadata.uid = Some(pod.uid.clone());
    metadata.deletion_timestamp = pod.terminating.then_some(Time(Timestamp::UNIX_EPOCH));
    metadata.owner_references = pod.owner.as_ref().map(|owner| {
        vec![OwnerReference {
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            controller: Some(true),
            ..OwnerReference::default()
        }]
    });
    let mut annotations: BTreeMap<String, String> = pod
        .metadata_requests
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    match &pod.place {
        Some(Place::Netns(name)) => annotations.insert(NETNS_ANNOTATION.to_owned(), name.clone()),
        Some(Place::Interface(name)) => {
            annotations.insert(INTERFACE_ANNOTATION.to_owned(), name.clone())
        }
        None => None,
    };
    if let Some(cgroup) = &pod.cgroup {
        annotations.insert(CGROUP_ANNOTATION.to_owned(), cgroup.clone());
    }
    metadata.annotations = Some(annotations);
    let ports = pod.ports.iter().map(container_port);
    let addresses = pod.addresses.iter().map(|address| v1::PodIP {
        ip: address.to_string(),
    });
    let phase = match pod.phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
        Phase::Unknown => "Unknown",
    };
    Object::Pod(Box::new(v1::Pod {
        metadata,
        spec: Some(v1::PodSpec {
            node_name: pod.node.as_deref().map(str::to_owned),
            host_network: Some(pod.host_network),
            service_account_name: Some(pod.service_account.to_string()),
            containers: vec![v1::Container {
                ports: Some(ports.collect()),
                ..v1::Container::default()
            }],
            ..v1::PodSpec::default()
        }),
        status: Some(v1::PodStatus {
            phase: Some(phase.to_owned()),
            pod_ips: Some(addresses.collect()),
            ..v1::PodStatus::default()
        }),
    }))
}

fn container_port(port: &ContainerPort) -> v1::ContainerPort {
    v1::ContainerPort {
        name: port.name.clone(),
        container_port: port.port.into(),
        protocol: Some(port.protocol.to_string()),
        host_port: port.host_port.map(Into::into),
        host_ip: None,
    }
}

fn service(service: &Service) -> Object {
    let addresses = service.addresses.iter().map(ToString::to_string);
    let ports = service.ports.iter().map(|port| v1::ServicePort {
        name: port.name.clone(),
        protocol: Some(port.protocol.to_string()),
        port: port.port.into(),
        target_port: Some(match &port.target {
            TargetPort::Number(number) => IntOrString::Int((*number).into()),
            TargetPort::Name(name) => IntOrString::String(name.clone()),
        }),
        node_port: port.node_port.map(Into::into),
        app_protocol: None,
    });
    // A Service selects by equality only.
    let selector = service.selector.as_ref().map(|selector| {
        let labels = selector.requirements.iter();
        labels
            .filter_map(|requirement| match &requirement.operator {
                Operator::In(values) => Some((requirement.key.clone(), values.first()?.clone())),
                _ => None,
            })
            .collect()
    });
    Object::Service(Box::new(v1::Service {
        metadata: metadata(&service.namespace, &service.name, &Labels::new()),
        spec: Some(v1::ServiceSpec {
            selector,
            cluster_ips: Some(addresses.collect()),
            ports: Some(ports.collect()),
            ..v1::ServiceSpec::default()
        }),
        status: None,
    }))
}

fn policy(policy: &Policy) -> Object {
    let mut metadata = metadata(&policy.key.namespace, &policy.key.name, &Labels::new());
    if policy.enforcement == Enforcement::Audit {
        let audit = (policy::ENFORCEMENT.to_owned(), "Audit".to_owned());
        metadata.annotations = Some([audit].into());
    }
    let mut types = Vec::new();
    types.extend(policy.ingress.is_some().then(|| "Ingress".to_owned()));
    types.extend(policy.egress.is_some().then(|| "Egress".to_owned()));
    let ingress = policy.ingress.iter().flatten();
    let ingress = ingress.map(|rule| NetworkPolicyIngressRule {
        from: peers(rule),
        ports: ports(rule),
    });
    let egress = policy.egress.iter().flatten();
    let egress = egress.map(|rule| NetworkPolicyEgressRule {
        to: peers(rule),
        ports: ports(rule),
    });
    Object::NetworkPolicy(Box::new(NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(&policy.subject)),
            policy_types: Some(types),
            ingress: Some(ingress.collect()),
            egress: Some(egress.collect()),
        }),
    }))
}

fn peers(rule: &Rule) -> Option<Vec<NetworkPolicyPeer>> {
    let peers = rule.peers.as_ref()?.iter().map(|peer| match peer {
        Peer::Pods { namespaces, pods } => NetworkPolicyPeer {
            ip_block: None,
            namespace_selector: namespaces.as_ref().map(selector),
            pod_selector: Some(selector(pods)),
        },
        Peer::Block(block) => NetworkPolicyPeer {
            ip_block: Some(IPBlock {
                cidr: block.cidr.to_string(),
                except: Some(block.except.iter().map(ToString::to_string).collect()),
            }),
            ..NetworkPolicyPeer::default()
        },
    });
    Some(peers.collect())
}

fn ports(rule: &Rule) -> Option<Vec<NetworkPolicyPort>> {
    let Ports::Of(ports) = &rule.ports else {
        return None;
    };
    let ports = ports.iter().map(|port| {
        let (protocol, port, end_port) = match port {
            PortSpec::All(protocol) => (protocol, None, None),
            PortSpec::Range(protocol, first, last) => (
                protocol,
                Some(IntOrString::Int((*first).into())),
                Some((*last).into()),
            ),
            PortSpec::Named(protocol, name) => {
                (protocol, Some(IntOrString::String(name.clone())), None)
            }
        };
        NetworkPolicyPort {
            protocol: Some(protocol.to_string()),
            port,
            end_port,
        }
    });
    Some(ports.collect())
}

pub(super) fn selector(selector: &Selector) -> LabelSelector {
    let expressions = selector.requirements.iter().map(|requirement| {
        let (operator, values) = match &requirement.operator {
            Operator::In(values) => ("In", Some(values.to_vec())),
            Operator::NotIn(values) => ("NotIn", Some(values.to_vec())),
            Operator::Exists => ("Exists", None),
            // Absent is as much of it as an object can say; none has it.
            Operator::DoesNotExist | Operator::Blank => ("DoesNotExist", None),
        };
        LabelSelectorRequirement {
            key: requirement.key.clone(),
            operator: operator.to_owned(),
            values,
        }
    });
    LabelSelector {
        match_expressions: Some(expressions.collect()),
        match_labels: None,
    }
}

fn metadata(namespace: &str, name: &str, labels: &Labels) -> ObjectMeta {
    let labels = labels.iter();
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        labels: Some(
            labels
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        ),
        ..ObjectMeta::default()
    }
}
