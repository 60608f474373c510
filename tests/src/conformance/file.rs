//! Files of truth tables and probes, as they are written. What is not for asking (provenance, features) is passed over.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::world::{Labels, Node, Port};

/// One case.
#[derive(Debug, Deserialize)]
pub struct CaseFile {
    pub id: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub notes: Option<String>,
    #[serde(default)]
    pub refused: Option<String>,
    pub initial: Initial,
    pub steps: Vec<StepFile>,
}

/// A world that stays as it is, with the admin policies that came before cluster network policies.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticFile {
    pub id: String,
    #[serde(default)]
    pub description: String,
    pub initial: Initial,
    #[serde(default)]
    pub network_policies: Vec<Value>,
    #[serde(default)]
    pub admin_network_policies: Vec<Value>,
    #[serde(default)]
    pub baseline_admin_network_policies: Vec<Value>,
    pub expected: Expected,
}

/// The state before the first step.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initial {
    #[serde(deserialize_with = "maybe_unlabelled")]
    pub namespaces: BTreeMap<String, Labels>,
    #[serde(default)]
    pub nodes: Vec<Node>,
    pub pods: Vec<PodFile>,
    #[serde(default)]
    pub services: Vec<ServiceFile>,
}

/// Namespaces, of which some have `null` for labels.
fn maybe_unlabelled<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Labels>, D::Error> {
    let read = BTreeMap::<String, Option<Labels>>::deserialize(deserializer)?;
    Ok(read
        .into_iter()
        .map(|(name, labels)| (name, labels.unwrap_or_default()))
        .collect())
}

/// Labels, or `null` for none.
fn maybe_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A pod.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodFile {
    pub namespace: String,
    pub name: String,
    #[serde(default, deserialize_with = "maybe_null")]
    pub labels: Labels,
    pub ip: Option<IpAddr>,
    #[serde(default)]
    pub ips: Vec<IpAddr>,
    #[serde(default)]
    pub containers: Vec<Port>,
    pub node: Option<String>,
    #[serde(default)]
    pub host_network: bool,
    pub phase: Option<String>,
    #[serde(default)]
    pub terminating: bool,
}

/// A service; its targets have the same port.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceFile {
    pub namespace: String,
    pub name: String,
    #[serde(rename = "type")]
    pub _type: String,
    pub selector: Labels,
    #[serde(rename = "port")]
    pub _port: u16,
}

/// A step: actions or a whole state; tables or probes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepFile {
    #[serde(default)]
    pub actions: Vec<Action>,
    pub state: Option<State>,
    #[serde(rename = "probe")]
    pub _probe: Option<Value>,
    pub expected: Option<Expected>,
    #[serde(default)]
    pub probes: Vec<ProbeFile>,
    #[serde(rename = "subtest")]
    pub _subtest: Option<String>,
}

/// A change.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub enum Action {
    CreatePolicy {
        policy: Value,
    },
    UpdatePolicy {
        policy: Value,
    },
    DeletePolicy {
        namespace: String,
        name: String,
    },
    CreateNamespace {
        namespace: String,
        #[serde(default)]
        labels: Labels,
    },
    SetNamespaceLabels {
        namespace: String,
        labels: Labels,
    },
    DeleteNamespace {
        namespace: String,
    },
    CreatePod {
        namespace: String,
        pod: String,
        #[serde(default)]
        labels: Labels,
        #[serde(default)]
        ips: Vec<IpAddr>,
        containers: Option<Vec<Port>>,
    },
    SetPodLabels {
        namespace: String,
        pod: String,
        #[serde(deserialize_with = "maybe_null")]
        labels: Labels,
    },
    DeletePod {
        namespace: String,
        pod: String,
    },
}

/// The world after the actions, or all policies that are to be in place.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct State {
    pub resources: Option<Resources>,
    #[serde(rename = "policies")]
    pub names: Option<Vec<String>>,
    pub network_policies: Option<Vec<Value>>,
    pub cluster_network_policies: Option<Vec<Value>>,
    pub namespaces: Option<BTreeMap<String, Labels>>,
}

/// What a suite says about the world after the actions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    #[serde(deserialize_with = "maybe_unlabelled")]
    pub namespaces: BTreeMap<String, Labels>,
    pub pods: Vec<PodFile>,
}

/// Truth tables.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    pub pods: Vec<String>,
    pub tables: BTreeMap<String, Tables>,
}

/// One port's: a string for each source, a character for each destination.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tables {
    pub ingress: Option<Vec<String>>,
    pub egress: Option<Vec<String>>,
    pub combined: Option<Vec<String>>,
}

/// One question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeFile {
    pub from: String,
    pub to: String,
    /// One of its addresses, if that one is meant.
    #[serde(rename = "toIP")]
    pub to_ip: Option<IpAddr>,
    pub protocol: String,
    #[serde(default)]
    pub port: u16,
    pub family: Option<FamilyFile>,
    pub allowed: bool,
    #[serde(rename = "why")]
    pub _why: Option<String>,
}

/// An address family, as Kubernetes writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum FamilyFile {
    IPv4,
    IPv6,
}
