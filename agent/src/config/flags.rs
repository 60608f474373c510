//! Single flags as values: what is wrong with one, and what it allows.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::selector;
use crate::{
    args::{NetworkPolicyMode, Tcx},
    cgroup2, check,
    cli::failure::Failure,
    compile::{AnnotatedPods, NetworkPolicy},
    dataplane::Attach,
};

pub(super) fn at_least_one(flag: &str, value: u32) -> Result<u32, Failure> {
    if value == 0 {
        return Err(Failure::new("a map needs at least one entry").at(format!("{flag} 0")));
    }
    Ok(value)
}

pub(super) fn parse_audit_interval(seconds: u64) -> Result<Duration, Failure> {
    if !(1..=86_400).contains(&seconds) {
        return Err(
            Failure::new("an audit begins every second at most and every day at least")
                .at(format!("--audit-interval {seconds}"))
                .help("give 1 to 86400 seconds; 180 unless told otherwise"),
        );
    }
    Ok(Duration::from_secs(seconds))
}

pub(super) fn parse_nri_timeout(milliseconds: u64) -> Result<Duration, Failure> {
    if milliseconds == 0 {
        return Err(Failure::new("nothing is protected in no time")
            .at("--nri-timeout 0")
            .help("a pod may wait 1500 milliseconds unless told otherwise"));
    }
    Ok(Duration::from_millis(milliseconds))
}

/// Who enforces `NetworkPolicy`, and why he.
pub(super) fn parse_network_policy(mode: NetworkPolicyMode, cni: &Path) -> (NetworkPolicy, String) {
    match mode {
        NetworkPolicyMode::On => (NetworkPolicy::Ringfence, "on".to_owned()),
        NetworkPolicyMode::Off => (
            NetworkPolicy::Cni,
            "off: left to the container network, as told".to_owned(),
        ),
        NetworkPolicyMode::Auto => match check::policy_enforcer(cni) {
            Ok(enforcer) => {
                let because = format!("off: {enforcer} enforces it ({})", cni.display());
                (NetworkPolicy::Cni, because)
            }
            Err(why) => (NetworkPolicy::Ringfence, format!("on: {why}")),
        },
    }
}

pub(super) fn parse_http(text: &str) -> Result<Option<SocketAddr>, Failure> {
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

pub(super) fn parse_annotations(text: &str) -> Result<AnnotatedPods, Failure> {
    Ok(match text {
        "all" => AnnotatedPods::All,
        "none" => AnnotatedPods::None,
        selector => AnnotatedPods::Namespaces(selector::parse(selector).map_err(|what| {
            Failure::new(format!("{selector:?} is no label selector: {what}"))
                .at(format!("--metadata-annotations {selector}"))
                .help("write all, none, or labels of namespaces as in team=infra,env!=dev,zone in (a,b),audited,!legacy")
        })?),
    })
}

/// The root of the pods' cgroups, or why there is none.
pub(super) fn parse_cgroup_root(
    given: Option<PathBuf>,
) -> Result<Result<PathBuf, String>, Failure> {
    let given = match given {
        Some(given) if given.to_str() == Some("auto") => cgroup2::pods_root(),
        Some(given) => return Ok(Ok(given)),
        None => {
            return Ok(Err("start the agent with --cgroup-root DIR to have connect and sendmsg refused at once".to_owned()));
        }
    };
    given.map(Ok).or_else(|error| match cgroup2::pods_root_of_version_1() {
        // The other layers are better than no agent.
        Ok(Some(found)) => Ok(Err(format!(
            "pods have cgroups of version 1 only ({}), where nothing can be attached and no pod is found by its processes",
            found.display()
        ))),
        _ => Err(Failure::new(format!("the pods' cgroups cannot be found: {error:#}"))
            .at("--cgroup-root auto")
            .help("name their root in a cgroup2 hierarchy (see /proc/self/mountinfo), or leave the flag out")),
    })
}

pub(super) fn parse_node_cgroup(given: PathBuf) -> Option<PathBuf> {
    match given.to_str() {
        Some("off") => None,
        // Without one the other hooks stand alone; the agent says so when it starts.
        Some("auto") => cgroup2::mount_point().ok(),
        _ => Some(given),
    }
}

pub(super) const fn parse_tcx(tcx: Tcx) -> Attach {
    match tcx {
        Tcx::Auto => Attach::Auto,
        Tcx::On => Attach::Tcx,
        Tcx::Off => Attach::Clsact,
    }
}
