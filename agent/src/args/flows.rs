//! Flags of the verbs that look at flows, connections and maps.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::{AgentAt, ClusterArgs, ReadArgs};

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
    /// Show pins: type, entries, memory, id; or elements of CELLS and their rules. Needs: a running agent.
    Show {
        /// The elements of CELLS that this pod's packets can meet.
        #[arg(long, value_name = "NAMESPACE/NAME")]
        endpoint: Option<String>,
        /// This element of CELLS, of every pod that meets it.
        #[arg(long, value_name = "ELEMENT")]
        cell: Option<u32>,
        /// Where the agent is and how to print.
        #[command(flatten)]
        read: ReadArgs,
    },
}
