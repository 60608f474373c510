//! Looks for pods' interfaces, by one way after the other.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{
    bridge,
    claims::{Claim, Proof},
    find,
    machine::Machine,
    namespaces, neighbour,
    netns::{self, Look},
    process, route, sandbox,
    watch::Options,
};
use crate::{
    cgroup2,
    model::{Located, Place, PodKey},
};

/// What there is to find a pod by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sought {
    /// Where it says that it is.
    pub place: Option<Place>,
    /// The namespace that the container runtime has given it.
    pub sandbox: Option<PathBuf>,
    /// Its addresses, as the sources know them.
    pub addresses: Vec<IpAddr>,
    /// Its UID.
    pub uid: String,
    /// Its own name for its cgroup.
    pub cgroup: String,
    /// It is going.
    pub terminating: bool,
}

impl Sought {
    const fn claim(&self, located: Located, proof: Proof) -> Claim {
        Claim {
            located,
            proof,
            terminating: self.terminating,
        }
    }
}

/// What was looked into in one round.
struct Round<'a> {
    machine: &'a mut Machine,
    options: &'a Options,
    looks: BTreeMap<PathBuf, Result<Look, String>>,
    /// Every namespace in the directories that leads here, once they were listed.
    listed: Option<Vec<(PathBuf, Located)>>,
    neighbours: Option<neighbour::Neighbours>,
}

/// Looks for each of these pods.
///
/// # Errors
///
/// The kernel cannot be asked.
pub(super) async fn search(
    machine: &mut Machine,
    options: &Options,
    pods: &BTreeMap<PodKey, Sought>,
) -> anyhow::Result<BTreeMap<PodKey, Result<Claim, String>>> {
    let mut round = Round {
        machine,
        options,
        looks: BTreeMap::new(),
        listed: None,
        neighbours: None,
    };
    let mut found = BTreeMap::new();
    for (key, pod) in pods {
        // It has no network yet, or no source knows of it: its processes may.
        if pod.place.is_none() && pod.sandbox.is_none() && pod.addresses.is_empty() {
            if let Ok(located) = round.by_process(pod).await {
                found.insert(key.clone(), Ok(pod.claim(located, Proof::Named)));
            }
            continue;
        }
        let claim = round.one(pod).await?;
        found.insert(key.clone(), claim);
    }
    Ok(found)
}

impl Round<'_> {
    async fn one(&mut self, pod: &Sought) -> anyhow::Result<Result<Claim, String>> {
        let claim = |located, proof| pod.claim(located, proof);
        let named = |found: Result<Located, String>| found.map(|it| claim(it, Proof::Named));
        match &pod.place {
            Some(Place::Netns(name)) => {
                let path = netns::path_of(&self.options.netns_prefix, name);
                return Ok(named(self.by_path(&path).await));
            }
            Some(Place::Interface(name)) => {
                return Ok(named(find::by_interface(name, &self.machine.stack)));
            }
            None => {}
        }
        let mut reasons = Vec::new();
        match self.by_sandbox(pod).await {
            Ok(located) => return Ok(Ok(claim(located, Proof::Named))),
            Err(reason) => reasons.push(reason),
        }
        match self.by_directory(&pod.addresses).await {
            Ok(located) => return Ok(Ok(claim(located, Proof::Address))),
            Err(reason) => reasons.push(reason),
        }
        match self.by_process(pod).await {
            Ok(located) => return Ok(Ok(claim(located, Proof::Named))),
            Err(reason) => reasons.push(reason),
        }
        match self.by_node(&pod.addresses).await? {
            Ok(located) => return Ok(Ok(claim(located, Proof::Address))),
            Err(several) => reasons.extend(several),
        }
        let help = if self.options.place_annotations {
            "annotate it with ringfence.dev/netns (the name of its network namespace) or ringfence.dev/interface (its host-side \
             interface)"
        } else {
            "say with --netns-directory where network namespaces are kept (annotations that say where a pod is count in manifests \
             only)"
        };
        Ok(Err(format!("{}; {help}", reasons.join("; "))))
    }

    /// Looks into a namespace, once in a round.
    async fn look(&mut self, path: &Path) -> Result<Look, String> {
        match self.looks.entry(path.to_owned()) {
            Entry::Occupied(look) => look.get().clone(),
            Entry::Vacant(entry) => {
                let look = netns::look(&mut self.machine.handle, path).await;
                entry.insert(look).clone()
            }
        }
    }

    async fn by_path(&mut self, path: &Path) -> Result<Located, String> {
        let look = self.look(path).await?;
        find::by_namespace(&look.inside, look.number, &self.machine.stack)
    }

    async fn by_sandbox(&mut self, pod: &Sought) -> Result<Located, String> {
        let Some(path) = &pod.sandbox else {
            return Err("no container runtime has told of its sandbox".to_owned());
        };
        let candidates = sandbox::candidates(path, &self.options.netns_directories);
        let there = candidates.iter().find(|path| path.exists()).unwrap_or(path);
        self.by_path(there).await
    }

    async fn by_directory(&mut self, addresses: &[IpAddr]) -> Result<Located, String> {
        if self.listed.is_none() {
            let mut listed = Vec::new();
            for path in namespaces::list(&self.options.netns_directories) {
                // Namespaces of others, and files that are none, have no place here.
                if let Ok(located) = self.by_path(&path).await {
                    listed.push((path, located));
                }
            }
            self.listed = Some(listed);
        }
        namespaces::by_address(addresses, self.listed.as_deref().unwrap_or_default())
    }

    async fn by_process(&mut self, pod: &Sought) -> Result<Located, String> {
        let Some(root) = &self.options.pod_processes else {
            return Err("its processes are not looked at (--pod-processes off)".to_owned());
        };
        let cgroup = cgroup2::pod_directory(root, &pod.cgroup, &pod.uid)
            .ok_or_else(|| format!("it has no cgroup below {}", root.display()))?;
        let path = process::namespace(&cgroup, Path::new("/proc"))?;
        self.by_path(&path).await
    }

    /// By what the node itself knows: routes, neighbours, bridges.
    async fn by_node(
        &mut self,
        addresses: &[IpAddr],
    ) -> anyhow::Result<Result<Located, Vec<String>>> {
        let mut reasons = Vec::new();
        match route::by_route(addresses, &self.machine.stack) {
            Ok(located) => return Ok(Ok(located)),
            Err(reason) => reasons.push(reason),
        }
        let neighbours = match self.neighbours.take() {
            Some(neighbours) => neighbours,
            None => neighbour::read(&self.machine.handle).await?,
        };
        let neighbours = self.neighbours.insert(neighbours);
        match route::by_neighbour(addresses, neighbours, &self.machine.stack) {
            Ok(located) => return Ok(Ok(located)),
            Err(reason) => reasons.push(reason),
        }
        match bridge::by_port(addresses, neighbours, &self.machine.stack) {
            Ok(located) => return Ok(Ok(located)),
            Err(reason) => reasons.push(reason),
        }
        neighbour::ask(&self.machine.handle, addresses, &self.machine.stack).await;
        Ok(Err(reasons))
    }
}
