//! The resources that are watched, each trimmed while it is decoded to what the index asks about.
//!
//! Pods, nodes and services are decoded leniently, since what is left out of them opens nothing. A policy goes
//! through the manifests' strict decoder: a field that is not understood makes it [`Event::Broken`].

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
    jiff::Timestamp,
};
use serde::{Deserialize, de::DeserializeOwned, de::IgnoredAny};
use serde_json::Value;

use super::super::{Event, Kind, Object, ObjectKey, Read, manifest};
use crate::model::Origin;

/// A resource of the Kubernetes API.
pub(super) trait Resource: DeserializeOwned + Clone + Send + Sync + 'static {
    /// What its objects are.
    const KIND: Kind;
    /// Its name in paths and in roles.
    const PLURAL: &'static str;
    /// Its API group; empty for the core's.
    const GROUP: &'static str = "";
    /// Its version.
    const VERSION: &'static str = "v1";
    /// Only its metadata is asked for.
    const METADATA_ONLY: bool = false;

    /// Namespace, name, version.
    fn metadata(&self) -> &Metadata;

    /// What the index is told.
    fn into_event(self) -> Event;

    /// Where it lies.
    fn path() -> String {
        match Self::GROUP {
            "" => format!("/api/v1/{}", Self::PLURAL),
            group => format!("/apis/{group}/{}/{}", Self::VERSION, Self::PLURAL),
        }
    }

    /// What tells it from others.
    fn key(&self) -> ObjectKey {
        let metadata = self.metadata();
        ObjectKey::new(Self::KIND, metadata.namespace.as_deref(), &metadata.name)
    }
}

/// What counts of an object's metadata.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub namespace: Option<String>,
    #[serde(default)]
    pub resource_version: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    generation: Option<i64>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "known_annotations")]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Namespace {
    metadata: Metadata,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Node {
    metadata: Metadata,
    #[serde(default)]
    status: Option<NodeStatus>,
}

#[derive(Clone, Debug, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    addresses: Option<Vec<v1::NodeAddress>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: Option<PodSpec>,
    #[serde(default)]
    status: Option<PodStatus>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    #[serde(default)]
    node_name: Option<String>,
    #[serde(default)]
    host_network: Option<bool>,
    #[serde(default)]
    service_account_name: Option<String>,
    #[serde(default)]
    containers: Option<Vec<Container>>,
    #[serde(default)]
    init_containers: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    ports: Option<Vec<v1::ContainerPort>>,
    #[serde(default)]
    restart_policy: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    #[serde(default)]
    phase: Option<String>,
    #[serde(default, rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(default, rename = "podIPs")]
    pod_ips: Option<Vec<v1::PodIP>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Service {
    metadata: Metadata,
    #[serde(default)]
    spec: Option<ServiceSpec>,
    #[serde(default)]
    status: Option<v1::ServiceStatus>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSpec {
    #[serde(default)]
    selector: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(default, rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(default, rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    #[serde(default)]
    ports: Option<Vec<v1::ServicePort>>,
}

/// A policy, as it came: everything in it counts.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct NetworkPolicy {
    metadata: Metadata,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

// === impl Metadata ===

impl Metadata {
    pub fn convert(self) -> ObjectMeta {
        let Self {
            name,
            namespace,
            resource_version: _,
            uid,
            generation,
            labels,
            annotations,
            deletion_timestamp,
            owner_references,
        } = self;
        ObjectMeta {
            name: Some(name),
            namespace,
            uid,
            generation,
            labels,
            annotations,
            // That it is set counts, not to what.
            deletion_timestamp: deletion_timestamp.map(|_| Time(Timestamp::UNIX_EPOCH)),
            owner_references,
            ..ObjectMeta::default()
        }
    }
}

/// Drops annotations that nobody asks about: some are as long as the object.
fn known_annotations<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let mut all = Option::<BTreeMap<String, String>>::deserialize(from)?;
    if let Some(all) = &mut all {
        all.retain(|key, _| {
            let domain = key.split('/').next().unwrap_or_default();
            domain == "ringfence.dev"
                || domain.ends_with(".ringfence.dev")
                || key == "iam.amazonaws.com/role"
        });
    }
    Ok(all.filter(|all| !all.is_empty()))
}

fn applied(key: ObjectKey, object: Object) -> Event {
    Event::Apply(Box::new(Read {
        key,
        object,
        origin: Origin::default(),
        lines: BTreeMap::new(),
    }))
}

// === impl Resource ===

impl Resource for Namespace {
    const KIND: Kind = Kind::Namespace;
    const PLURAL: &'static str = "namespaces";
    const METADATA_ONLY: bool = true;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_event(self) -> Event {
        let object = v1::Namespace {
            metadata: self.metadata.clone().convert(),
            ..v1::Namespace::default()
        };
        applied(self.key(), Object::Namespace(Box::new(object)))
    }
}

impl Resource for Node {
    const KIND: Kind = Kind::Node;
    const PLURAL: &'static str = "nodes";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_event(self) -> Event {
        let key = self.key();
        let object = v1::Node {
            metadata: self.metadata.convert(),
            spec: None,
            status: self.status.map(|status| v1::NodeStatus {
                addresses: status.addresses,
                ..v1::NodeStatus::default()
            }),
        };
        applied(key, Object::Node(Box::new(object)))
    }
}

impl Resource for Pod {
    const KIND: Kind = Kind::Pod;
    const PLURAL: &'static str = "pods";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_event(self) -> Event {
        let key = self.key();
        let containers = |list: Option<Vec<Container>>| {
            let containers = list.into_iter().flatten().map(|container| v1::Container {
                ports: container.ports,
                restart_policy: container.restart_policy,
                ..v1::Container::default()
            });
            containers.collect::<Vec<_>>()
        };
        let object = v1::Pod {
            metadata: self.metadata.convert(),
            spec: self.spec.map(|spec| v1::PodSpec {
                node_name: spec.node_name,
                host_network: spec.host_network,
                service_account_name: spec.service_account_name,
                containers: containers(spec.containers),
                init_containers: Some(containers(spec.init_containers)),
                ..v1::PodSpec::default()
            }),
            status: self.status.map(|status| v1::PodStatus {
                phase: status.phase,
                pod_ip: status.pod_ip,
                pod_ips: status.pod_ips,
                ..v1::PodStatus::default()
            }),
        };
        applied(key, Object::Pod(Box::new(object)))
    }
}

impl Resource for Service {
    const KIND: Kind = Kind::Service;
    const PLURAL: &'static str = "services";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_event(self) -> Event {
        let key = self.key();
        let object = v1::Service {
            metadata: self.metadata.convert(),
            spec: self.spec.map(|spec| v1::ServiceSpec {
                selector: spec.selector,
                cluster_ip: spec.cluster_ip,
                cluster_ips: spec.cluster_ips,
                external_ips: spec.external_ips,
                ports: spec.ports,
                ..v1::ServiceSpec::default()
            }),
            status: self.status,
        };
        applied(key, Object::Service(Box::new(object)))
    }
}

impl Resource for NetworkPolicy {
    const KIND: Kind = Kind::NetworkPolicy;
    const PLURAL: &'static str = "networkpolicies";
    const GROUP: &'static str = "networking.k8s.io";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_event(self) -> Event {
        let key = self.key();
        let Self { metadata, mut rest } = self;
        // Not the policy's: what it is called, and what older servers say about it.
        for field in ["apiVersion", "kind", "status"] {
            rest.remove(field);
        }
        manifest::policy(key, metadata.convert(), &Value::Object(rest))
    }
}
