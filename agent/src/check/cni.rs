//! Which container network is here, and whether what it delivers to pods passes their host-side devices.

use std::path::Path;

use super::{CniFile, Facts, Finding, Seen, gather};

const NAME: &str = "cni";

/// Plugins without a host-side device of the pod's own that the node's stack delivers to.
const WITHOUT_HOST_SIDE: [&str; 7] = [
    "host-device",
    "ib-sriov",
    "ib-sriov-cni",
    "ipvlan",
    "macvlan",
    "sriov",
    "vlan",
];

/// Plugins whose agents enforce NetworkPolicy themselves: type, name, how they are told not to.
const ENFORCERS: [(&str, &str, &str); 7] = [
    ("antrea", "Antrea", "feature gate AntreaPolicy"),
    (
        "calico",
        "Calico",
        "Felix cannot be told; let one of both do it",
    ),
    ("cilium-cni", "Cilium", "policyEnforcementMode=never"),
    ("kube-router", "kube-router", "--run-firewall=false"),
    (
        "kindnet",
        "kindnet",
        "its network policies are part of newer versions",
    ),
    (
        "ovn-k8s-cni-overlay",
        "OVN-Kubernetes",
        "let one of both do it",
    ),
    ("weave-net", "Weave Net", "EXPECT_NPC=0"),
];

/// Of these, those that do not in every version or configuration: where it is not sure, both do it.
const UNSURE: [&str; 1] = ["kindnet"];

/// Plugins that only add to what another one made.
const ADDITIONAL: [&str; 6] = [
    "bandwidth",
    "firewall",
    "loopback",
    "portmap",
    "sbr",
    "tuning",
];

/// Who on this machine enforces `NetworkPolicy` by himself.
///
/// # Errors
///
/// Why nobody is taken for that.
pub fn policy_enforcer(directory: &Path) -> Result<&'static str, String> {
    enforcer(&gather::cni(directory)).map_err(|why| format!("{why} ({})", directory.display()))
}

fn enforcer(files: &Seen<Vec<CniFile>>) -> Result<&'static str, String> {
    let files = files.as_ref().map_err(Clone::clone)?;
    let first = files.first().ok_or("no container network is configured")?;
    let plugins = first.plugins.as_ref().map_err(Clone::clone)?;
    let sure = ENFORCERS
        .iter()
        .find(|(plugin, ..)| !UNSURE.contains(plugin) && plugins.iter().any(|it| it == plugin));
    let none = || {
        format!(
            "{} is not known to enforce NetworkPolicy",
            plugins.join(", ")
        )
    };
    sure.map(|(_, name, _)| *name).ok_or_else(none)
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![seen(facts)];
    let plugins = plugins(facts);
    let devices = facts.devices.as_deref().unwrap_or_default();
    let netkit: Vec<&str> = devices
        .iter()
        .filter(|device| device.kind.as_deref() == Some("netkit"))
        .map(|device| device.name.as_str())
        .collect();
    let is = |plugin: &str| plugins.contains(&plugin);
    if let Some(first) = netkit.first() {
        findings.push(Finding::blocking(
            NAME,
            format!("pods have netkit devices ({first} and {} more): what their CNI redirects to them passes no hook on the node's side", netkit.len() - 1),
            "set bpf.datapathMode=veth and bpf.hostLegacyRouting=true in Cilium, and start its pods anew",
        ));
    } else if is("cilium-cni") && main(&plugins) == Some("cilium-cni") {
        findings.push(Finding::blocking(
            NAME,
            "Cilium is the pods' network; unless told otherwise it hands packets to pods past the host side of their devices, where \
             Ringfence judges what pods receive. How it was told cannot be seen from here",
            "set bpf.hostLegacyRouting=true and kubeProxyReplacement=false in Cilium, see `cilium-dbg status` say \"Host Routing: Legacy\", and go on",
        ));
    } else if is("cilium-cni") || devices.iter().any(|device| device.name == "cilium_host") {
        findings.push(Finding::warning(
            NAME,
            "Cilium is here beside the pods' network",
            "see `cilium-dbg status` say \"Host Routing: Legacy\": with BPF host routing packets pass Ringfence by",
        ));
    }
    if let Some(main) = main(&plugins)
        && WITHOUT_HOST_SIDE.contains(&main)
    {
        findings.push(Finding::blocking(
            NAME,
            format!("pods get their interface from {main}: it has no host side that the node's stack delivers to, so nothing there can be judged"),
            "use a CNI with one host-side device per pod, such as ptp, bridge, flannel, Calico or the AWS VPC CNI; keep this one for further interfaces",
        ));
    }
    for plugin in plugins
        .iter()
        .skip(1)
        .filter(|plugin| WITHOUT_HOST_SIDE.contains(plugin))
    {
        findings.push(Finding::warning(
            NAME,
            format!("{plugin} gives pods further interfaces, which no NetworkPolicy speaks of and Ringfence does not see"),
            "know that they are outside of policy",
        ));
    }
    for (_, name, setting) in ENFORCERS.iter().filter(|(plugin, _, _)| is(plugin)) {
        findings.push(Finding::warning(
            NAME,
            format!("{name} may enforce NetworkPolicy too: then a packet must pass both"),
            format!("to leave it to Ringfence alone: {setting}"),
        ));
    }
    findings
}

fn seen(facts: &Facts) -> Finding {
    let files = match &facts.cni {
        Ok(files) => files,
        Err(reason) => {
            return Finding::warning(
                NAME,
                format!("the CNI's configuration cannot be read: {reason}"),
                "name the directory: --cni-dir DIR; the devices below tell what they can",
            );
        }
    };
    let Some(file) = files.first() else {
        return Finding::warning(
            NAME,
            "no CNI is configured here",
            "install one that gives each pod a host-side device; or name its directory: --cni-dir DIR",
        );
    };
    match &file.plugins {
        Ok(plugins) => Finding::fine(NAME, format!("{}: {}", file.name, plugins.join(", "))),
        Err(reason) => Finding::warning(
            NAME,
            format!("{} cannot be read: {reason}", file.name),
            "the runtime cannot read it either; mend or remove it",
        ),
    }
}

/// Plugins of the configuration that runtimes take, the first one first.
fn plugins(facts: &Facts) -> Vec<&str> {
    let file: Option<&CniFile> = facts.cni.as_ref().ok().and_then(|files| files.first());
    file.and_then(|file| file.plugins.as_ref().ok())
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect()
}

/// The plugin that makes the pod's interface.
fn main<'a>(plugins: &[&'a str]) -> Option<&'a str> {
    plugins
        .iter()
        .find(|plugin| !ADDITIONAL.contains(plugin))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Device, Level, worst},
        *,
    };

    fn with(plugins: &[&str], device: Option<(&str, &str)>) -> Vec<Finding> {
        let mut facts = Facts {
            cni: Ok(vec![CniFile {
                name: "10-test.conflist".to_owned(),
                plugins: Ok(plugins.iter().map(|&plugin| plugin.to_owned()).collect()),
            }]),
            ..Facts::good()
        };
        facts.devices = Ok(device
            .into_iter()
            .map(|(name, kind)| Device {
                name: name.to_owned(),
                kind: Some(kind.to_owned()),
                addresses: Vec::new(),
            })
            .collect());
        check(&facts)
    }

    #[test]
    fn networks_past_the_host_side_are_blocking() {
        for (plugins, device, level, says) in [
            (&["ptp", "portmap"][..], None, Level::Fine, "ptp, portmap"),
            (
                &["flannel"],
                Some(("flannel.1", "vxlan")),
                Level::Fine,
                "flannel",
            ),
            (&["macvlan"], None, Level::Blocking, "no host side"),
            (&["ipvlan", "portmap"], None, Level::Blocking, "ipvlan"),
            (&["sriov"], None, Level::Blocking, "sriov"),
            (
                &["bridge", "macvlan"],
                None,
                Level::Warning,
                "further interfaces",
            ),
            (&["cilium-cni"], None, Level::Blocking, "Host Routing"),
            (
                &["cilium-cni"],
                Some(("lxc1", "netkit")),
                Level::Blocking,
                "netkit",
            ),
            (&["aws-cni", "cilium-cni"], None, Level::Warning, "beside"),
            (
                &["calico", "portmap"],
                None,
                Level::Warning,
                "must pass both",
            ),
        ] {
            let found = with(plugins, device);
            assert_eq!(worst(&found), level, "{plugins:?} {found:#?}");
            let told = found
                .iter()
                .any(|it| it.message.contains(says) || it.next.contains(says));
            assert!(told, "{plugins:?} {found:#?}");
        }
    }

    #[test]
    fn only_who_surely_enforces_policy_is_taken_for_that() {
        for (plugins, expect) in [
            (&["calico", "portmap"][..], Some("Calico")),
            (&["aws-cni", "cilium-cni"], Some("Cilium")),
            (&["ptp", "portmap"], None),
            (&["kindnet"], None),
            (&[], None),
        ] {
            let file = CniFile {
                name: "10-test.conflist".to_owned(),
                plugins: Ok(plugins.iter().map(|&plugin| plugin.to_owned()).collect()),
            };
            assert_eq!(enforcer(&Ok(vec![file])).ok(), expect, "{plugins:?}");
        }
        assert!(enforcer(&Ok(Vec::new())).is_err());
        assert!(enforcer(&Err("not readable".to_owned())).is_err());
    }

    #[test]
    fn no_configuration_is_a_warning() {
        let facts = Facts {
            cni: Ok(Vec::new()),
            ..Facts::good()
        };
        assert_eq!(worst(&check(&facts)), Level::Warning);
        let facts = Facts {
            cni: Err("no such directory".to_owned()),
            ..Facts::good()
        };
        assert_eq!(worst(&check(&facts)), Level::Warning);
    }
}
