//! Where objects come from, out of the flags.

use std::{path::PathBuf, time::Duration};

use crate::{args::STATE_DIR, cli::failure::Failure, model::PodKey, watch::Places};

/// Where objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Files and directories.
    Manifests {
        /// The files and directories.
        paths: Vec<PathBuf>,
        /// Objects of kinds that are not read are passed over.
        ignore_other_kinds: bool,
    },
    /// A cluster.
    Cluster(Cluster),
}

/// A cluster, and what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// File that names it; `None`: `KUBECONFIG`, or the one that this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Context of that file.
    pub context: Option<String>,
    /// Where its last known state is kept; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// Least time between two Events about the same thing; `None`: none are written.
    pub event_interval: Option<Duration>,
    /// The pod of it that this runs in.
    pub pod: Option<PodKey>,
    /// Whether its pods may say where they are.
    pub places: Places,
}

pub(super) fn parse_manifests(
    paths: Vec<PathBuf>,
    ignore_other_kinds: bool,
) -> Result<Source, Failure> {
    let standard_inputs = paths.iter().filter(|path| path.as_os_str() == "-").count();
    if standard_inputs > 1 {
        return Err(Failure::new("standard input is named twice")
            .at("--manifests - --manifests -")
            .help("name it once"));
    }
    Ok(Source::Manifests {
        paths,
        ignore_other_kinds,
    })
}

/// Namespace and name of a pod.
pub(super) fn parse_pod(text: &str) -> Result<PodKey, Failure> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(PodKey {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
        _ => Err(Failure::new("a pod is named by its namespace and its name")
            .at(format!("--pod {text}"))
            .help("write it as NAMESPACE/NAME; in a DaemonSet from fieldRef metadata.namespace and metadata.name")),
    }
}

pub(super) fn parse_cluster(
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    state_dir: Option<PathBuf>,
    node: Option<&str>,
) -> Result<Cluster, Failure> {
    if node.is_none() {
        return Err(Failure::new(
            "without --manifests the objects of a cluster are enforced, and it must be known which of its nodes this is",
        )
        .at("--node is missing")
        .help(
            "give --node NAME or RINGFENCE_NODE (in a DaemonSet from fieldRef spec.nodeName), or --manifests PATH to enforce files",
        ));
    }
    let state_dir = state_dir.unwrap_or_else(|| STATE_DIR.into());
    if !state_dir.is_absolute() && state_dir.as_os_str() != "off" {
        return Err(
            Failure::new("the directory of the state must be an absolute path")
                .at(format!("--state-dir {}", state_dir.display()))
                .help(format!("the default is {STATE_DIR}; off keeps nothing")),
        );
    }
    Ok(Cluster {
        kubeconfig,
        context,
        state_dir: (state_dir.as_os_str() != "off").then_some(state_dir),
        event_interval: None,
        pod: None,
        places: Places::default(),
    })
}
