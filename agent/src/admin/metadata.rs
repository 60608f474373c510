//! `/v1/metadata`: who may reach the metadata services, by what, and who has tried without. The command line makes the same of
//! manifests.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use ringfence_common::event::Reason;
use serde::{Deserialize, Serialize};

use super::Shared;
use crate::{
    compile::{self, Grantor, Options, grants_of, is_of_this_node},
    dataplane::{ConnectionView, EndpointView},
    model::{EndpointKind, Pod, PodKey, Snapshot},
    observe::{
        Query,
        flow::{Flow, FlowVerdict, timestamp},
    },
};

/// `/v1/metadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The metadata firewall is in audit: what has no grant passes and is told of.
    #[serde(default)]
    pub audited: bool,
    /// Every endpoint.
    pub endpoints: Vec<MetadataEndpoint>,
    /// Pods that may reach one, or have tried to, by name.
    pub pods: Vec<MetadataPod>,
    /// All pods of the namespaces of those that have reached one in an audit, by namespace: a grant must tell these from the others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, Vec<MetadataNeighbour>>,
    /// Since when this is known of audits; the agent's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Pods that reached one in an audit and are forgotten for want of room.
    #[serde(default)]
    pub forgotten: u64,
}

/// By what a grant can know a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataNeighbour {
    /// Name.
    pub name: String,
    /// Service account.
    pub service_account: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A metadata endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataEndpoint {
    /// Name.
    pub name: String,
    /// Of a proxy: endpoints that it answers for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stands_for: Vec<String>,
    /// Where it answers.
    pub addresses: Vec<IpAddr>,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataPod {
    /// `namespace/name`.
    pub pod: String,
    /// Its service account, if the pod is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// It has its node's network.
    #[serde(default)]
    pub host_network: bool,
    /// By what it may reach some of them.
    pub grants: Vec<MetadataGrant>,
    /// Connections to them that are under way.
    #[serde(default)]
    pub connections: usize,
    /// What it was denied lately.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<MetadataTried>,
    /// What it reached without a grant, in an audit, since the agent started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<MetadataTried>,
}

impl MetadataPod {
    /// What grants it an endpoint now, itself or by a proxy that answers for it.
    pub fn grants_of<'a>(
        &'a self,
        metadata: &'a Metadata,
        name: &str,
    ) -> impl Iterator<Item = &'a MetadataGrant> {
        let mut names = through(self, metadata, name);
        names.extend(metadata.endpoint(name).map(|it| it.name.as_str()));
        let grants = self.grants.iter();
        grants.filter(move |it| it.endpoints.iter().any(|it| names.contains(it.as_str())))
    }
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataGrant {
    /// `MetadataAccess/NAME`, `annotation KEY`, `hostNetworkPods`, `hostNetworkExceptions/NAME`, or `agent`: it is the agent's own pod.
    pub by: String,
    /// Endpoints that it opens.
    pub endpoints: Vec<String>,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// What a pod was denied, or reached in an audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataTried {
    /// The endpoint; left out for one that is none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The address that it asked for.
    pub address: IpAddr,
    /// How often; of denials, among the flows that the agent remembers.
    pub times: u64,
    /// When it last was.
    pub last: String,
    /// The hook that refused it, or told of it.
    pub hook: String,
}

impl Metadata {
    /// What a state says of the pods that are asked about.
    #[must_use]
    pub fn of(
        snapshot: &Snapshot,
        denied: &compile::Metadata,
        options: &Options,
        asked: impl Fn(&Pod) -> bool,
    ) -> Self {
        let audited = denied.audited;
        let addresses = |name: &str| {
            let all = denied.addresses.iter();
            let own = all.filter(|(_, denied)| *denied.endpoint == *name);
            own.map(|(address, _)| *address).collect()
        };
        let endpoints = denied
            .endpoints
            .iter()
            .map(|(name, kind)| MetadataEndpoint {
                name: name.to_string(),
                stands_for: match kind {
                    EndpointKind::Service => Vec::new(),
                    EndpointKind::Proxy(names) => names.iter().map(ToString::to_string).collect(),
                },
                addresses: addresses(name),
            });
        let pods = snapshot.pods.values();
        let pods = pods.filter(|pod| pod.is_running() && asked(pod));
        let pods = pods.filter_map(|pod| {
            let grants: Vec<MetadataGrant> = grants_of(pod, snapshot, denied, options)
                .into_iter()
                .map(|because| MetadataGrant {
                    by: match because.by {
                        Grantor::Access(name) => format!("MetadataAccess/{name}"),
                        Grantor::Annotation(key) => format!("annotation {key}"),
                        Grantor::Agent => "agent".to_owned(),
                        Grantor::HostNetwork => "hostNetworkPods".to_owned(),
                        Grantor::HostNetworkException(name) => {
                            format!("hostNetworkExceptions/{name}")
                        }
                    },
                    endpoints: because.endpoints.iter().map(ToString::to_string).collect(),
                    expires: because.ends.map(moment),
                })
                .collect();
            (!grants.is_empty()).then(|| MetadataPod {
                pod: pod.key.to_string(),
                service_account: Some(pod.service_account.to_string()),
                host_network: pod.host_network,
                grants,
                ..MetadataPod::default()
            })
        });
        Self {
            audited,
            endpoints: endpoints.collect(),
            pods: pods.collect(),
            ..Self::default()
        }
    }

    /// The endpoint of this name, or at this address.
    #[must_use]
    pub fn endpoint(&self, asked: &str) -> Option<&MetadataEndpoint> {
        let address = asked.parse::<IpAddr>().ok().map(|it| it.to_canonical());
        let is_it = |it: &&MetadataEndpoint| {
            it.name == asked || address.is_some_and(|address| it.addresses.contains(&address))
        };
        self.endpoints.iter().find(is_it)
    }

    fn pod(&mut self, name: &str) -> &mut MetadataPod {
        match self.pods.binary_search_by(|pod| (*pod.pod).cmp(name)) {
            Ok(at) => &mut self.pods[at],
            Err(at) => {
                let pod = MetadataPod {
                    pod: name.to_owned(),
                    ..MetadataPod::default()
                };
                self.pods.insert(at, pod);
                &mut self.pods[at]
            }
        }
    }
}

/// What the agent knows: of its own pods, and what they have tried.
pub(super) fn of_agent(
    shared: &Shared,
    views: &[EndpointView],
    connections: &[ConnectionView],
) -> Metadata {
    let placed = shared.placed.borrow().clone();
    let snapshot = placed
        .map(|placed| placed.snapshot.clone())
        .unwrap_or_default();
    let denied = compile::Metadata::of(&snapshot);
    let options = shared.config.compile_options();
    let mut metadata = Metadata::of(&snapshot, &denied, &options, |pod| {
        snapshot.local.contains_key(&pod.key) || is_of_this_node(pod, &options)
    });
    metadata.pods.sort_by(|a, b| a.pod.cmp(&b.pod));
    let owners: BTreeMap<IpAddr, &str> = views
        .iter()
        .flat_map(|view| view.addresses.iter().map(|it| (*it, &*view.pod)))
        .collect();
    for connection in connections {
        let port = crate::model::Protocol::ALL
            .into_iter()
            .find(|it| it.number() == connection.protocol)
            .map(|protocol| (protocol, connection.remote_port));
        let there = denied.at(connection.remote);
        if let Some(pod) = owners.get(&connection.local)
            && there.is_some_and(|(_, denied)| denied.is_denied(port))
        {
            metadata.pod(pod).connections += 1;
        }
    }
    let query = Query {
        verdict: "deny,would-allow".to_owned(),
        ..Query::default()
    };
    for flow in &shared.recorder.subscribe(&query).recent {
        note(&mut metadata, flow, &denied);
    }
    note_reached(&mut metadata, shared, &snapshot);
    metadata
}

/// What was reached in audits, and by what a grant could know who did.
fn note_reached(metadata: &mut Metadata, shared: &Shared, snapshot: &Snapshot) {
    let (reached, forgotten) = shared.reached.all();
    metadata.forgotten = forgotten;
    metadata.since = Some(timestamp(shared.started));
    let mut namespaces = BTreeSet::new();
    for ((pod, endpoint), times) in reached {
        if let Some((namespace, _)) = pod.split_once('/') {
            namespaces.insert(namespace.to_owned());
        }
        metadata.pod(&pod).reached.push(MetadataTried {
            endpoint,
            address: times.address,
            times: times.times,
            last: times.last,
            hook: times.hook,
        });
    }
    for known in &mut metadata.pods {
        let key = known.pod.split_once('/').map(|(namespace, name)| PodKey {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
        if let Some(pod) = key.and_then(|key| snapshot.pods.get(&key)) {
            known.service_account = Some(pod.service_account.to_string());
            known.host_network = pod.host_network;
        }
    }
    for pod in snapshot.pods.values() {
        if !pod.is_running() || !namespaces.contains(&pod.key.namespace) {
            continue;
        }
        let labels = pod.labels.iter();
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let neighbour = MetadataNeighbour {
            name: pod.key.name.clone(),
            service_account: pod.service_account.to_string(),
            labels: labels.collect(),
        };
        let list = metadata.namespaces.entry(pod.key.namespace.clone());
        list.or_default().push(neighbour);
    }
}

fn note(metadata: &mut Metadata, flow: &Flow, denied: &compile::Metadata) {
    let refused = matches!(flow.verdict, FlowVerdict::Denied | FlowVerdict::WouldAllow);
    let (Some(pod), Some(address)) = (&flow.endpoint, flow.dst.ip) else {
        return;
    };
    if flow.reason != Reason::Metadata.as_str() || !refused {
        return;
    }
    let endpoint = denied.at(address);
    let address = endpoint.map_or(address, |(address, _)| address);
    let known = &mut metadata.pod(pod).denied;
    let entry = match known.iter_mut().find(|it| it.address == address) {
        Some(entry) => entry,
        None => {
            known.push(MetadataTried {
                endpoint: endpoint.map(|(_, denied)| denied.endpoint.to_string()),
                address,
                times: 0,
                last: String::new(),
                hook: String::new(),
            });
            let Some(entry) = known.last_mut() else {
                return;
            };
            entry
        }
    };
    entry.times += 1;
    entry.last.clone_from(&flow.time);
    entry.hook.clone_from(&flow.hook);
}

/// A second since 1970, as times are written.
fn moment(second: i64) -> String {
    let since = Duration::from_secs(u64::try_from(second).unwrap_or(0));
    SystemTime::UNIX_EPOCH
        .checked_add(since)
        .map(timestamp)
        .unwrap_or_default()
}

/// Names of endpoints that a pod may send to without reaching them itself, and the proxies by which.
#[must_use]
pub fn through<'a>(pod: &MetadataPod, metadata: &'a Metadata, name: &str) -> BTreeSet<&'a str> {
    let granted = |it: &&MetadataEndpoint| {
        let mut grants = pod.grants.iter();
        grants.any(|grant| grant.endpoints.contains(&it.name))
    };
    let proxies = metadata.endpoints.iter().filter(granted);
    let proxies = proxies.filter(|it| it.stands_for.iter().any(|other| other == name));
    proxies.map(|it| it.name.as_str()).collect()
}
