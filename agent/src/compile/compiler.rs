//! The compiler with a memory: an update costs what differs from the snapshot before.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use ringfence_common::{
    Direction,
    endpoint::{MAX_ADDRESSES4, MAX_ADDRESSES6},
};

use super::{
    Desired, Endpoint, NetworkPolicy, Options, deferral,
    evaluator::{Evaluator, Subjects, Touched},
    metadata::{self, HostPods, Metadata},
    owned_by_cni,
    signature::Signatures,
    table,
    tables::Tables,
    without_network_policy, world,
};
use crate::model::{Diagnostic, Located, Pod, PodKey, Snapshot};

/// The compiler with a memory.
///
/// **Invariant.** After any updates it says of every packet what [`super::compile`] says of the last snapshot: rows that
/// nobody is in any more may still be there, and numbers are others.
#[derive(Debug)]
pub struct Compiler {
    options: Options,
    evaluator: Evaluator,
    signatures: Signatures,
    tables: Tables,
    desired: Desired,
    /// Addresses that do not fit an endpoint's record.
    surplus: BTreeMap<PodKey, Diagnostic>,
    diagnostics: Vec<Diagnostic>,
    host_pods: HostPods,
}

impl Compiler {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let host = options.host.clone();
        Self {
            options,
            evaluator: Evaluator::new(Subjects::Local, host),
            signatures: Signatures::new(),
            tables: Tables::default(),
            desired: Desired::default(),
            surplus: BTreeMap::new(),
            diagnostics: Vec::new(),
            host_pods: HostPods::default(),
        }
    }

    /// What the maps of the node should hold as of this snapshot, and what is wrong with single objects.
    pub fn update(&mut self, snapshot: &Snapshot) -> (Desired, Vec<Diagnostic>) {
        match self.options.network_policy {
            NetworkPolicy::Ringfence => self.take(snapshot),
            NetworkPolicy::Cni => {
                let (desired, mut diagnostics) = self.take(&without_network_policy(snapshot));
                diagnostics.extend(owned_by_cni(snapshot));
                (desired, diagnostics)
            }
        }
    }

    fn take(&mut self, snapshot: &Snapshot) -> (Desired, Vec<Diagnostic>) {
        let before = self.evaluator.snapshot().clone();
        let touched = self.evaluator.update(snapshot);
        let (born, dead) = self.signatures.update(&self.evaluator, &touched);
        let left = self.tables.update(
            &mut self.evaluator,
            &self.signatures,
            &touched,
            (&born, &dead),
        );
        self.evaluator.names.settle();
        if before.firewalls != snapshot.firewalls
            || before.node_addresses != snapshot.node_addresses
        {
            let metadata = Metadata::of(snapshot);
            if metadata != *self.desired.metadata {
                self.desired.metadata = Arc::new(metadata);
            }
        }
        self.host_pods
            .update(&before, snapshot, &mut self.desired, &self.options);
        for key in self.stale_endpoints(&before, snapshot, &touched, &left) {
            self.endpoint(&key, snapshot);
        }
        debug_assert!(
            self.has_own_tables(snapshot),
            "an endpoint has a table that is not its rulesets'"
        );
        self.host();
        self.desired.rules = self.tables.rules.clone();
        self.desired.signatures = self.signatures.texts.clone();
        self.desired.addresses = self.signatures.addresses.clone();
        self.desired.tables = self.tables.tables.clone();
        if before.node_addresses != snapshot.node_addresses {
            let addresses = snapshot.node_addresses.iter();
            self.desired.node_addresses = addresses.map(IpAddr::to_canonical).collect();
        }
        if before.nodes.differences(&snapshot.nodes).next().is_some()
            || before.node_addresses != snapshot.node_addresses
            || before.broadcasts != snapshot.broadcasts
        {
            self.desired.other_nodes = deferral::other_nodes(snapshot);
            let broadcasts = snapshot.broadcasts.iter();
            self.desired.broadcasts = broadcasts.map(IpAddr::to_canonical).collect();
        }
        let here =
            |key: &PodKey| snapshot.local.contains_key(key) || before.local.contains_key(key);
        if before
            .services
            .differences(&snapshot.services)
            .next()
            .is_some()
            || before.local.differences(&snapshot.local).next().is_some()
            || touched.pods.iter().any(here)
        {
            self.desired.services = deferral::translated(snapshot);
        }
        self.diagnostics = self.evaluator.diagnostics();
        self.diagnostics.extend(self.surplus.values().cloned());
        self.diagnostics
            .extend(metadata::unresolved(snapshot, &self.desired.metadata));
        (self.desired.clone(), self.diagnostics.clone())
    }

    fn stale_endpoints(
        &self,
        before: &Snapshot,
        snapshot: &Snapshot,
        touched: &Touched,
        left: &BTreeSet<usize>,
    ) -> BTreeSet<PodKey> {
        if metadata::may_differ(before, snapshot) {
            let endpoints = self.desired.endpoints.keys();
            return endpoints.chain(snapshot.local.keys()).cloned().collect();
        }
        // What counts as a request for metadata access depends on the namespace.
        let relabelled = before.namespaces.differences(&snapshot.namespaces);
        let mut namespaces: BTreeSet<&String> = relabelled.map(|it| it.key).collect();
        namespaces.extend(&touched.subjects);
        if namespaces.is_empty() && left.is_empty() {
            return touched.pods.clone();
        }
        let was_left = |table: Option<usize>| table.is_some_and(|it| left.contains(&it));
        let stale = self.desired.endpoints.iter().filter(|(key, endpoint)| {
            namespaces.contains(&key.namespace)
                || was_left(endpoint.ingress)
                || was_left(endpoint.egress)
        });
        let stale = stale.map(|(key, _)| key);
        stale.chain(&touched.pods).cloned().collect()
    }

    /// True if every pod's endpoint has the tables of its pod's rulesets: those that were not looked at again, too.
    fn has_own_tables(&self, snapshot: &Snapshot) -> bool {
        let pods = self
            .desired
            .endpoints
            .iter()
            .filter(|(key, _)| !key.is_node());
        let mut endpoints = pods.filter_map(|(key, it)| Some((snapshot.pods.get(key)?, it)));
        endpoints.all(|(pod, endpoint)| {
            self.table_of(pod, Direction::Ingress) == endpoint.ingress
                && self.table_of(pod, Direction::Egress) == endpoint.egress
        })
    }

    fn table_of(&self, pod: &Pod, direction: Direction) -> Option<usize> {
        let ruleset = self.evaluator.ruleset_index(pod, direction)?;
        self.tables.of(ruleset)
    }

    /// The node itself, if anything is said to it.
    fn host(&mut self) {
        let Some(host) = &self.options.host else {
            return;
        };
        let key = PodKey::of_node(&host.node);
        let tables = self
            .evaluator
            .rulesets_of_host()
            .map(|rulesets| rulesets.map(|ruleset| self.tables.of(ruleset?)));
        match tables {
            Some([ingress, egress]) if ingress.is_some() || egress.is_some() => {
                let endpoint = Endpoint {
                    uid: String::new(),
                    located: Located::of_node(),
                    addresses: Vec::new(),
                    ingress,
                    egress,
                    metadata: Arc::default(),
                    encapsulates: false,
                    cgroup: String::new(),
                };
                self.desired.endpoints.set(key, endpoint);
            }
            _ => {
                self.desired.endpoints.remove(&key);
            }
        }
    }

    /// Looks again at one pod of this node.
    fn endpoint(&mut self, key: &PodKey, snapshot: &Snapshot) {
        if key.is_node() {
            return;
        }
        self.surplus.remove(key);
        let (Some(pod), Some(located)) = (
            snapshot.pods.get(key).filter(|pod| world::is_member(pod)),
            snapshot.local.get(key),
        ) else {
            self.desired.endpoints.remove(key);
            return;
        };
        let endpoint = Endpoint {
            uid: pod.uid.clone(),
            located: located.clone(),
            addresses: world::own_addresses(pod, Some(located)),
            ingress: self.table_of(pod, Direction::Ingress),
            egress: self.table_of(pod, Direction::Egress),
            metadata: Arc::new(metadata::access(
                pod,
                snapshot,
                &self.desired.metadata,
                &self.options,
            )),
            encapsulates: metadata::encapsulates(pod, snapshot),
            cgroup: pod.cgroup_name(),
        };
        if let Some(surplus) = surplus_addresses(pod, &endpoint) {
            self.surplus.insert(key.clone(), surplus);
        }
        self.desired.endpoints.set(key.clone(), endpoint);
    }
}

/// Says which addresses of a pod do not fit its record: nothing can be sent from them.
fn surplus_addresses(pod: &Pod, endpoint: &Endpoint) -> Option<Diagnostic> {
    let (v4, v6): (Vec<_>, Vec<_>) = endpoint
        .sender_addresses()
        .into_iter()
        .partition(|address| address.is_ipv4());
    let surplus: Vec<String> = v4
        .iter()
        .skip(MAX_ADDRESSES4)
        .chain(v6.iter().skip(MAX_ADDRESSES6))
        .map(ToString::to_string)
        .collect();
    (!surplus.is_empty()).then(|| Diagnostic {
        origin: pod.origin.clone(),
        object: format!("Pod/{}", pod.key),
        field: "status.podIPs".to_owned(),
        message: format!(
            "a pod may have {MAX_ADDRESSES4} IPv4 and {MAX_ADDRESSES6} IPv6 addresses, those of its interface included; \
             what it sends from {} is dropped",
            surplus.join(", ")
        ),
    })
}

/// The same state with numbers that depend on content only.
pub(super) fn canonical(desired: Desired) -> Desired {
    let mut rules: Vec<(&String, usize)> =
        desired.rules.iter().map(|(&id, name)| (name, id)).collect();
    rules.sort_unstable();
    let rule_of: HashMap<usize, usize> = places(rules.iter().map(|&(_, id)| id));
    let mut signatures: Vec<_> = desired
        .signatures
        .iter()
        .map(|(&id, text)| (text, id))
        .collect();
    signatures.sort_unstable();
    let signature_of = places(signatures.iter().map(|&(_, id)| id));
    let mut order = Vec::new();
    for endpoint in desired.endpoints.values() {
        for table in [endpoint.ingress, endpoint.egress].into_iter().flatten() {
            if !order.contains(&table) {
                order.push(table);
            }
        }
    }
    let table_of = places(order.iter().copied());
    let tables = order.iter().filter_map(|id| desired.tables.get(id));
    let tables = tables.map(|table| {
        let mut rows: Vec<Vec<_>> = table.rows.iter().map(|row| row.to_vec()).collect();
        for cell in rows.iter_mut().flatten() {
            cell.rule = cell.rule.map(|rule| rule_of[&rule]);
        }
        table::renumbered(table, rows, |signature| signature_of[&signature])
    });
    let mut endpoints = desired.endpoints.clone();
    for (key, endpoint) in &desired.endpoints {
        let mut endpoint = endpoint.clone();
        endpoint.ingress = endpoint.ingress.map(|id| table_of[&id]);
        endpoint.egress = endpoint.egress.map(|id| table_of[&id]);
        endpoints.set(key.clone(), endpoint);
    }
    Desired {
        rules: rules.iter().map(|&(name, _)| name.clone()).collect(),
        signatures: signatures.iter().map(|&(text, _)| text.clone()).collect(),
        addresses: desired
            .addresses
            .iter()
            .map(|(&net, signature)| (net, signature_of[signature]))
            .collect(),
        tables: tables.collect(),
        endpoints,
        node_addresses: desired.node_addresses,
        other_nodes: desired.other_nodes,
        broadcasts: desired.broadcasts,
        services: desired.services,
        metadata: desired.metadata,
        host_network: desired.host_network,
    }
}

/// The place of each number.
fn places(numbers: impl Iterator<Item = usize>) -> HashMap<usize, usize> {
    numbers
        .enumerate()
        .map(|(place, number)| (number, place))
        .collect()
}
