//! Flags of `ringfence agent`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum, ValueHint};
use ipnet::Ipv6Net;

use super::{BPFFS, CNI_DIR, MARK_PROOF_MASK, MARK_SOURCE_MASK, RUN_DIR};
use crate::{diff::Limits, nri::SOCKET};

/// Flags of `ringfence agent`.
#[derive(Clone, Debug, ClapArgs)]
pub struct AgentArgs {
    /// File or directory of YAML to enforce, watched for changes; `-` is standard input. May be repeated. Without it, the
    /// objects are those of a cluster: of --kubeconfig or --context, of KUBECONFIG, or of the one that this runs in as a pod.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub manifests: Vec<PathBuf>,
    /// Pass over objects of kinds that are not read, such as Deployments, instead of refusing them.
    #[arg(long, requires = "manifests")]
    pub ignore_other_kinds: bool,
    /// File that names the cluster to read, and who to be there.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "manifests")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without it, its current one.
    #[arg(long, value_name = "NAME", conflicts_with = "manifests")]
    pub context: Option<String>,
    /// Directory where the last known state of a cluster is kept, for a node that starts without its API server;
    /// `off` for none. Without it: /var/lib/ringfence.
    #[arg(long, value_name = "DIR|off", value_hint = ValueHint::DirPath, conflicts_with = "manifests")]
    pub state_dir: Option<PathBuf>,
    /// Name of this node: pods bound to it are this agent's, and no others. Needed for a cluster; with manifests and without
    /// it, every pod that says where it is on this machine is this agent's.
    #[arg(long, env = "RINGFENCE_NODE")]
    pub node: Option<String>,
    /// The pod that this runs in: it may reach the metadata services without a grant, as the rest of the node may, and the status of
    /// zones and policies is written by one of the pods of its DaemonSet for all of them.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "RINGFENCE_POD")]
    pub pod: Option<String>,
    /// Believe pods of the Kubernetes API, not only those of manifests, that say where they are (annotations
    /// `ringfence.dev/netns`, `ringfence.dev/interface`, `ringfence.dev/cgroup`). For tests and labs: whoever may create pods can
    /// then choose whose interface their policies govern.
    #[arg(long, conflicts_with = "manifests")]
    pub trust_place_annotations: bool,
    /// Enter this network namespace first: a name below /run/netns, or a path.
    #[arg(long, value_name = "NAME|PATH")]
    pub netns: Option<String>,
    /// Put before the network namespace names of pods' annotation `ringfence.dev/netns` (of manifests, or with
    /// --trust-place-annotations).
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub netns_prefix: String,
    /// Where CNI plugins and container runtimes keep the network namespaces of pods that do not say where they are. May be
    /// repeated.
    #[arg(long, value_name = "DIR", default_values = ["/run/netns", "/var/run/netns"], value_hint = ValueHint::DirPath)]
    pub netns_directory: Vec<PathBuf>,
    /// Find pods by the processes in their cgroups too. Takes the node's process ids (hostPID), CAP_SYS_PTRACE and
    /// `--cgroup-root`.
    #[arg(long, value_enum, default_value_t = Switch::Off)]
    pub pod_processes: Switch,
    /// Root of the pods' cgroup subtree (cgroup v2), where the socket hooks attach: `auto` finds where the kubelet has it.
    /// Without it there are none.
    #[arg(long, value_name = "auto|DIR", value_hint = ValueHint::DirPath)]
    pub cgroup_root: Option<PathBuf>,
    /// Root of the cgroups (cgroup v2) whose sockets may be the node's own, where what pods send to them through a Service
    /// is judged: `auto` is the root of all.
    #[arg(long, value_name = "auto|off|DIR", default_value = "auto", value_hint = ValueHint::DirPath)]
    pub node_cgroup: PathBuf,
    /// Judge what the node itself sends and receives at its uplinks by the zones that it is in: `audit` denies nothing and tells
    /// what would be.
    #[arg(long, value_enum, default_value_t = HostEnforcement::Off)]
    pub host_enforcement: HostEnforcement,
    /// A way that no policy closes to the node, besides the usual ones (SSH, kubelet, API server, DNS, NTP, DHCP), such as
    /// `bgp=ingress,10.0.0.0/8,tcp/179`. May be repeated.
    #[arg(long, value_name = "NAME=DIRECTION,PEERS,PORTS")]
    pub host_failsafe: Vec<String>,
    /// Let the container runtime start a pod only when it is protected: `auto` if objects come from the Kubernetes API and
    /// there is a socket.
    #[arg(long, value_enum, default_value_t = Nri::Auto)]
    pub nri: Nri,
    /// The container runtime's NRI socket.
    #[arg(long, value_name = "SOCKET", default_value = SOCKET, value_hint = ValueHint::FilePath)]
    pub nri_socket: PathBuf,
    /// Most milliseconds that a pod waits; never more than three quarters of what the runtime says that it waits (2 seconds
    /// where it does not say).
    #[arg(long, value_name = "MS", default_value_t = 1500)]
    pub nri_timeout: u64,
    /// What becomes of a pod that is not protected in time: `open` starts it, counted and named; `closed` does not, and the
    /// kubelet tries again.
    #[arg(long, value_enum, default_value_t = NriFail::Open)]
    pub nri_fail: NriFail,
    /// Directory for pins; must be on a bpffs.
    #[arg(long, value_name = "DIR", default_value = BPFFS, value_hint = ValueHint::DirPath)]
    pub bpffs: PathBuf,
    /// Directory for the agent's socket and lock.
    #[arg(long, value_name = "DIR", env = "RINGFENCE_RUN_DIR", default_value = RUN_DIR, value_hint = ValueHint::DirPath)]
    pub run_dir: PathBuf,
    /// Address of /metrics, /livez and /readyz; port 0 takes a free one; `off` for none.
    #[arg(long, value_name = "ADDR|off", default_value = "127.0.0.1:9765")]
    pub http: String,
    /// Whose pods' annotation `metadata.ringfence.dev/access` counts: `all`, `none`, or namespaces by a label
    /// selector such as `team=infra,env!=dev`.
    #[arg(long, value_name = "all|none|SELECTOR", default_value = "all")]
    pub metadata_annotations: String,
    /// Count the annotation `iam.amazonaws.com/role` like `metadata.ringfence.dev/access`.
    #[arg(long)]
    pub iam_role_annotation: bool,
    /// Packets a second that one pod with a grant may send to metadata endpoints; what is over is dropped and counted. 0 for any
    /// number.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub metadata_rate: u32,
    /// A prefix by which IPv6 reaches IPv4 here (NAT64, RFC 6052), besides 64:ff9b::/96: metadata addresses behind it are denied like
    /// others. May be repeated.
    #[arg(long, value_name = "PREFIX")]
    pub nat64_prefix: Vec<Ipv6Net>,
    /// Where the metadata firewall asks: for tests and measurements.
    #[arg(long, value_name = "LAYER,...", value_delimiter = ',', hide = true)]
    pub metadata_layers: Vec<String>,
    /// Who enforces NetworkPolicy and ClusterNetworkPolicy: `on`, Ringfence; `off`, the container network, and Ringfence
    /// only zones, tenants and the metadata firewall; `auto`, the container network if that of --cni-dir is one that is
    /// known to do so when the agent starts.
    #[arg(long, value_enum, default_value_t = NetworkPolicyMode::On)]
    pub network_policy: NetworkPolicyMode,
    /// Directory of the container network's configuration, for `--network-policy auto`.
    #[arg(long, value_name = "DIR", default_value = CNI_DIR, value_hint = ValueHint::DirPath)]
    pub cni_dir: PathBuf,
    /// Most IPv4 connections that are tracked (of IPv6 half as many); the oldest make room.
    #[arg(long, value_name = "N", default_value_t = Limits::default().connections)]
    pub connection_entries: u32,
    /// Most single addresses that are told apart, for each family.
    #[arg(long, value_name = "N", default_value_t = Limits::default().addresses)]
    pub address_entries: u32,
    /// Most networks that are told apart, for each family.
    #[arg(long, value_name = "N", default_value_t = Limits::default().networks)]
    pub network_entries: u32,
    /// Most classes of addresses that policies treat alike.
    #[arg(long, value_name = "N", default_value_t = Limits::default().identities)]
    pub identity_entries: u32,
    /// Most (table, identity) pairs.
    #[arg(long, value_name = "N", default_value_t = Limits::default().classes)]
    pub class_entries: u32,
    /// Most decision tables.
    #[arg(long, value_name = "N", default_value_t = Limits::default().tables)]
    pub table_entries: u32,
    /// Most verdict cells, over all tables.
    #[arg(long, value_name = "N", default_value_t = Limits::default().cells)]
    pub cell_entries: u32,
    /// Most pages of port maps, over all tables.
    #[arg(long, value_name = "N", default_value_t = Limits::default().pages)]
    pub page_entries: u32,
    /// Most endpoint records: twice the number of pods, for they are replaced and not edited.
    #[arg(long, value_name = "N", default_value_t = Limits::default().endpoints)]
    pub endpoint_entries: u32,
    /// Most addresses and ports of Services, each protocol by itself.
    #[arg(long, value_name = "N", default_value_t = Limits::default().services)]
    pub service_entries: u32,
    /// Most rules.
    #[arg(long, value_name = "N", default_value_t = Limits::default().rules)]
    pub rule_entries: u32,
    /// Bits of the packet mark that carry the sending pod: one run of bits.
    #[arg(long, value_name = "HEX", default_value = MARK_SOURCE_MASK)]
    pub mark_source_mask: String,
    /// Bit of the packet mark that says, while the MetadataFirewall is in Audit, that a flow was told of.
    #[arg(long, value_name = "HEX", default_value = MARK_PROOF_MASK)]
    pub mark_proof_mask: String,
    /// Most events a second from each CPU; what is over is counted, never dropped traffic.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub event_rate: u32,
    /// Seconds between looks at whether the kernel still holds what was put there; what does not is counted and repaired.
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub audit_interval: u64,
    /// Least seconds between two words about the same thing as a Kubernetes Event (denied metadata access, policies that are not
    /// in force); 0 writes no Events. Without a cluster there are none.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub kube_event_interval: u64,
    /// Attach by TCX (kernel 6.6 and later) or by the clsact queueing discipline.
    #[arg(long, value_enum, default_value_t = Tcx::Auto)]
    pub tcx: Tcx,
    /// How to log: text to standard error; json also prints each denied flow to standard output.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log more; twice for everything.
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How to attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tcx {
    /// By TCX where the kernel has it.
    Auto,
    /// By TCX or not at all.
    On,
    /// By clsact.
    Off,
}

/// Whether the container runtime is to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Nri {
    /// Where there is one.
    Auto,
    /// Yes, and it is worth a word if there is none.
    On,
    /// No.
    Off,
}

/// What becomes of a pod that is not protected in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NriFail {
    /// It starts.
    Open,
    /// It does not.
    Closed,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

/// Who enforces `NetworkPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NetworkPolicyMode {
    /// Ringfence.
    On,
    /// The container network.
    Off,
    /// The container network if it is known to do so.
    Auto,
}

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object in each line.
    Json,
}

/// Whether the node itself is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HostEnforcement {
    /// It is not.
    Off,
    /// Nothing is denied; what would be is told.
    Audit,
    /// It is.
    Enforce,
}
