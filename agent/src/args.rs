//! The command line as the user typed it: strings and numbers, nothing checked beyond their form.
//!
//! [`crate::config::Config`] makes the agent's flags into values; each verb has its file in [`crate::cli`].

mod agent;
mod flows;
mod lint;
mod metadata;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};

pub use agent::*;
pub use flows::*;
pub use lint::*;
pub use metadata::*;

use crate::lab::args::LabArgs;

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
/// Bit of the packet mark that says that an audit has told of a packet's flow, unless told otherwise.
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
    /// Say what in manifests is allowed and hardly meant. Needs: nothing (offline, from manifests).
    ///
    /// Each finding has a code that stays its own, a place, and what to do. Exit codes: 0 nothing of level error, 1 something is, 2 error.
    Lint(LintArgs),
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
    /// Say who may reach the clouds' metadata services, and who has tried.
    #[command(subcommand)]
    Metadata(MetadataVerb),
    /// Print the version. Needs: nothing.
    Version(VersionArgs),
    /// Print a completion script for a shell. Needs: nothing.
    Completion(CompletionArgs),
    /// Write man pages into a directory. Needs: nothing.
    Man(ManArgs),
    /// Print the definitions (CRDs) of Ringfence's kinds. Needs: nothing.
    Crds(CrdsArgs),
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
    /// The agents are the pods of this DaemonSet. Without it: of the only one that is labelled
    /// app.kubernetes.io/part-of=ringfence.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub daemon_set: Option<String>,
    /// Look for that DaemonSet in this namespace only.
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "daemon_set")]
    pub namespace: Option<String>,
    /// Most seconds for each question to a node or to the API server; --follow goes on for as long as it likes.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
}

/// Flags of `ringfence endpoints`.
#[derive(Clone, Debug, ClapArgs)]
pub struct EndpointsArgs {
    /// Show what the kernel holds for this pod: for whom, on which ports, what verdict, by which rule.
    #[arg(value_name = "NAMESPACE/NAME")]
    pub pod: Option<String>,
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
    /// File or directory of YAML; `-` is standard input. May be repeated.
    #[arg(short = 'f', long = "filename", value_name = "MANIFESTS", required = true, value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,
    /// Pass over objects of kinds that are not read, such as Deployments, instead of refusing them.
    #[arg(long)]
    pub ignore_other_kinds: bool,
    /// `off` as where the agent leaves NetworkPolicy and ClusterNetworkPolicy to the container network: they are passed over.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub network_policy: Switch,
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
    /// Directory where the last known state of a cluster is kept: it is forgotten; `off` leaves it. Without it:
    /// /var/lib/ringfence, unless the pins are elsewhere than usual.
    #[arg(long, value_name = "DIR|off", value_hint = ValueHint::DirPath)]
    pub state_dir: Option<PathBuf>,
    /// Root of the pods' cgroup subtree.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub cgroup_root: Option<PathBuf>,
    /// Keep running afterwards, and other agents from starting, until told to stop.
    #[arg(long)]
    pub stay: bool,
    /// Take off only what the node itself is judged by, whether or not an agent runs: the way back in.
    #[arg(long, conflicts_with_all = ["stay", "done", "daemon_set"])]
    pub host: bool,
    /// Let the agent judge the node itself again.
    #[arg(long, requires = "host")]
    pub undo: bool,
    /// Take nothing off, but say whether a `detach --stay` with this --run-dir has taken everything off: exit 0, else 1.
    #[arg(long, conflicts_with_all = ["stay", "daemon_set"])]
    pub done: bool,
    /// Not on this node, but on every node of a cluster: makes the pods of the agents' DaemonSet detach and stay, and waits until
    /// they have. Needs the verbs get and patch on it.
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with_all = ["stay", "netns", "cgroup_root", "state_dir"])]
    pub daemon_set: Option<String>,
    /// Only if helm has installed the DaemonSet as this release.
    #[arg(long, value_name = "NAME", requires = "daemon_set")]
    pub release: Option<String>,
    /// Most seconds that all nodes may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 240)]
    pub timeout: u64,
    /// File that names the cluster, and who to be there.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "daemon_set")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without it, its current one.
    #[arg(long, value_name = "NAME", requires = "daemon_set")]
    pub context: Option<String>,
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
    /// Bit of the packet mark that shall say that an audit has told of a packet's flow.
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

/// Options of `ringfence crds`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CrdsArgs {
    /// Directory for files instead: the definitions, a page about each kind, and JSON schemas for editors. Made if it is
    /// not there.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
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
