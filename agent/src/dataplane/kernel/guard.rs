//! What stands before there is an agent: the node-wide layers of the metadata firewall, with no pod known.
//!
//! **Invariants.** Its pins are in a directory of their own ([`Pins::of_guard`]), which every agent takes for that of other layouts:
//! they judge until the agent's own hooks do, whatever the agent's version, flags and sizes of maps. Where an agent's pins are in
//! force nothing is touched. A layer that cannot be put up is in no other one's way.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::Path,
    sync::Arc,
};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use ringfence_common::{config::Config, metadata::layers};

use super::{
    Dataplane,
    open::{fill, pods_cgroup},
};
use crate::{
    compile::{Desired, Metadata},
    dataplane::{Kernel as _, KernelError, Options, load, pins::Pins},
    metadata::{LAYERS, standing},
    model::HostDevice,
};

/// The node-wide layers, pinned: they stay when this goes.
pub struct Guard {
    dataplane: Dataplane,
    /// Why a layer can never be put up by this one, by its word.
    lost: Trouble,
    /// Why a layer could not be put up the last time.
    trouble: Trouble,
    denied: Arc<Metadata>,
}

/// What is in the way of layers, by their words.
type Trouble = BTreeMap<&'static str, String>;

/// How it is with one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardLayer {
    /// Its word.
    pub name: &'static str,
    /// It is there, wherever it belongs.
    pub stands: bool,
    /// Why not; empty if all is well.
    pub why: String,
}

/// Fills maps of its own with what is denied, and loads the programs. Nothing is attached yet. `Err` of the inner result names the
/// layouts of an agent that are in force, or will be: then nothing was touched.
///
/// # Errors
///
/// What the kernel refused, of what every layer needs.
pub fn guard(
    options: &Options,
    denied: Metadata,
) -> Result<Result<Guard, Vec<String>>, KernelError> {
    let denied = Metadata {
        audited: false,
        ..denied
    };
    let pins = Pins::of_guard(&options.bpffs);
    let agents = pins.filled();
    let agents: Vec<&Pins> = agents.iter().filter(|it| !it.is_guards()).collect();
    // Maps alone, beside a guard's links, are of an agent that did not come to put them into force.
    if agents.iter().any(|it| it.are_in_force()) || !agents.is_empty() && !pins.are_in_force() {
        return Ok(Err(agents.into_iter().map(Pins::version).collect()));
    }
    pins.create()?;
    prepare(options, &pins, denied)
        .map(Ok)
        .inspect_err(|_error| {
            if !pins.are_in_force()
                && let Err(error) = pins.clear()
            {
                tracing::warn!(%error, "something of this guard is left");
            }
        })
}

fn prepare(options: &Options, pins: &Pins, denied: Metadata) -> Result<Guard, KernelError> {
    let mut options = options.clone();
    let mut lost = Trouble::new();
    if let Some(root) = &options.cgroup_root
        && let Err(error) = make(root)
    {
        for layer in [layers::SOCKETS, layers::SOCKET_PACKETS] {
            lost.insert(word(layer), error.to_string());
        }
        options.cgroup_root = None;
    }
    let (mut ebpf, limits) = load::maps(&options, pins)?;
    for name in load::wanted(&options) {
        let Some(layer) = layer_of(name) else {
            continue;
        };
        if let Err(error) = load::accept(&mut ebpf, name) {
            lost.entry(word(layer)).or_insert_with(|| error.to_string());
        }
    }
    load::accept(&mut ebpf, load::CLOCK_PROGRAM)?;
    let mut dataplane = fill(&options, pins, (ebpf, limits))?;
    let denied = Arc::new(denied);
    dataplane.program(&wanted(&denied, &BTreeSet::new()))?;
    Ok(Guard {
        dataplane,
        lost,
        trouble: Trouble::new(),
        denied,
    })
}

/// What is denied, and which addresses are the node's: nobody is granted anything, and no pod is known. An audit needs somebody to
/// tell; until there is an agent, what it would let through is denied.
fn wanted(denied: &Arc<Metadata>, own: &BTreeSet<IpAddr>) -> Desired {
    Desired {
        metadata: Arc::clone(denied),
        node_addresses: own.iter().map(IpAddr::to_canonical).collect(),
        ..Desired::default()
    }
}

/// Makes a cgroup, unless it is there; only where there are cgroups of version 2.
fn make(cgroup: &Path) -> Result<(), KernelError> {
    let there = cgroup.ancestors().find(|above| above.exists());
    let kind = there.and_then(|above| statfs(above).ok());
    if kind.is_none_or(|it| it.filesystem_type() != CGROUP2_SUPER_MAGIC) {
        return Err(KernelError::Other(format!(
            "{} is no place for a cgroup of version 2\n  help: --cgroup-root names a directory in a cgroup2 hierarchy (see /proc/self/mountinfo)",
            cgroup.display()
        )));
    }
    fs::create_dir_all(cgroup).map_err(|error| {
        KernelError::Other(format!(
            "cannot make the cgroup {}: {error}\n  help: --cgroup-root says where the kubelet has its pods; /sys/fs/cgroup must be writable",
            cgroup.display()
        ))
    })
}

/// The word of a layer.
fn word(layer: u32) -> &'static str {
    let found = LAYERS.iter().find(|(_, bit)| *bit == layer);
    found.map_or("", |(name, _)| *name)
}

/// The layer that a program is of, if a guard puts it up.
fn layer_of(program: &str) -> Option<u32> {
    Some(match program {
        load::LOOP_PROGRAM => layers::LO,
        load::PACKETS_PROGRAM => layers::SOCKET_PACKETS,
        load::NODE_PROGRAM => layers::TO_HOST,
        _ if load::SOCKET_PROGRAMS.contains(&program) => layers::SOCKETS,
        "from_pod" | "to_pod" | load::CLOCK_PROGRAM => return None,
        _ => layers::TO_HOST,
    })
}

// === impl Guard ===

impl Guard {
    /// Attaches every layer that stands without knowing pods, at these devices and at the cgroups; makes the pods' cgroup if it is
    /// not there yet. `own` are the node's addresses. How it is with each.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell.
    pub fn put_up(
        &mut self,
        devices: &BTreeSet<HostDevice>,
        own: &BTreeSet<IpAddr>,
    ) -> Result<Vec<GuardLayer>, KernelError> {
        self.dataplane.program(&wanted(&self.denied, own))?;
        let dataplane = &mut self.dataplane;
        // What is pinned runs this guard's programs first; what that cannot do is tried again, and named, below.
        if let Err(error) = dataplane.attacher.adopt(&mut dataplane.ebpf) {
            tracing::debug!(%error, "something that is pinned is not taken over");
        }
        let mut done = vec![
            (layers::SOCKETS, dataplane.find_pods_cgroup()),
            (
                layers::LO,
                dataplane.attacher.lo(&mut dataplane.ebpf).map(drop),
            ),
            (layers::TO_HOST, dataplane.guard_hosts(devices)),
        ];
        let (attacher, ebpf) = (&dataplane.attacher, &mut dataplane.ebpf);
        if let Some(root) = &dataplane.node_cgroup {
            done.push((layers::TO_HOST, attacher.node(ebpf, root)));
        }
        if let Some(root) = &dataplane.cgroup_root {
            done.push((layers::SOCKETS, attacher.sockets(ebpf, root)));
            done.push((layers::SOCKET_PACKETS, attacher.packets(ebpf, root)));
        }
        self.trouble.clone_from(&self.lost);
        for (layer, done) in done {
            if let Err(error) = done {
                let told = self.trouble.entry(word(layer));
                told.or_insert_with(|| error.to_string());
            }
        }
        self.standing()
    }

    /// Guards devices that have become uplinks since, and no others; notes the node's addresses.
    ///
    /// # Errors
    ///
    /// What the kernel refused of the first of them; all are tried.
    pub fn follow(
        &mut self,
        devices: &BTreeSet<HostDevice>,
        own: &BTreeSet<IpAddr>,
    ) -> Result<(), KernelError> {
        let known = self.dataplane.program(&wanted(&self.denied, own));
        known.and(self.dataplane.guard_hosts(devices))
    }

    /// How it is with each layer.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell.
    pub fn standing(&self) -> Result<Vec<GuardLayer>, KernelError> {
        let programs = self.dataplane.programs()?;
        let pods = self.dataplane.cgroup_root.is_some();
        let all = standing(&programs, layers::ALL, pods);
        // There is no pod yet.
        let layers = all.into_iter().filter(|layer| layer.name != LAYERS[0].0);
        let layers = layers.map(|layer| {
            let trouble = self.trouble.get(layer.name);
            GuardLayer {
                name: layer.name,
                stands: layer.stands && trouble.is_none(),
                why: trouble.cloned().unwrap_or_else(|| layer.why.to_owned()),
            }
        });
        Ok(layers.collect())
    }

    /// True once an agent has taken over, or somebody has detached everything. What this guard has attached in that very moment goes.
    ///
    /// # Errors
    ///
    /// If it cannot be taken away.
    pub fn is_over(&self) -> Result<bool, KernelError> {
        let pins = &self.dataplane.pins;
        if pins.map("CONFIG").exists() {
            return Ok(false);
        }
        pins.clear()?;
        Ok(true)
    }
}

impl Dataplane {
    /// Makes the pods' cgroup if it is not there, and tells the programs which it is.
    fn find_pods_cgroup(&mut self) -> Result<(), KernelError> {
        let Some(root) = &self.cgroup_root else {
            return Ok(());
        };
        make(root)?;
        self.configure(Config {
            pods_cgroup: pods_cgroup(Some(root))?,
            ..self.config
        })
    }
}
