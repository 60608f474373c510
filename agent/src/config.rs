//! The agent's flags as values, checked once.

mod selector;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ringfence_common::mark::MarkLayout;
pub use selector::parse as parse_selector;

use crate::{
    args::{AgentArgs, LogFormat, Nri, NriFail, STATE_DIR, Switch, Tcx},
    cgroup2,
    cli::failure::Failure,
    compile::{self, AnnotatedPods},
    dataplane::Attach,
    diff::Limits,
    nri,
};

/// What the agent does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where objects come from.
    pub source: Source,
    /// Name of this node.
    pub node: Option<String>,
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
    /// Root of the cgroups whose sockets may be the node's own; `None`: what ends in these is not judged again.
    pub node_cgroup: Option<PathBuf>,
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
            netns,
            netns_prefix,
            netns_directory,
            pod_processes,
            cgroup_root,
            node_cgroup,
            nri,
            nri_socket,
            nri_timeout,
            nri_fail,
            bpffs,
            run_dir,
            http,
            metadata_annotations,
            iam_role_annotation,
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
        let source = if manifests.is_empty() {
            let mut cluster = parse_cluster(kubeconfig, context, state_dir, node.as_deref())?;
            cluster.event_interval =
                (kube_event_interval > 0).then(|| Duration::from_secs(kube_event_interval));
            Source::Cluster(cluster)
        } else {
            parse_manifests(manifests, ignore_other_kinds)?
        };
        if netns_prefix.contains('/') {
            return Err(Failure::new("a prefix of namespace names holds a slash")
                .at(format!("--netns-prefix {netns_prefix}"))
                .help("pods may name a path themselves; leave the prefix out"));
        }
        let pod_processes = pod_processes == Switch::On;
        let cgroup_root = parse_cgroup_root(cgroup_root)?;
        if pod_processes && cgroup_root.is_none() {
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
            netns,
            netns_prefix,
            netns_directories: netns_directory,
            pod_processes,
            cgroup_root,
            nri: asks.then_some(nri),
            node_cgroup: parse_node_cgroup(node_cgroup),
            bpffs,
            run_dir,
            http: parse_http(&http)?,
            metadata_annotations: parse_annotations(&metadata_annotations)?,
            iam_role_annotation,
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
            attach: match tcx {
                Tcx::Auto => Attach::Auto,
                Tcx::On => Attach::Tcx,
                Tcx::Off => Attach::Clsact,
            },
            log_format,
            verbosity: verbose,
        })
    }

    /// What the compiler is told.
    #[must_use]
    pub fn compile_options(&self) -> compile::Options {
        compile::Options {
            annotated_pods: self.metadata_annotations.clone(),
            iam_role_annotation: self.iam_role_annotation,
        }
    }
}

fn parse_manifests(paths: Vec<PathBuf>, ignore_other_kinds: bool) -> Result<Source, Failure> {
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

fn parse_cluster(
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
    })
}

fn at_least_one(flag: &str, value: u32) -> Result<u32, Failure> {
    if value == 0 {
        return Err(Failure::new("a map needs at least one entry").at(format!("{flag} 0")));
    }
    Ok(value)
}

fn parse_audit_interval(seconds: u64) -> Result<Duration, Failure> {
    if !(1..=86_400).contains(&seconds) {
        return Err(
            Failure::new("an audit begins every second at most and every day at least")
                .at(format!("--audit-interval {seconds}"))
                .help("give 1 to 86400 seconds; 180 unless told otherwise"),
        );
    }
    Ok(Duration::from_secs(seconds))
}

fn parse_nri_timeout(milliseconds: u64) -> Result<Duration, Failure> {
    if milliseconds == 0 {
        return Err(Failure::new("nothing is protected in no time")
            .at("--nri-timeout 0")
            .help("a pod may wait 1500 milliseconds unless told otherwise"));
    }
    Ok(Duration::from_millis(milliseconds))
}

fn parse_http(text: &str) -> Result<Option<SocketAddr>, Failure> {
    if text == "off" {
        return Ok(None);
    }
    // What a pod knows of its node's address, `status.hostIP`, has no brackets.
    let bare = text
        .rsplit_once(':')
        .and_then(|(host, port)| Some(SocketAddr::new(host.parse().ok()?, port.parse().ok()?)));
    bare.map_or_else(|| text.parse(), Ok)
        .map(Some)
        .map_err(|error| {
            Failure::new(format!("{text:?} is no address and port: {error}"))
                .at(format!("--http {text}"))
                .help("write it as 127.0.0.1:9765, [::1]:9765, or off")
        })
}

fn parse_annotations(text: &str) -> Result<AnnotatedPods, Failure> {
    Ok(match text {
        "all" => AnnotatedPods::All,
        "none" => AnnotatedPods::None,
        selector => AnnotatedPods::Namespaces(parse_selector(selector).map_err(|what| {
            Failure::new(format!("{selector:?} is no label selector: {what}"))
                .at(format!("--metadata-annotations {selector}"))
                .help("write all, none, or labels of namespaces as in team=infra,env!=dev,zone in (a,b),audited,!legacy")
        })?),
    })
}

fn parse_cgroup_root(given: Option<PathBuf>) -> Result<Option<PathBuf>, Failure> {
    match given {
        Some(given) if given.to_str() == Some("auto") => {
            cgroup2::pods_root().map(Some).map_err(|error| {
                Failure::new(format!("the pods' cgroups cannot be found: {error:#}"))
                    .at("--cgroup-root auto")
                    .help("name their root in a cgroup2 hierarchy (see /proc/self/mountinfo), or leave the flag out")
            })
        }
        given => Ok(given),
    }
}

fn parse_node_cgroup(given: PathBuf) -> Option<PathBuf> {
    match given.to_str() {
        Some("off") => None,
        // Without one the other hooks stand alone; the agent says so when it starts.
        Some("auto") => cgroup2::mount_point().ok(),
        _ => Some(given),
    }
}

/// What others use of the packet mark, by default: their bits, and where these are changed.
const OTHERS: [(&str, u32, &str); 2] = [
    (
        "kube-proxy",
        0xc000,
        "iptables.masqueradeBit of kube-proxy, makeIPTablesUtilChains' marks of the kubelet",
    ),
    ("the AWS VPC CNI", 0x80, "AWS_VPC_K8S_CNI_CONNMARK"),
];

/// The bits of the packet mark that are ours.
///
/// # Errors
///
/// The flag, what is wrong with it, and what it allows.
pub fn parse_mark(source: &str, proof: &str) -> Result<MarkLayout, Failure> {
    let mark = MarkLayout {
        source_mask: parse_hex("--mark-source-mask", source)?,
        proof_mask: parse_hex("--mark-proof-mask", proof)?,
    };
    if !mark.is_valid() {
        return Err(Failure::new(
            "the two masks must each be one unbroken run of bits, and must not overlap",
        )
        .at(format!(
            "--mark-source-mask {source} --mark-proof-mask {proof}"
        ))
        .help("the defaults are 0x3fff0000 and 0x40000000"));
    }
    for (whose, bits, setting) in OTHERS {
        if mark.mask() & bits != 0 {
            return Err(Failure::new(format!(
                "the masks take bits {:#x} of the packet mark, which {whose} uses",
                mark.mask() & bits
            ))
            .at(format!(
                "--mark-source-mask {source} --mark-proof-mask {proof}"
            ))
            .help(format!(
                "choose bits outside {bits:#x} (what {whose} uses is set by {setting})"
            )));
        }
    }
    Ok(mark)
}

fn parse_hex(flag: &str, text: &str) -> Result<u32, Failure> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .unwrap_or(text);
    u32::from_str_radix(digits, 16).map_err(|error| {
        Failure::new(format!("{text:?} is no 32-bit hexadecimal number: {error}"))
            .at(format!("{flag} {text}"))
            .help("write it as 0x3fff0000")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Verb};

    fn config(flags: &[&str]) -> Result<Config, Failure> {
        let words = [&["--manifests", "policies"], flags].concat();
        parse(&words)
    }

    fn parse(flags: &[&str]) -> Result<Config, Failure> {
        let words = [&["ringfence", "agent"], flags].concat();
        match Args::try_parse_from(words).unwrap().verb {
            Verb::Agent(args) => Config::new(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_valid() {
        let config = config(&[]).unwrap();
        assert_eq!(config.mark, MarkLayout::DEFAULT);
        assert_eq!(config.http, Some("127.0.0.1:9765".parse().unwrap()));
        assert_eq!(config.metadata_annotations, AnnotatedPods::All);
    }

    #[test]
    fn bits_that_nobody_else_uses_may_be_chosen() {
        let flags = ["--mark-source-mask", "0x3f00", "--mark-proof-mask", "0x1"];
        let mark = config(&flags).unwrap().mark;
        assert_eq!((mark.source_mask, mark.proof_mask), (0x3f00, 0x1));
    }

    #[test]
    fn a_bad_flag_is_named_with_what_it_allows() {
        for (flags, expect) in [
            (&["--http", "localhost"][..], "--http localhost"),
            (&["--mark-source-mask", "0x5"], "one unbroken run"),
            (&["--mark-proof-mask", "0x3fff0000"], "must not overlap"),
            (&["--mark-source-mask", "zebra"], "no 32-bit hexadecimal"),
            (
                &["--mark-source-mask", "0xff00"],
                "bits 0xc000 of the packet mark, which kube-proxy uses",
            ),
            (
                &["--mark-proof-mask", "0x4000"],
                "bits 0x4000 of the packet mark, which kube-proxy uses",
            ),
            (
                &["--mark-source-mask", "0xff0"],
                "bits 0x80 of the packet mark, which the AWS VPC CNI uses",
            ),
            (
                &["--metadata-annotations", "team in infra"],
                "--metadata-annotations team in infra",
            ),
            (&["--cell-entries", "0"], "--cell-entries 0"),
            (&["--netns-prefix", "a/b"], "--netns-prefix a/b"),
            (&["--nri-timeout", "0"], "--nri-timeout 0"),
            (&["--nri", "on"], "--node NAME"),
            (&["--audit-interval", "0"], "--audit-interval 0"),
            (&["--pod-processes", "on"], "--cgroup-root auto|DIR"),
        ] {
            let text = config(flags).unwrap_err().to_string();
            assert!(
                text.starts_with("error: ") && text.contains(expect),
                "{flags:?}: {text}"
            );
        }
    }
    #[test]
    fn a_cluster_needs_the_name_of_the_node_and_no_manifests() {
        let text = parse(&["--kubeconfig", "k"]).unwrap_err().to_string();
        assert!(
            text.contains("--node is missing") && text.contains("RINGFENCE_NODE"),
            "{text}"
        );
        let config = parse(&["--kubeconfig", "k", "--node", "n1"]).unwrap();
        let Source::Cluster(cluster) = config.source else {
            panic!("a cluster")
        };
        assert_eq!(cluster.kubeconfig, Some("k".into()));
        assert_eq!(cluster.state_dir, Some(STATE_DIR.into()));
        assert_eq!(cluster.event_interval, Some(Duration::from_secs(300)));
        let silent = parse(&["--kube-event-interval", "0", "--node", "n1"]).unwrap();
        assert!(matches!(
            silent.source,
            Source::Cluster(Cluster {
                event_interval: None,
                ..
            })
        ));
        let off = parse(&["--state-dir", "off", "--node", "n1"]).unwrap();
        assert!(matches!(
            off.source,
            Source::Cluster(Cluster {
                state_dir: None,
                ..
            })
        ));
        assert!(parse(&["--state-dir", "here", "--node", "n1"]).is_err());
        for mixed in ["--kubeconfig", "--context", "--state-dir"] {
            let words = ["ringfence", "agent", "--manifests", "m", mixed, "x"];
            let error = Args::try_parse_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("cannot be used with"), "{error}");
        }
    }
}
