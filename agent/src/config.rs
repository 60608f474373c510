//! The agent's flags as values, checked once.

mod firewall;
mod flags;
mod guard;
mod host;
mod mark;
mod selector;
mod source;

#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ringfence_common::mark::MarkLayout;

use crate::{
    args::{AgentArgs, LogFormat, Nri, NriFail, Switch},
    cli::failure::Failure,
    compile::{self, AnnotatedPods, NetworkPolicy},
    dataplane::{Attach, Firewall},
    diff::Limits,
    model::{Host, PodKey},
    nri,
    watch::Places,
};

use flags::{
    at_least_one, parse_annotations, parse_audit_interval, parse_cgroup_root, parse_http,
    parse_network_policy, parse_node_cgroup, parse_nri_timeout, parse_tcx,
};
use host::parse_host;
use source::{parse_cluster, parse_manifests, parse_pod};

pub use guard::GuardConfig;
pub use mark::parse_mark;
pub use selector::parse as parse_selector;
pub use source::{Cluster, Source};

/// What the agent does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where objects come from.
    pub source: Source,
    /// Name of this node.
    pub node: Option<String>,
    /// The pod that this runs in.
    pub pod: Option<PodKey>,
    /// Network namespace to enter first.
    pub netns: Option<String>,
    /// Put before pods' namespace names.
    pub netns_prefix: String,
    /// Where pods' network namespaces are kept.
    pub netns_directories: Vec<PathBuf>,
    /// Pods are looked for by their processes.
    pub pod_processes: bool,
    /// Root of the pods' cgroup subtree; `None`: no socket hooks.
    pub cgroup_root: Option<PathBuf>,
    /// Why there is none.
    pub no_cgroup: String,
    /// Root of the cgroups whose sockets may be the node's own; `None`: what ends in these is not judged again.
    pub node_cgroup: Option<PathBuf>,
    /// How the node itself is judged; `None`: not at all.
    pub host: Option<Host>,
    /// The container runtime asks before it starts pods.
    pub nri: Option<nri::Options>,
    /// Directory of the pins.
    pub bpffs: PathBuf,
    /// Directory of socket and lock.
    pub run_dir: PathBuf,
    /// Where metrics are served.
    pub http: Option<SocketAddr>,
    /// Whose annotations count.
    pub metadata_annotations: AnnotatedPods,
    /// The IAM role annotation counts too.
    pub iam_role_annotation: bool,
    /// How the metadata firewall asks.
    pub firewall: Firewall,
    /// Who enforces `NetworkPolicy`, and why he.
    pub network_policy: (NetworkPolicy, String),
    /// Sizes of maps.
    pub limits: Limits,
    /// Bits of the mark.
    pub mark: MarkLayout,
    /// Events a second from each CPU.
    pub event_rate: u32,
    /// Between two audits of the kernel.
    pub audit_interval: Duration,
    /// How to attach.
    pub attach: Attach,
    /// How to log.
    pub log_format: LogFormat,
    /// How much to log.
    pub verbosity: u8,
}

impl Config {
    /// Checks the flags.
    ///
    /// # Errors
    ///
    /// The flag, what is wrong with it, and what it allows.
    pub fn new(args: AgentArgs) -> Result<Self, Failure> {
        let AgentArgs {
            manifests,
            ignore_other_kinds,
            kubeconfig,
            context,
            state_dir,
            node,
            pod,
            trust_place_annotations,
            netns,
            netns_prefix,
            netns_directory,
            pod_processes,
            cgroup_root,
            node_cgroup,
            host_enforcement,
            host_failsafe,
            nri,
            nri_socket,
            nri_timeout,
            nri_fail,
            bpffs,
            run_dir,
            http,
            metadata_annotations,
            iam_role_annotation,
            metadata_rate,
            nat64_prefix,
            metadata_layers,
            network_policy,
            cni_dir,
            connection_entries,
            address_entries,
            network_entries,
            identity_entries,
            class_entries,
            table_entries,
            cell_entries,
            page_entries,
            endpoint_entries,
            rule_entries,
            service_entries,
            mark_source_mask,
            mark_proof_mask,
            event_rate,
            audit_interval,
            kube_event_interval,
            tcx,
            log_format,
            verbose,
        } = args;
        let node = node.filter(|node| !node.is_empty());
        let pod = pod.filter(|pod| !pod.is_empty());
        let pod = pod.as_deref().map(parse_pod).transpose()?;
        let source = if manifests.is_empty() {
            let mut cluster = parse_cluster(kubeconfig, context, state_dir, node.as_deref())?;
            cluster.event_interval =
                (kube_event_interval > 0).then(|| Duration::from_secs(kube_event_interval));
            cluster.pod.clone_from(&pod);
            if trust_place_annotations {
                cluster.places = Places::Trusted;
            }
            Source::Cluster(cluster)
        } else {
            parse_manifests(manifests, ignore_other_kinds)?
        };
        if netns_prefix.contains('/') {
            return Err(Failure::new("a prefix of namespace names holds a slash")
                .at(format!("--netns-prefix {netns_prefix}"))
                .help("pods may name a path themselves; leave the prefix out"));
        }
        let node_cgroup = parse_node_cgroup(node_cgroup);
        let host = parse_host(host_enforcement, &host_failsafe, node.as_deref())?;
        if host.as_ref().is_some_and(|host| !host.audit) && node_cgroup.is_none() {
            return Err(Failure::new(
                "what the node's rules make of a packet is judged at its sockets, and there is no cgroup for that",
            )
            .at("--host-enforcement enforce")
            .help("name the root of the node's cgroups (cgroup v2) with --node-cgroup DIR, or take audit"));
        }
        let pod_processes = pod_processes == Switch::On;
        let is_root_given = cgroup_root.is_some();
        let (cgroup_root, no_cgroup) = match parse_cgroup_root(cgroup_root)? {
            Ok(root) => (Some(root), String::new()),
            Err(why) => (None, why),
        };
        // Where a root was asked for and there can be none, the agent does without what needs it, and `status` says why.
        if pod_processes && !is_root_given {
            return Err(
                Failure::new("pods are looked for by processes below an unknown cgroup")
                    .at("--pod-processes on")
                    .help("name the root of the pods' cgroups with --cgroup-root auto|DIR"),
            );
        }
        let asks = match nri {
            Nri::On => true,
            Nri::Off => false,
            // Manifests speak of pods that no container runtime starts.
            Nri::Auto => matches!(source, Source::Cluster(_)),
        };
        if asks && node.is_none() {
            return Err(
                Failure::new("the container runtime speaks of the pods of one node")
                    .at("--nri on")
                    .help("name this node with --node NAME"),
            );
        }
        let nri = nri::Options {
            required: nri == Nri::On,
            socket: nri_socket,
            timeout: parse_nri_timeout(nri_timeout)?,
            fail_closed: nri_fail == NriFail::Closed,
        };
        let mark = parse_mark(&mark_source_mask, &mark_proof_mask)?;
        Ok(Self {
            source,
            node,
            pod,
            netns,
            netns_prefix,
            netns_directories: netns_directory,
            pod_processes,
            cgroup_root,
            no_cgroup,
            host,
            nri: asks.then_some(nri),
            node_cgroup,
            bpffs,
            run_dir,
            http: parse_http(&http)?,
            metadata_annotations: parse_annotations(&metadata_annotations)?,
            iam_role_annotation,
            firewall: firewall::parse(&metadata_layers, metadata_rate, &nat64_prefix)?,
            network_policy: parse_network_policy(network_policy, &cni_dir),
            limits: Limits {
                connections: at_least_one("--connection-entries", connection_entries)?,
                addresses: at_least_one("--address-entries", address_entries)?,
                networks: at_least_one("--network-entries", network_entries)?,
                identities: at_least_one("--identity-entries", identity_entries)?,
                classes: at_least_one("--class-entries", class_entries)?,
                tables: at_least_one("--table-entries", table_entries)?,
                cells: at_least_one("--cell-entries", cell_entries)?,
                pages: at_least_one("--page-entries", page_entries)?,
                endpoints: at_least_one("--endpoint-entries", endpoint_entries)?,
                rules: at_least_one("--rule-entries", rule_entries)?,
                services: at_least_one("--service-entries", service_entries)?,
                sources: mark.sources(),
            },
            mark,
            event_rate,
            audit_interval: parse_audit_interval(audit_interval)?,
            attach: parse_tcx(tcx),
            log_format,
            verbosity: verbose,
        })
    }

    /// Whether pods may say where they are: those of manifests may.
    #[must_use]
    pub fn places_count(&self) -> bool {
        match &self.source {
            Source::Manifests { .. } => true,
            Source::Cluster(cluster) => cluster.places == Places::Trusted,
        }
    }

    /// What the compiler is told.
    #[must_use]
    pub fn compile_options(&self) -> compile::Options {
        compile::Options {
            node: self.node.clone(),
            agent: self.pod.clone(),
            annotated_pods: self.metadata_annotations.clone(),
            iam_role_annotation: self.iam_role_annotation,
            host: self.host.clone(),
            network_policy: self.network_policy.0,
        }
    }
}
