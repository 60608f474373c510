//! What a lab is to be: pods, outside hosts, the node. Read from manifests and `lab.yaml`, or made by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{probe::Actor, wire::Transport};
use crate::model::{self, Place, Snapshot};

/// The name of a lab that nobody named.
pub const DEFAULT_NAME: &str = "demo";
/// The file, beside the manifests, that says what a lab has and a cluster has not.
pub const FILE: &str = "lab.yaml";
/// The folder of the manifests, beside [`FILE`].
pub const MANIFESTS: &str = "manifests";
/// The longest name of a lab: it is part of the paths of sockets, which are short.
const NAME_LIMIT: usize = 24;

/// What a lab is to be.
#[derive(Clone, Debug)]
pub struct LabSpec {
    /// Its name: lowercase letters and digits.
    pub name: String,
    /// The `ringfence` binary, which the lab's processes run.
    pub binary: PathBuf,
    /// The node's addresses.
    pub node: Vec<IpAddr>,
    /// Ports that the node serves, on each of its addresses, by TCP and by UDP: pods with the node's network.
    pub node_ports: Vec<u16>,
    /// Pods.
    pub pods: Vec<LabPod>,
    /// Hosts outside.
    pub outside: Vec<OutsideHost>,
}

/// A pod of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabPod {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Name of its network namespace, without the lab's prefix.
    pub netns: String,
    /// Name of its cgroup below the pods' root; absent: `NAMESPACE_NAME`.
    pub cgroup: Option<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Ports that it serves, on each of its addresses, by TCP and by UDP.
    pub ports: Vec<u16>,
}

/// A host outside: another subnet, another site, the internet, the cloud's metadata server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OutsideHost {
    /// Name.
    pub name: String,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Ports that it serves, on each of its addresses.
    #[serde(default)]
    pub serves: Vec<OutsidePort>,
    /// True for one that only answers: the demo does not try to connect from it.
    #[serde(default)]
    pub only_answers: bool,
}

/// A port that an outside host serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsidePort {
    /// Transport.
    pub protocol: Transport,
    /// Port.
    pub port: u16,
}

/// `lab.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabFile {
    /// The node.
    #[serde(default)]
    pub node: LabNode,
    /// Hosts outside.
    #[serde(default)]
    pub outside: Vec<OutsideHost>,
}

/// The lab's node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabNode {
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Ports that it serves, on each of its addresses, by TCP and by UDP.
    #[serde(default)]
    pub serves: Vec<u16>,
}

impl LabFile {
    /// Reads `lab.yaml` of a directory.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read {}; a lab's directory has a {FILE} and a folder {MANIFESTS}, as in deploy/examples/hybrid-cloud",
                path.display()
            )
        })?;
        serde_saphyr::from_str(&text)
            .with_context(|| format!("{}: not a description of a lab", path.display()))
    }
}

impl LabSpec {
    /// A lab of the pods in a snapshot that have a network namespace, and of what `lab.yaml` adds.
    pub fn new(name: &str, binary: PathBuf, snapshot: &Snapshot, file: LabFile) -> Result<Self> {
        let pods = snapshot.pods.values().filter_map(LabPod::of).collect();
        let spec = Self {
            name: name.to_owned(),
            binary,
            node: file.node.addresses,
            node_ports: file.node.serves,
            pods,
            outside: file.outside,
        };
        spec.check()?;
        Ok(spec)
    }

    /// A name that no other lab of this machine has, and that begins no other such name: for tests.
    #[must_use]
    pub fn unique_name(begin: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!(
            "{begin}{}x{}z",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        )
    }

    /// Refuses what cannot be built, before anything is.
    pub fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        let mut netns = BTreeSet::from(["node", "outside"]);
        let mut cgroups = BTreeSet::new();
        let mut addresses = BTreeMap::new();
        for (owner, list) in self.owners() {
            if list.is_empty() {
                bail!("{owner} has no address; a pod's are in status.podIPs, others' in {FILE}");
            }
            for &address in list {
                if let Some(other) = addresses.insert(address, owner.clone()) {
                    bail!(
                        "{address} belongs to {other} and to {owner}; an address can have one owner"
                    );
                }
            }
        }
        for pod in &self.pods {
            let pod_name = pod.actor();
            check_file_name(&pod.netns)
                .with_context(|| format!("annotation ringfence.dev/netns of {pod_name}"))?;
            check_file_name(&pod.cgroup_name()).with_context(|| format!("cgroup of {pod_name}"))?;
            if !netns.insert(&pod.netns) {
                bail!(
                    "{pod_name}: the network namespace {:?} is another's; `node` and `outside` are the lab's own",
                    pod.netns
                );
            }
            if !cgroups.insert(pod.cgroup_name()) {
                bail!(
                    "{pod_name}: the cgroup {:?} is another's",
                    pod.cgroup_name()
                );
            }
        }
        let mut hosts = BTreeSet::from(["node", "outside"]);
        for host in &self.outside {
            if host.name.is_empty()
                || host.name.contains(['/', ' ', '\n'])
                || !hosts.insert(&host.name)
            {
                bail!(
                    "outside host {:?}: a name is needed that no other has, without `/` and spaces, and neither `node` nor `outside`",
                    host.name
                );
            }
        }
        Ok(())
    }

    fn owners(&self) -> impl Iterator<Item = (Actor, &Vec<IpAddr>)> {
        let pods = self.pods.iter().map(|pod| (pod.actor(), &pod.addresses));
        let outside = self
            .outside
            .iter()
            .map(|host| (Actor::outside(&host.name), &host.addresses));
        pods.chain(outside).chain([(Actor::Node, &self.node)])
    }
}

impl LabPod {
    /// The lab's view of a pod: `None` if it has no network namespace of its own, or has ended.
    #[must_use]
    pub fn of(pod: &model::Pod) -> Option<Self> {
        let Some(Place::Netns(netns)) = &pod.place else {
            return None;
        };
        (pod.is_running() && !pod.host_network).then(|| Self {
            namespace: pod.key.namespace.clone(),
            name: pod.key.name.clone(),
            netns: netns.clone(),
            cgroup: pod.cgroup.clone(),
            addresses: pod.addresses.clone(),
            ports: pod
                .ports
                .iter()
                .map(|port| port.port)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect(),
        })
    }

    /// Who it is in probes.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::pod(&self.namespace, &self.name)
    }

    /// Name of its cgroup below the pods' root.
    #[must_use]
    pub fn cgroup_name(&self) -> String {
        self.cgroup
            .clone()
            .unwrap_or_else(|| format!("{}_{}", self.namespace, self.name))
    }
}

/// A lab's name is a part of other names, and must not make one lab's look like another's.
pub(super) fn check_name(name: &str) -> Result<()> {
    let fits = (1..=NAME_LIMIT).contains(&name.len());
    if !fits
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    {
        bail!(
            "{name:?} cannot be a lab's name: 1 to {NAME_LIMIT} lowercase letters and digits can"
        );
    }
    Ok(())
}

fn check_file_name(name: &str) -> Result<()> {
    if name.is_empty()
        || name.len() > 200
        || name.starts_with('.')
        || name.contains(['/', '\0', '\n', ' '])
    {
        bail!(
            "{name:?} cannot be a file's name: 1 to 200 characters without `/` and spaces, not beginning with a dot"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spoil = fn(&mut LabSpec);

    fn spec() -> LabSpec {
        let pod = |name: &str, address: &str| LabPod {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            netns: name.to_owned(),
            cgroup: None,
            addresses: vec![address.parse().unwrap()],
            ports: vec![80],
        };
        LabSpec {
            name: "t1".to_owned(),
            binary: PathBuf::new(),
            node: vec!["10.0.0.1".parse().unwrap()],
            node_ports: Vec::new(),
            pods: vec![pod("web", "10.1.0.1"), pod("db", "10.1.0.2")],
            outside: Vec::new(),
        }
    }

    #[test]
    fn what_cannot_be_built_is_refused_with_the_reason() {
        spec().check().unwrap();
        let cases: [(&str, Spoil); 6] = [
            ("cannot be a lab's name", |spec| {
                spec.name = "a-b".to_owned()
            }),
            ("one owner", |spec| {
                spec.pods[1].addresses = spec.pods[0].addresses.clone()
            }),
            ("is another's", |spec| {
                spec.pods[1].netns = "outside".to_owned()
            }),
            ("cannot be a file's name", |spec| {
                spec.pods[1].netns = "../x".to_owned()
            }),
            ("no address", |spec| spec.node.clear()),
            ("is another's", |spec| {
                spec.pods[1].cgroup = Some("shop_web".to_owned())
            }),
        ];
        for (expect, spoil) in cases {
            let mut spec = spec();
            spoil(&mut spec);
            let error = format!("{:#}", spec.check().unwrap_err());
            assert!(error.contains(expect), "{error}");
        }
    }

    #[test]
    fn a_misspelt_field_is_refused() {
        let file =
            "outside: [{name: a, addresses: [192.0.2.1], serves: [{protocol: tcp, port: 80}]}]";
        let read: LabFile = serde_saphyr::from_str(file).unwrap();
        assert_eq!(
            read.outside[0].serves,
            [OutsidePort {
                protocol: Transport::Tcp,
                port: 80
            }]
        );
        assert!(serde_saphyr::from_str::<LabFile>(&file.replace("serves", "serve")).is_err());
    }
}
