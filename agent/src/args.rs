//! The command line as the user typed it: strings and numbers, nothing checked beyond their form.
//!
//! [`crate::config::Config`] makes the agent's flags into values; each verb has its file in [`crate::cli`].

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};

use crate::{diff::Limits, lab::args::LabArgs, nri::SOCKET};

/// Where pins are kept unless told otherwise.
pub const BPFFS: &str = "/sys/fs/bpf/ringfence";
/// Where the agent's socket is kept unless told otherwise.
pub const RUN_DIR: &str = "/run/ringfence";
/// Where the last known state of a cluster is kept unless told otherwise.
pub const STATE_DIR: &str = "/var/lib/ringfence";

/// Where the container network is configured unless told otherwise.
pub const CNI_DIR: &str = "/etc/cni/net.d";
/// Bits of the packet mark that carry the sending pod unless told otherwise.
pub const MARK_SOURCE_MASK: &str = "0x3fff0000";
/// Bit of the packet mark that proves a metadata grant unless told otherwise.
pub const MARK_PROOF_MASK: &str = "0x40000000";

/// Ringfence keeps pods' traffic within policy, in the kernel.
///
/// Exit codes: 0 done, allowed, or nothing to say; 1 denied; 2 wrong usage or an error. Data goes to
/// standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(
    name = "ringfence",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Enforce the policies on this machine. Needs: root.
    Agent(Box<AgentArgs>),
    /// Pods made of network namespaces, to try things out on one machine. Needs: root.
    Lab(LabArgs),
    /// Say what on this node is in Ringfence's way, before it is installed or after. Needs: root, to see everything.
    ///
    /// Exit codes: 0 nothing in the way (there may be warnings), 1 something is, 2 error.
    Check(CheckArgs),
    /// Say how the agent is. Needs: a running agent.
    Status(StatusArgs),
    /// List the pods of this node as the kernel knows them. Needs: a running agent.
    Endpoints(EndpointsArgs),
    /// Say whether FROM may reach TO, and which rule decides. Needs: nothing (offline, from manifests).
    ///
    /// A Service, by name or by one of its addresses, stands for the pods that its selector finds, each on its target
    /// port and judged for itself: it is allowed if each of them is, since the node chooses. EndpointSlices are not read,
    /// so of a Service without selector nothing is known: that is an error, as is one that no running pod is behind.
    /// An address's ports that no Service has, and node ports, are judged as they stand.
    ///
    /// Exit codes: 0 allowed, 1 denied, 2 error.
    Can(CanArgs),
    /// Show who may reach which pod on which port. Needs: nothing (offline, from manifests).
    ///
    /// Services have no columns: what is sent to them is judged as what it becomes, and the pods behind them have theirs.
    Matrix(MatrixArgs),
    /// Show what was denied, and by which rule. Needs: a running agent.
    Observe(ObserveArgs),
    /// Look at or forget tracked connections. Needs: a running agent.
    Ct(CtArgs),
    /// Look at maps and links in the kernel. Needs: a running agent.
    Bpf(BpfArgs),
    /// Collect what helps to find out what is wrong into one archive, secrets left out. Needs: root; a running agent
    /// only for what it alone knows.
    Sysdump(SysdumpArgs),
    /// Take all enforcement off this machine: detach programs, remove pins. Needs: root, and no running agent.
    ///
    /// Nothing else does that: pins outlive the agent.
    Detach(DetachArgs),
    /// Print the version. Needs: nothing.
    Version(VersionArgs),
    /// Print a completion script for a shell. Needs: nothing.
    Completion(CompletionArgs),
    /// Write man pages into a directory. Needs: nothing.
    Man(ManArgs),
}

/// Flags of `ringfence agent`.
#[derive(Clone, Debug, ClapArgs)]
pub struct AgentArgs {
    /// Files or directories of YAML to enforce, watched for changes; `-` is standard input. Without it, the
    /// objects are those of a cluster: of --kubeconfig or --context, of KUBECONFIG, or of the one that this runs in as a pod.
    #[arg(long, value_name = "PATH", num_args = 1.., value_hint = ValueHint::AnyPath)]
    pub manifests: Vec<PathBuf>,
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
    /// Name of this node: pods bound to another one are not this agent's. Needed for a cluster; with manifests and without
    /// it, every pod that says where it is on this machine is.
    #[arg(long, env = "RINGFENCE_NODE")]
    pub node: Option<String>,
    /// Enter this network namespace first: a name below /run/netns, or a path.
    #[arg(long, value_name = "NAME|PATH")]
    pub netns: Option<String>,
    /// Put before the network namespace names of pods' annotation `ringfence.dev/netns`.
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
    /// Let the container runtime start a pod only when it is protected: `auto` if objects come from the Kubernetes API and
    /// there is a socket.
    #[arg(long, value_enum, default_value_t = Nri::Auto)]
    pub nri: Nri,
    /// The container runtime's NRI socket.
    #[arg(long, value_name = "SOCKET", default_value = SOCKET, value_hint = ValueHint::FilePath)]
    pub nri_socket: PathBuf,
    /// Most milliseconds that a pod waits; never more than three quarters of what the runtime says that it waits (2 seconds
    /// unless it is told otherwise).
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
    /// Bit of the packet mark that proves a metadata grant.
    #[arg(long, value_name = "HEX", default_value = MARK_PROOF_MASK)]
    pub mark_proof_mask: String,
    /// Most events a second from each CPU; what is over is counted, never dropped traffic.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub event_rate: u32,
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

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object in each line.
    Json,
}

/// Where the agent is.
#[derive(Clone, Debug, ClapArgs)]
pub struct AgentAt {
    /// Directory of the agent's socket. Without it: /run/ringfence, or the one lab that runs.
    #[arg(long, value_name = "DIR", env = "RINGFENCE_RUN_DIR", value_hint = ValueHint::DirPath)]
    pub run_dir: Option<PathBuf>,
}

/// How to print data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// JSON with apiVersion and kind.
    Json,
    /// The same as YAML.
    Yaml,
}

/// How to print data.
#[derive(Clone, Debug, ClapArgs)]
pub struct OutputArgs {
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// No header line in tables.
    #[arg(long)]
    pub no_headers: bool,
}

/// Flags of verbs that read from the agent.
#[derive(Clone, Debug, ClapArgs)]
pub struct ReadArgs {
    /// Where the agent is.
    #[command(flatten)]
    pub at: AgentAt,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Every node's agent instead of this one's.
#[derive(Clone, Debug, Default, ClapArgs)]
pub struct ClusterArgs {
    /// Ask every node's agent, through `kubectl exec`; as `kubectl ringfence` that is understood.
    #[arg(long)]
    pub all_nodes: bool,
    /// The kubeconfig's context that kubectl shall use.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Only the agent of this node; may be repeated.
    #[arg(long = "on-node", value_name = "NODE")]
    pub nodes: Vec<String>,
}

/// Flags of `ringfence endpoints`.
#[derive(Clone, Debug, ClapArgs)]
pub struct EndpointsArgs {
    /// Where the agent is and how to print.
    #[command(flatten)]
    pub read: ReadArgs,
    /// Which agents.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `ringfence status`.
#[derive(Clone, Debug, ClapArgs)]
pub struct StatusArgs {
    /// Where the agent is and how to print.
    #[command(flatten)]
    pub read: ReadArgs,
    /// Which agents.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of verbs that work from manifests.
#[derive(Clone, Debug, ClapArgs)]
pub struct Manifests {
    /// Files or directories of YAML; `-` is standard input.
    #[arg(short = 'f', long = "filename", value_name = "MANIFESTS", required = true, num_args = 1.., value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
}

/// Flags of `ringfence can`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CanArgs {
    /// Who: `pod/NAMESPACE/NAME`, `NAMESPACE/NAME`, `ip/ADDRESS` or an address.
    pub from: String,
    /// Whom: the same, or `svc/NAMESPACE/NAME`; a Service's address means the Service.
    pub to: String,
    /// Port and protocol: `443`, `53/udp`, or `icmp`; of a service its port's number or name.
    #[arg(value_name = "PORT[/PROTO]")]
    pub port: String,
    /// What is in force.
    #[command(flatten)]
    pub manifests: Manifests,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Flags of `ringfence matrix`.
#[derive(Clone, Debug, ClapArgs)]
pub struct MatrixArgs {
    /// What is in force.
    #[command(flatten)]
    pub manifests: Manifests,
    /// An address outside, as one more row: `NAME=ADDRESS`, or an address. May be repeated.
    #[arg(long, value_name = "NAME=IP")]
    pub outside: Vec<String>,
    /// Only ports of this protocol and number: `443` or `53/udp`. May be repeated; without it every container port.
    #[arg(long, value_name = "PORT[/PROTO]")]
    pub port: Vec<String>,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How to print flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum FlowFormat {
    /// For people.
    #[default]
    Table,
    /// One JSON object in each line.
    #[value(alias = "json")]
    Jsonl,
}

/// A verdict, as a filter of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VerdictArg {
    /// Allowed, whatever is in audit.
    #[value(alias = "allowed")]
    Allow,
    /// Denied, whatever is in audit.
    #[value(alias = "denied")]
    Deny,
    /// Allowed, but denied with everything in audit enforced.
    WouldDeny,
    /// Denied, but allowed with everything in audit enforced.
    WouldAllow,
}

/// Flags of `ringfence observe`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ObserveArgs {
    /// Go on with what happens from now on.
    #[arg(short, long)]
    pub follow: bool,
    /// Only these verdicts.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub verdict: Vec<VerdictArg>,
    /// Only from this source: `NAMESPACE/NAME`, an address or a network.
    #[arg(long)]
    pub from: Option<String>,
    /// Only to this destination: the same.
    #[arg(long)]
    pub to: Option<String>,
    /// Only to this destination port.
    #[arg(long)]
    pub port: Option<u16>,
    /// Only the last N of those that the agent remembers; with --follow, how many to begin with.
    #[arg(long, value_name = "N")]
    pub last: Option<usize>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = FlowFormat::Table)]
    pub output: FlowFormat,
    /// Where the agent is.
    #[command(flatten)]
    pub at: AgentAt,
    /// Which agents.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `ringfence ct`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CtArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub verb: CtVerb,
}

/// What to do with tracked connections.
#[derive(Clone, Debug, Subcommand)]
pub enum CtVerb {
    /// List them. Needs: a running agent.
    List {
        /// Which.
        #[command(flatten)]
        filter: ConnectionArgs,
        /// Where the agent is and how to print.
        #[command(flatten)]
        read: ReadArgs,
    },
    /// Forget them: what goes on is judged anew. Needs: a running agent.
    Flush {
        /// Which.
        #[command(flatten)]
        filter: ConnectionArgs,
        /// Every connection: needed if there is no filter.
        #[arg(long)]
        all: bool,
        /// Where the agent is.
        #[command(flatten)]
        at: AgentAt,
    },
}

/// Which connections.
#[derive(Clone, Debug, ClapArgs)]
pub struct ConnectionArgs {
    /// The pod's address, or a network that holds it.
    #[arg(long, value_name = "IP|CIDR")]
    pub local: Option<String>,
    /// The other side's address, or a network that holds it.
    #[arg(long, value_name = "IP|CIDR")]
    pub remote: Option<String>,
    /// A port of either side.
    #[arg(long)]
    pub port: Option<u16>,
    /// Protocol: tcp, udp, sctp, icmp or a number.
    #[arg(long)]
    pub protocol: Option<String>,
}

/// `ringfence bpf`.
#[derive(Clone, Debug, ClapArgs)]
pub struct BpfArgs {
    /// What to look at.
    #[command(subcommand)]
    pub verb: BpfVerb,
}

/// What to look at in the kernel.
#[derive(Clone, Debug, Subcommand)]
pub enum BpfVerb {
    /// Show pins: type, entries, memory, id. Needs: a running agent.
    Show(ReadArgs),
}

/// Flags of `ringfence detach`.
#[derive(Clone, Debug, ClapArgs)]
pub struct DetachArgs {
    /// Directory of the pins.
    #[arg(long, value_name = "DIR", default_value = BPFFS, value_hint = ValueHint::DirPath)]
    pub bpffs: PathBuf,
    /// Directory of the agent's lock: a running agent is in the way.
    #[arg(long, value_name = "DIR", env = "RINGFENCE_RUN_DIR", default_value = RUN_DIR, value_hint = ValueHint::DirPath)]
    pub run_dir: PathBuf,
    /// Enter this network namespace first: a name below /run/netns, or a path.
    #[arg(long, value_name = "NAME|PATH")]
    pub netns: Option<String>,
    /// Root of the pods' cgroup subtree.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub cgroup_root: Option<PathBuf>,
    /// Keep running afterwards, and other agents from starting, until told to stop.
    #[arg(long)]
    pub stay: bool,
}

/// Flags of `ringfence check`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CheckArgs {
    /// Directory where the pins shall be.
    #[arg(long, value_name = "DIR", default_value = BPFFS, value_hint = ValueHint::DirPath)]
    pub bpffs: PathBuf,
    /// Directory of the container network's configuration.
    #[arg(long, value_name = "DIR", default_value = CNI_DIR, value_hint = ValueHint::DirPath)]
    pub cni_dir: PathBuf,
    /// Bits of the packet mark that shall carry the sending pod.
    #[arg(long, value_name = "HEX", default_value = MARK_SOURCE_MASK)]
    pub mark_source_mask: String,
    /// Bit of the packet mark that shall prove a metadata grant.
    #[arg(long, value_name = "HEX", default_value = MARK_PROOF_MASK)]
    pub mark_proof_mask: String,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Which nodes.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `ringfence sysdump`.
#[derive(Clone, Debug, ClapArgs)]
pub struct SysdumpArgs {
    /// The archive to write; `-` is standard output. Without it: ringfence-sysdump-TIME.tar.gz.
    #[arg(short, long, value_name = "FILE.tar.gz", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Directory of the pins.
    #[arg(long, value_name = "DIR", default_value = BPFFS, value_hint = ValueHint::DirPath)]
    pub bpffs: PathBuf,
    /// Directory of the logs of this node's pods.
    #[arg(long, value_name = "DIR", default_value = "/var/log/pods", value_hint = ValueHint::DirPath)]
    pub pod_logs: PathBuf,
    /// Where the agent is.
    #[command(flatten)]
    pub at: AgentAt,
    /// Which nodes.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `ringfence version`.
#[derive(Clone, Debug, ClapArgs)]
pub struct VersionArgs {
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Flags of `ringfence completion`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Flags of `ringfence man`.
#[derive(Clone, Debug, ClapArgs)]
pub struct ManArgs {
    /// Directory for the pages; made if it is not there.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_verb_says_what_it_needs() {
        fn walk(command: &clap::Command) {
            for verb in command.get_subcommands() {
                // The lab's verbs need what the lab needs.
                if verb.has_subcommands() && verb.get_name() != "lab" {
                    walk(verb);
                } else {
                    let about = verb
                        .get_about()
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    assert!(about.contains("Needs:"), "{}: {about}", verb.get_name());
                }
            }
        }
        walk(&Args::command());
    }
}
