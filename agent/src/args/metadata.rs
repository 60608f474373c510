//! Flags of `ringfence metadata`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum, ValueHint};
use ipnet::Ipv6Net;

use super::{
    BPFFS, ClusterArgs, MARK_PROOF_MASK, MARK_SOURCE_MASK, OutputArgs, RUN_DIR, ReadArgs, Tcx,
};

/// The verbs of `ringfence metadata`.
#[derive(Clone, Debug, Subcommand)]
pub enum MetadataVerb {
    /// List the pods that may reach a metadata endpoint, by what, and until when. Needs: a running agent; nothing with -f.
    WhoCan(WhoCanArgs),
    /// List every pod that may reach metadata or was lately denied it. Needs: a running agent; nothing with -f.
    ///
    /// While the MetadataFirewall is in Audit: also who reached it without a grant, how often, when last, and what grants it now.
    ///
    /// With --from it prints the MetadataAccess objects to write instead, as YAML: of kube2iam or kiam, for the pods that it serves now,
    /// and of those that it does not serve why not; of audit, for the pods that have reached metadata in Audit and have no grant.
    ///
    /// Exit codes: 0 all of it, 2 not every agent answered, or, with --from audit, not everything is remembered.
    Report(MetadataReportArgs),
    /// Put up at boot, before the kubelet and without an agent, what denies metadata to pods that nobody knows yet. Needs: root.
    ///
    /// Programs and maps are pinned and stay: at the uplinks, at `lo`, at the pods' cgroup, which is made if need be. The built-in catalogue is denied
    /// to everybody below that cgroup and to whatever is forwarded. The agent that starts later takes over hook by hook. Where an agent's
    /// pins are in force, or one runs, nothing is touched.
    ///
    /// Exit codes: 0 all of it stands, or an agent's does, 1 a layer could not be put up (it is named; the others stand), 2 error.
    Guard(Box<GuardArgs>),
}

/// Flags of `ringfence metadata guard`.
#[derive(Clone, Debug, ClapArgs)]
pub struct GuardArgs {
    /// Deny too what a MetadataFirewall in these manifests adds to the catalogue: file or directory of YAML; `-` is standard input. May
    /// be repeated.
    #[arg(short = 'f', long = "filename", value_name = "MANIFESTS", value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Pass over objects of kinds that are not read, such as Deployments, instead of refusing them.
    #[arg(long, requires = "files")]
    pub ignore_other_kinds: bool,
    /// Stay, and guard uplinks that appear, until an agent has taken over. Tells systemd (Type=notify) when everything stands; a layer that
    /// does not is tried again every ten seconds.
    #[arg(long)]
    pub watch: bool,
    /// Root of the pods' cgroup subtree (cgroup v2), made if it is not there: a directory; `systemd` and `cgroupfs` for where kubelets with
    /// that driver have it; `auto` for where it is, else as goes with this machine's init; `off` for no socket hooks.
    #[arg(long, value_name = "auto|systemd|cgroupfs|off|DIR", default_value = "auto", value_hint = ValueHint::DirPath)]
    pub cgroup_root: PathBuf,
    /// Root of the cgroups (cgroup v2) whose sockets may be the node's own: `auto` is the root of all.
    #[arg(long, value_name = "auto|off|DIR", default_value = "auto", value_hint = ValueHint::DirPath)]
    pub node_cgroup: PathBuf,
    /// Enter this network namespace first: a name below /run/netns, or a path.
    #[arg(long, value_name = "NAME|PATH")]
    pub netns: Option<String>,
    /// Directory for pins, the agent's; must be on a bpffs.
    #[arg(long, value_name = "DIR", default_value = BPFFS, value_hint = ValueHint::DirPath)]
    pub bpffs: PathBuf,
    /// Directory of the agent's lock.
    #[arg(long, value_name = "DIR", env = "RINGFENCE_RUN_DIR", default_value = RUN_DIR, value_hint = ValueHint::DirPath)]
    pub run_dir: PathBuf,
    /// A prefix by which IPv6 reaches IPv4 here (NAT64, RFC 6052), besides 64:ff9b::/96. May be repeated.
    #[arg(long, value_name = "PREFIX")]
    pub nat64_prefix: Vec<Ipv6Net>,
    /// Bits of the packet mark that carry the sending pod, the agent's.
    #[arg(long, value_name = "HEX", default_value = MARK_SOURCE_MASK)]
    pub mark_source_mask: String,
    /// Bit of the packet mark that says, in Audit, that a packet's flow was told of; the agent's.
    #[arg(long, value_name = "HEX", default_value = MARK_PROOF_MASK)]
    pub mark_proof_mask: String,
    /// Attach by TCX (kernel 6.6 and later) or by the clsact queueing discipline, as the agent does.
    #[arg(long, value_enum, default_value_t = Tcx::Auto)]
    pub tcx: Tcx,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What is asked: manifests, this node's agent, or every node's.
#[derive(Clone, Debug, ClapArgs)]
pub struct MetadataSource {
    /// Ask manifests instead of an agent: file or directory of YAML; `-` is standard input. May be repeated.
    #[arg(short = 'f', long = "filename", value_name = "MANIFESTS", value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Pass over objects of kinds that are not read, such as Deployments, instead of refusing them.
    #[arg(long, requires = "files")]
    pub ignore_other_kinds: bool,
    /// Where the agent is and how to print.
    #[command(flatten)]
    pub read: ReadArgs,
    /// Which agents.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Flags of `ringfence metadata who-can`.
#[derive(Clone, Debug, ClapArgs)]
pub struct WhoCanArgs {
    /// Name of an endpoint, as in `imds`, or one of its addresses.
    pub endpoint: String,
    /// What is asked.
    #[command(flatten)]
    pub source: MetadataSource,
}

/// Flags of `ringfence metadata report`.
#[derive(Clone, Debug, ClapArgs)]
pub struct MetadataReportArgs {
    /// Print the grants to write for the pods that get metadata without one now. Of kube2iam and kiam it reads namespaces, pods and the
    /// MetadataFirewall, with -f, else by kubectl; of audit it asks the agents.
    #[arg(long, value_enum, value_name = "WHOM")]
    pub from: Option<MetadataBroker>,
    /// The endpoint that these grants open, of the built-in catalogue or of the MetadataFirewall; may be repeated. Without: imds; of
    /// audit, whatever was reached.
    #[arg(long, value_name = "NAME", requires = "from")]
    pub endpoint: Vec<String>,
    /// What kube2iam takes `iam.amazonaws.com/allowed-roles` for: what its flag of this name says; without: glob. Only with --from kube2iam.
    #[arg(long, value_enum, value_name = "FORMAT", requires = "from")]
    pub namespace_restriction_format: Option<RoleFormat>,
    /// What is asked.
    #[command(flatten)]
    pub source: MetadataSource,
}

/// How pods get credentials now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetadataBroker {
    /// kube2iam: pods' annotation `iam.amazonaws.com/role`, namespaces' `iam.amazonaws.com/allowed-roles`; a namespace without that
    /// is not narrowed, which is so unless kube2iam runs with --namespace-restrictions.
    Kube2iam,
    /// kiam: pods' annotation `iam.amazonaws.com/role`, namespaces' `iam.amazonaws.com/permitted`, without which they get no role.
    Kiam,
    /// Directly, while the MetadataFirewall is in Audit: what the agents have seen since they started.
    Audit,
}

/// What kube2iam takes the roles of a namespace for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleFormat {
    /// Names and ARNs in which `*` stands for anything.
    Glob,
    /// Regular expressions, of which one has to be found in the role's name or ARN.
    Regexp,
}
