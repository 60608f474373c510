//! The task that keeps [`Placed`] and [`Devices`] up to date.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures::StreamExt as _;
use notify::Watcher as _;
use rtnetlink::{Handle, MulticastGroup, sys::AsyncSocket as _};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    Devices, Placed, World, find,
    netlink::{self, Stack},
    netns, roles,
};
use crate::model::{Diagnostic, Located, Objects, Place, Pod, PodKey, Snapshot};

/// Changes come in bursts (a veth pair is a dozen messages): this long one waits for the rest.
const BURST: Duration = Duration::from_millis(10);
/// A namespace's file may become one without any message; a pod that is missing is looked for this often.
const RETRY: Duration = Duration::from_secs(1);

/// Which pods are this node's, and where to look.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name of this node; `None`: every pod that says where it is on this machine is local.
    pub node: Option<String>,
    /// Put before names of network namespaces.
    pub netns_prefix: String,
}

/// Follows `world` and this machine until the process ends.
///
/// # Errors
///
/// The kernel cannot be asked, or the source has ended.
pub async fn follow(
    options: Options,
    mut world: watch::Receiver<Arc<World>>,
    placed: watch::Sender<Option<Arc<Placed>>>,
    devices: watch::Sender<Arc<Devices>>,
) -> anyhow::Result<()> {
    let mut machine = Machine::new()?;
    let mut pods: Objects<PodKey, Pod> = Objects::new();
    let mut places: BTreeMap<PodKey, Option<Place>> = BTreeMap::new();
    let mut found: BTreeMap<PodKey, Result<Located, String>> = BTreeMap::new();
    let mut stale = true;
    loop {
        let now = world.borrow_and_update().clone();
        let latest = now.snapshot.as_ref().map(|snapshot| snapshot.pods.clone());
        stale |= follow_pods(&mut places, &pods, latest.as_ref(), &options);
        pods = latest.unwrap_or_default();
        if stale {
            machine.stack = netlink::read(&machine.handle, true).await?;
            found = machine.find(&places, &options.netns_prefix).await?;
            stale = false;
        }
        publish(&machine.stack, &now, &found, &placed, &devices);

        let missing = found.values().any(Result::is_err);
        tokio::select! {
            changed = world.changed() => changed.context("the source of objects has ended")?,
            () = machine.changed() => stale = true,
            () = tokio::time::sleep(RETRY), if missing => stale = true,
        }
    }
}

/// Keeps up this node's pods, and where they say they are; true if that is not what it was. Costs what differs.
fn follow_pods(
    places: &mut BTreeMap<PodKey, Option<Place>>,
    before: &Objects<PodKey, Pod>,
    now: Option<&Objects<PodKey, Pod>>,
    options: &Options,
) -> bool {
    let is_local = |pod: &Pod| match (&options.node, &pod.node) {
        (Some(here), Some(there)) => **here == **there,
        (Some(_), None) | (None, _) => pod.place.is_some(),
    };
    let none = Objects::new();
    let mut changed = false;
    for pod in before.differences(now.unwrap_or(&none)) {
        let place = pod
            .new
            .filter(|pod| pod.is_running() && !pod.host_network && is_local(pod))
            .map(|pod| pod.place.clone());
        changed |= match place {
            Some(place) => places.insert(pod.key.clone(), place.clone()) != Some(place),
            None => places.remove(pod.key).is_some(),
        };
    }
    changed
}

fn publish(
    stack: &Stack,
    world: &World,
    found: &BTreeMap<PodKey, Result<Located, String>>,
    placed: &watch::Sender<Option<Arc<Placed>>>,
    devices: &watch::Sender<Arc<Devices>>,
) {
    let pods: BTreeSet<u32> = found
        .values()
        .flatten()
        .map(|located| located.ifindex)
        .collect();
    let now = roles::classify(stack, &pods);
    devices.send_if_modified(|before| {
        let changed = **before != now;
        if changed {
            *before = Arc::new(now);
        }
        changed
    });
    let Some(snapshot) = &world.snapshot else {
        return;
    };
    let now = place(stack, snapshot, world.diagnostics.clone(), found);
    placed.send_if_modified(|before| {
        let changed = before.as_ref().is_none_or(|before| {
            before.snapshot != now.snapshot
                || before.unplaced != now.unplaced
                || before.diagnostics != now.diagnostics
        });
        if changed {
            *before = Some(Arc::new(now));
        }
        changed
    });
}

fn place(
    stack: &Stack,
    objects: &Snapshot,
    mut diagnostics: Vec<Diagnostic>,
    found: &BTreeMap<PodKey, Result<Located, String>>,
) -> Placed {
    let mut snapshot = objects.clone();
    let mut unplaced = BTreeMap::new();
    let mut owners: BTreeMap<u32, &PodKey> = BTreeMap::new();
    let mut complain = |key: &PodKey, field: &str, message: String| {
        let origin = objects
            .pods
            .get(key)
            .map(|pod| pod.origin.clone())
            .unwrap_or_default();
        diagnostics.push(Diagnostic {
            origin,
            object: format!("Pod/{key}"),
            field: field.to_owned(),
            message,
        });
    };
    for (key, result) in found {
        // Pods and places are compared before they are looked for, so a pod here may just have gone.
        let Some(pod) = objects.pods.get(key) else {
            continue;
        };
        let reason = match result {
            Ok(located) => match owners.get(&located.ifindex) {
                None => {
                    owners.insert(located.ifindex, key);
                    if pod.addresses.is_empty() && located.addresses.is_empty() {
                        complain(
                            key,
                            "status.podIPs",
                            "the pod has no address, so nothing passes; give its addresses"
                                .to_owned(),
                        );
                    }
                    snapshot.local.insert(key.clone(), located.clone());
                    continue;
                }
                Some(other) => {
                    format!("its interface {} is that of pod {other}", located.interface)
                }
            },
            Err(reason) => reason.clone(),
        };
        complain(
            key,
            "",
            format!("not enforced, the pod cannot be found: {reason}"),
        );
        unplaced.insert(key.clone(), reason);
    }
    snapshot.node_addresses = node_addresses(stack);
    Placed {
        snapshot: Arc::new(snapshot),
        unplaced,
        diagnostics,
    }
}

fn node_addresses(stack: &Stack) -> BTreeSet<IpAddr> {
    stack.addresses.values().flatten().copied().collect()
}

/// This machine, as far as it tells about changes.
struct Machine {
    stack: Stack,
    handle: Handle,
    asking: JoinHandle<()>,
    listening: JoinHandle<()>,
    changes: mpsc::Receiver<()>,
    sender: mpsc::Sender<()>,
    _directory: Option<notify::RecommendedWatcher>,
}

impl Machine {
    fn new() -> anyhow::Result<Self> {
        // One place is enough: a message says that something changed, and then everything is read.
        let (sender, changes) = mpsc::channel(1);
        let (connection, handle, _) =
            rtnetlink::new_connection().context("cannot open a netlink socket")?;
        let asking = tokio::spawn(connection);
        let listening = listen(sender.clone())?;
        let directory = watch_directory(sender.clone())
            .inspect_err(|error| tracing::warn!(%error, "cannot watch {}: new namespaces are found within a second", netns::DIRECTORY))
            .ok();
        Ok(Self {
            stack: Stack::default(),
            handle,
            asking,
            listening,
            changes,
            sender,
            _directory: directory,
        })
    }

    /// Waits for a change and for the end of its burst.
    async fn changed(&mut self) {
        tokio::select! {
            _ = self.changes.recv() => {}
            _ = &mut self.listening => {
                // The kernel's queue ran over, or the socket broke: what was missed is read again.
                tokio::time::sleep(BURST).await;
                match listen(self.sender.clone()) {
                    Ok(listening) => self.listening = listening,
                    Err(error) => {
                        tracing::error!(%error, "cannot listen to the kernel's network messages; trying again");
                        self.listening = tokio::spawn(tokio::time::sleep(RETRY));
                    }
                }
            }
        }
        tokio::time::sleep(BURST).await;
        while self.changes.try_recv().is_ok() {}
    }

    async fn find(
        &mut self,
        pods: &BTreeMap<PodKey, Option<Place>>,
        prefix: &str,
    ) -> anyhow::Result<BTreeMap<PodKey, Result<Located, String>>> {
        let mut found = BTreeMap::new();
        let mut inside: Vec<(&PodKey, PathBuf)> = Vec::new();
        for (key, place) in pods {
            let result = match place {
                Some(Place::Netns(name)) => {
                    inside.push((key, netns::path_of(prefix, name)));
                    continue;
                }
                Some(Place::Interface(name)) => find::by_interface(name, &self.stack),
                None => Err("it does not say where it is; annotate it with ringfence.dev/netns (the name of its \
                             network namespace) or ringfence.dev/interface (its host-side interface)"
                    .to_owned()),
            };
            found.insert(key.clone(), result);
        }
        if inside.is_empty() {
            return Ok(found);
        }
        let paths = inside.iter().map(|(_, path)| path.clone()).collect();
        for ((key, _), look) in inside.iter().zip(netns::look(paths).await?) {
            let result = match look {
                Ok((file, stack)) => {
                    let namespace =
                        netlink::namespace_id(&mut self.handle, std::os::fd::AsFd::as_fd(&file))
                            .await?;
                    find::by_namespace(&stack, namespace, &self.stack)
                }
                Err(reason) => Err(reason),
            };
            found.insert((*key).clone(), result);
        }
        Ok(found)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.asking.abort();
        self.listening.abort();
    }
}

/// A task that reports every message about links, addresses and routes, and ends when it can no more.
fn listen(changed: mpsc::Sender<()>) -> anyhow::Result<JoinHandle<()>> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    let (mut connection, _, mut messages) = rtnetlink::new_multicast_connection(&groups)
        .context("cannot listen to the kernel's network messages")?;
    // So a pod's address that changes inside its namespace is seen too.
    if let Err(error) = connection
        .socket_mut()
        .socket_mut()
        .set_listen_all_namespaces(true)
    {
        tracing::warn!(%error, "changes of addresses inside pods' namespaces are not seen");
    }
    Ok(tokio::spawn(async move {
        let connection = tokio::spawn(connection);
        while messages.next().await.is_some() {
            // Full: a change is waiting to be noticed already.
            let _: Result<(), mpsc::error::TrySendError<()>> = changed.try_send(());
        }
        connection.abort();
    }))
}

/// Reports every change of the directory of network namespaces, which may not be there yet.
fn watch_directory(changed: mpsc::Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
    let directory = Path::new(netns::DIRECTORY);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Opening a file is an event too, and looking into a namespace opens one.
        let ours = event.map_or(true, |event| {
            !event.kind.is_access()
                && event
                    .paths
                    .iter()
                    .any(|path| path.starts_with(netns::DIRECTORY))
        });
        if ours {
            let _: Result<(), mpsc::error::TrySendError<()>> = changed.try_send(());
        }
    })?;
    let existing = if directory.is_dir() {
        directory
    } else {
        Path::new("/run")
    };
    watcher.watch(existing, notify::RecursiveMode::NonRecursive)?;
    Ok(watcher)
}
