//! Where things are on this machine: each local pod's host-side interface, and every device with its role.
//!
//! One task watches links, addresses and routes (of the pods' namespaces too, as far as the kernel tells)
//! and the directories of network namespaces, so that a pod whose namespace appears later is found then.
//!
//! A pod that does not say where it is is looked for by several ways, in this order: the namespace that the container
//! runtime told of (`sandbox`), the namespace in a directory that holds its address (`namespaces`), a process of its
//! cgroup (`process`), the node's route to its address or the neighbour that has it (`route`), the port of a bridge
//! that has learned its hardware address (`bridge`).
//!
//! **Invariants.** A pod that cannot be found is named with the reason, never left out in silence. A
//! pod's interface is taken only if both ends name each other and the namespace is the pod's: an index alone
//! could be anybody's. An address is trusted only where a namespace, a route or a neighbour has it now. One interface is
//! never two pods' (`claims`). Other namespaces are asked about, never entered.

mod bridge;
mod claims;
mod find;
mod local;
mod machine;
mod memory;
mod namespaces;
mod neighbour;
mod netlink;
mod netns;
mod others;
mod overlay;
mod process;
mod roles;
mod route;
mod sandbox;
mod search;
mod uplinks;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use netns::enter;
pub use others::{mark_conflicts, mark_users};
pub(crate) use sandbox::candidates as namespace_files;
pub use sandbox::{Sandbox, Sandboxes};
pub use uplinks::Following;
pub use watch::{Inputs, Options, follow};

use crate::{
    model::{Diagnostic, HostDevice, HostKind, PodKey, Snapshot},
    watch::Revisions,
};

/// What the sources say.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The state of everything, without what only this machine knows; `None` until all sources have synced.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The versions of its objects.
    pub revisions: Revisions,
    /// What is wrong with objects.
    pub diagnostics: Vec<Diagnostic>,
    /// Some of it is what was last known: the sources themselves have not told of it yet.
    pub recalled: bool,
}

/// [`World`] with what this machine knows.
#[derive(Clone, Debug, Default)]
pub struct Placed {
    /// The state of everything, local pods and the node's own addresses included.
    pub snapshot: Arc<Snapshot>,
    /// As [`World::revisions`].
    pub revisions: Revisions,
    /// The sandboxes that were laid over it.
    pub sandboxes: Arc<Sandboxes>,
    /// Local pods that could not be found, and why.
    pub unplaced: BTreeMap<PodKey, String>,
    /// What is wrong with objects.
    pub diagnostics: Vec<Diagnostic>,
    /// As [`World::recalled`].
    pub recalled: bool,
}

/// The node's devices by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// By index. Devices that carry nothing (`dummy` and the like) are not among them.
    pub by_index: BTreeMap<u32, Device>,
}

/// A device of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// What it is there for.
    pub role: Role,
    /// Its packets have an Ethernet header.
    pub ethernet: bool,
    /// The UDP port at which it opens packets, if it is a tunnel that does.
    pub listens: Option<u16>,
}

impl Devices {
    /// Those that are the node's own, but for `lo`.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<HostDevice> {
        let host = |device: &Device| {
            let kind = match device.role {
                Role::Uplink => HostKind::Uplink,
                Role::Tunnel => HostKind::Tunnel,
                Role::Bridge => HostKind::Bridge,
                Role::Pair | Role::Port => HostKind::Inner,
                Role::Pod | Role::Loopback => return None,
            };
            Some(HostDevice {
                ifindex: device.index,
                kind,
                ethernet: device.ethernet,
                listens: device.listens,
            })
        };
        self.by_index.values().filter_map(host).collect()
    }
}

/// What a device is there for, as far as hooks are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The host side of a pod's interface, whether the pod is known or not.
    Pod,
    /// A bridge: what crosses it may still be untranslated.
    Bridge,
    /// Leads off the node.
    Uplink,
    /// `lo`.
    Loopback,
    /// Encapsulates or encrypts.
    Tunnel,
    /// One end of a pair of which the node has both: a patch between its bridges, say.
    Pair,
    /// A bond's or team's.
    Port,
}

impl Role {
    /// The word for it in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Bridge => "bridge",
            Self::Uplink => "uplink",
            Self::Loopback => "loopback",
            Self::Tunnel => "tunnel",
            Self::Pair => "pair",
            Self::Port => "port",
        }
    }
}
