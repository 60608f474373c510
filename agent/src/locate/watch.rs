//! The task that keeps [`Placed`] and [`Devices`] up to date.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::sync::watch;

use super::{
    Devices, Placed, World,
    local::{follow_pods, follow_sandboxes},
    machine::Machine,
    memory::{Found, Memory},
    netlink::Stack,
    netns, overlay, roles,
    sandbox::{Sandbox, Sandboxes},
    search::{self, Sought},
};
use crate::model::{Diagnostic, Located, Objects, Pod, PodKey, Snapshot};

/// Much of what a pod is found by comes without any message: one that is missing is looked for after this long.
const RETRY: Duration = Duration::from_secs(1);
/// While nothing changes it is looked for less and less often, down to this.
const SLOWEST: Duration = Duration::from_secs(30);

/// Which pods are this node's, and where to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of this node; `None`: every pod that says where it is on this machine is local.
    pub node: Option<String>,
    /// Put before names of network namespaces.
    pub netns_prefix: String,
    /// Where CNI plugins and runtimes keep pods' network namespaces.
    pub netns_directories: Vec<PathBuf>,
    /// Pods may say where they are; who is not found is told so.
    pub place_annotations: bool,
    /// Root of the pods' cgroups, if their processes may be looked at.
    pub pod_processes: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: None,
            netns_prefix: String::new(),
            netns_directories: vec![netns::DIRECTORY.into(), "/var/run/netns".into()],
            place_annotations: true,
            pod_processes: None,
        }
    }
}

/// What is followed.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// What the sources say.
    pub world: watch::Receiver<Arc<World>>,
    /// What the container runtime says.
    pub sandboxes: watch::Receiver<Arc<Sandboxes>>,
}

/// Follows `inputs` and this machine until the process ends.
///
/// # Errors
///
/// The kernel cannot be asked, or the source has ended.
pub async fn follow(
    options: Options,
    inputs: Inputs,
    placed: watch::Sender<Option<Arc<Placed>>>,
    devices: watch::Sender<Arc<Devices>>,
) -> anyhow::Result<()> {
    let Inputs {
        mut world,
        mut sandboxes,
    } = inputs;
    let mut machine = Machine::new(&options.netns_directories)?;
    let mut pods: Objects<PodKey, Pod> = Objects::new();
    let mut sought: BTreeMap<PodKey, Sought> = BTreeMap::new();
    let mut memory = Memory::default();
    let mut found = Found::default();
    let mut stale = true;
    let mut pause = RETRY;
    let mut now = World::default();
    let mut boxes = Arc::new(Sandboxes::default());
    let mut told = true;
    loop {
        // Nobody tells that a sandbox has ended while the runtime is away.
        told |= (stale || machine.noticed) && !boxes.live && !boxes.by_pod.is_empty();
        if std::mem::take(&mut told) {
            now = World::clone(&world.borrow_and_update());
            boxes = Arc::clone(&sandboxes.borrow_and_update());
            if let Some(snapshot) = &mut now.snapshot {
                let is_there = |sandbox: &Sandbox| sandbox.is_there(&options.netns_directories);
                let laid = overlay::lay(snapshot, &boxes, options.node.as_deref(), is_there);
                *snapshot = Arc::new(laid);
            }
            let latest = now.snapshot.as_ref().map(|snapshot| snapshot.pods.clone());
            let latest = latest.unwrap_or_default();
            stale |= follow_pods(&mut sought, &pods, &latest, &options);
            stale |= follow_sandboxes(&mut sought, &latest, &boxes);
            pods = latest;
        }
        if stale || machine.noticed {
            machine.read().await?;
            let claims = search::search(&mut machine, &options, &sought).await?;
            found = memory.settle(claims, &sought, &machine.stack, Instant::now());
            stale = false;
        }
        publish(
            &machine.stack,
            &now,
            &boxes,
            &found.by_pod,
            &placed,
            &devices,
        );

        let again = !machine.sees_inside || found.incomplete;
        tokio::select! {
            changed = world.changed() => {
                changed.context("the source of objects has ended")?;
                (told, pause) = (true, RETRY);
            }
            // Without a runtime to listen to nobody holds the other end.
            Ok(()) = sandboxes.changed() => (told, pause) = (true, RETRY),
            () = machine.changed() => (stale, pause) = (true, RETRY),
            () = tokio::time::sleep(pause), if again => {
                (stale, pause) = (true, (pause * 2).min(SLOWEST));
            }
        }
    }
}

fn publish(
    stack: &Stack,
    world: &World,
    sandboxes: &Arc<Sandboxes>,
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
    let now = Placed {
        sandboxes: Arc::clone(sandboxes),
        recalled: world.recalled,
        revisions: world.revisions.clone(),
        ..place(stack, snapshot, world.diagnostics.clone(), found)
    };
    placed.send_if_modified(|before| {
        let changed = before.as_ref().is_none_or(|before| {
            before.snapshot != now.snapshot
                || before.sandboxes != now.sandboxes
                || before.unplaced != now.unplaced
                || before.diagnostics != now.diagnostics
                || before.recalled != now.recalled
                || before.revisions != now.revisions
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
            Ok(located) => {
                if pod.addresses.is_empty() && located.addresses.is_empty() {
                    complain(
                        key,
                        "status.podIPs",
                        "the pod has no address, so nothing passes; give its addresses".to_owned(),
                    );
                }
                snapshot.local.insert(key.clone(), located.clone());
                continue;
            }
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
    snapshot.broadcasts.clone_from(&stack.broadcasts);
    Placed {
        snapshot: Arc::new(snapshot),
        unplaced,
        diagnostics,
        ..Placed::default()
    }
}

/// The addresses of the node's devices, and those at which it listens as a router.
pub(super) fn node_addresses(stack: &Stack) -> BTreeSet<IpAddr> {
    let addresses = stack.addresses.values().flatten().chain(&stack.anycast);
    addresses.copied().collect()
}
