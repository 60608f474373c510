//! Flags of `ringfence metadata`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum, ValueHint};

use super::{ClusterArgs, ReadArgs};

/// The verbs of `ringfence metadata`.
#[derive(Clone, Debug, Subcommand)]
pub enum MetadataVerb {
    /// List the pods that may reach a metadata endpoint, by what, and until when. Needs: a running agent; nothing with -f.
    WhoCan(WhoCanArgs),
    /// List every pod that may reach metadata or was lately denied it. Needs: a running agent; nothing with -f.
    ///
    /// With --from kube2iam it prints the MetadataAccess objects instead that grant metadata to the pods that kube2iam or kiam
    /// serve now, as YAML.
    Report(MetadataReportArgs),
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
    /// Print the grants to write for the pods that somebody else serves now. Reads namespaces and pods: with -f, else by kubectl.
    #[arg(long, value_enum, value_name = "WHOM")]
    pub from: Option<MetadataBroker>,
    /// The endpoint that these grants open; may be repeated.
    #[arg(long, value_name = "NAME", requires = "from", default_value = "imds")]
    pub endpoint: Vec<String>,
    /// What is asked.
    #[command(flatten)]
    pub source: MetadataSource,
}

/// Who serves pods with credentials now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetadataBroker {
    /// kube2iam or kiam: pods' annotation `iam.amazonaws.com/role`, namespaces' `iam.amazonaws.com/permitted` and
    /// `iam.amazonaws.com/allowed-roles`.
    #[value(alias = "kiam")]
    Kube2iam,
}
