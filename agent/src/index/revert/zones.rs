//! Zones, the rules between them, and tenants.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{LabelSelector, Time},
    jiff::Timestamp,
};

use super::{metadata, selector};
use crate::{
    api,
    model::{
        self, Entity, Expiry, IntraZone, Members, Openness, PortSpec, Ports, Protocol, Selector,
        TenantIsolation, TenantMode, Workloads, Zone, ZoneAction, ZonePeer, ZonePolicy,
    },
    watch::Object,
};

pub(super) fn zone(zone: &Zone) -> Object {
    let members = zone.members.iter().map(|member| match member {
        Members::Workloads(pods) => api::Members {
            workloads: Some(workloads(pods)),
            ..api::Members::default()
        },
        Members::Networks { cidrs, except } => api::Members {
            networks: Some(api::Networks {
                cidrs: cidrs.iter().map(ToString::to_string).collect(),
                except: filled(except.iter().map(ToString::to_string).collect()),
            }),
            ..api::Members::default()
        },
        Members::Nodes(nodes) => api::Members {
            nodes: Some(selector(nodes)),
            ..api::Members::default()
        },
    });
    let spec = api::SecurityZoneSpec {
        description: None,
        members: members.collect(),
        ingress: openness(zone.ingress),
        egress: openness(zone.egress),
        intra_zone_traffic: match zone.intra_zone {
            IntraZone::Allow => api::IntraZoneTraffic::Allow,
            IntraZone::Deny => api::IntraZoneTraffic::Deny,
        },
        enforcement: enforcement(zone.enforcement),
    };
    let mut object = api::SecurityZone::new(&zone.name, spec);
    object.metadata = named(&zone.name);
    Object::SecurityZone(Box::new(object))
}

pub(super) fn policy(policy: &ZonePolicy) -> Object {
    let rules = policy.rules.iter().map(|rule| {
        let except = rule.except.iter().map(|except| api::ZoneException {
            name: except.name.clone(),
            from: except.from.as_deref().map(peers),
            to: except.to.as_deref().map(peers),
            ports: ports(&except.ports),
            expiration_time: time(except.expiry),
        });
        api::ZoneRule {
            name: rule.name.clone(),
            action: match rule.action {
                ZoneAction::Allow => api::Action::Allow,
                ZoneAction::Deny => api::Action::Deny,
            },
            from: peers(&rule.from),
            to: peers(&rule.to),
            ports: ports(&rule.ports),
            except: filled(except.collect()),
            acknowledge_lockout: rule.acknowledge_lockout,
            expiration_time: time(rule.expiry),
        }
    });
    let spec = api::ZonePolicySpec {
        description: None,
        enforcement: enforcement(policy.enforcement),
        canary: policy.canary.as_ref().map(canary),
        rules: rules.collect(),
    };
    let mut object = api::ZonePolicy::new(&policy.name, spec);
    object.metadata = named(&policy.name);
    Object::ZonePolicy(Box::new(object))
}

pub(super) fn tenants(tenants: &TenantIsolation) -> Object {
    let side = |side: &Option<Vec<Workloads>>| -> Option<Vec<api::Workloads>> {
        Some(side.as_ref()?.iter().map(workloads).collect())
    };
    let except = tenants.except.iter().map(|except| api::TenantException {
        name: except.name.clone(),
        from: side(&except.from),
        to: side(&except.to),
        ports: ports(&except.ports),
        expiration_time: time(except.expiry),
    });
    let spec = api::TenantIsolationSpec {
        description: None,
        namespace_label_key: tenants.label.clone(),
        mode: match tenants.mode {
            TenantMode::Strict => api::TenantMode::Strict,
            TenantMode::Overridable => api::TenantMode::Overridable,
        },
        shared_namespaces: tenants.shared.iter().map(selector).collect(),
        except: filled(except.collect()),
        enforcement: enforcement(tenants.enforcement),
        canary: tenants.canary.as_ref().map(canary),
    };
    let mut object = api::TenantIsolation::new(&tenants.name, spec);
    object.metadata = named(&tenants.name);
    Object::TenantIsolation(Box::new(object))
}

pub(super) fn named(name: &str) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    metadata("", name, &model::Labels::new())
}

/// A list, absent if there is nothing in it.
pub(super) fn filled<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

pub(super) const fn enforcement(enforcement: model::Enforcement) -> api::Enforcement {
    match enforcement {
        model::Enforcement::Enforce => api::Enforcement::Enforce,
        model::Enforcement::Audit => api::Enforcement::Audit,
        model::Enforcement::Disabled => api::Enforcement::Disabled,
    }
}

const fn openness(openness: Openness) -> api::Openness {
    match openness {
        Openness::Open => api::Openness::Open,
        Openness::Isolated => api::Openness::Isolated,
    }
}

/// An empty selector of pods is as good as none.
fn narrowing(pods: &Selector) -> Option<LabelSelector> {
    (!pods.requirements.is_empty()).then(|| selector(pods))
}

pub(super) fn workloads(pods: &Workloads) -> api::Workloads {
    api::Workloads {
        namespace_selector: selector(&pods.namespaces),
        pod_selector: narrowing(&pods.pods),
        service_account_names: filled(pods.accounts.iter().cloned().collect()),
    }
}

fn canary(canary: &model::Canary) -> api::Canary {
    api::Canary {
        namespace_selector: Some(selector(&canary.namespaces)),
        pod_selector: narrowing(&canary.pods),
    }
}

fn peers(peers: &[ZonePeer]) -> Vec<api::ZonePeer> {
    let peers = peers.iter().map(|peer| match peer {
        ZonePeer::Zone(name) => api::ZonePeer {
            zone_names: Some(vec![name.clone()]),
            entity: None,
        },
        ZonePeer::Entity(entity) => api::ZonePeer {
            zone_names: None,
            entity: Some(match entity {
                Entity::Any => api::Entity::Any,
                Entity::World => api::Entity::World,
                Entity::Cluster => api::Entity::Cluster,
                Entity::Unzoned => api::Entity::Unzoned,
            }),
        },
    });
    peers.collect()
}

pub(super) const fn protocol(protocol: Protocol) -> api::Protocol {
    match protocol {
        Protocol::Tcp => api::Protocol::Tcp,
        Protocol::Udp => api::Protocol::Udp,
        Protocol::Sctp => api::Protocol::Sctp,
    }
}

fn ports(ports: &Ports) -> Option<Vec<api::PortRange>> {
    let Ports::Of(ports) = ports else {
        return None;
    };
    let ports = ports.iter().filter_map(|port| {
        let (protocol, port, end_port) = match port {
            PortSpec::All(protocol) => (protocol, None, None),
            PortSpec::Range(protocol, first, last) => (
                protocol,
                Some((*first).into()),
                (first != last).then(|| (*last).into()),
            ),
            // These kinds have no names of ports.
            PortSpec::Named(..) => return None,
        };
        Some(api::PortRange {
            protocol: self::protocol(*protocol),
            port,
            end_port,
        })
    });
    Some(ports.collect())
}

pub(super) fn time(expiry: Expiry) -> Option<Time> {
    Timestamp::from_second(expiry.0?).ok().map(Time)
}
