//! Where things are on this machine: each local pod's host-side interface, and every device with its role.
//!
//! One task watches links, addresses and routes (of the pods' namespaces too, as far as the kernel tells)
//! and the directory of network namespaces, so that a pod whose namespace appears later is found then.
//!
//! **Invariants.** A pod that cannot be found is named with the reason, never left out in silence. A
//! pod's interface is taken only if both ends name each other and the namespace is the pod's: an index alone
//! could be anybody's. Threads that enter other namespaces end there and never serve anything else.

mod find;
mod netlink;
mod netns;
mod others;
mod roles;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use netns::enter;
pub use others::{mark_conflicts, mark_users};
pub use watch::{Options, follow};

use crate::model::{Diagnostic, HostDevice, PodKey, Snapshot};

/// What the sources say.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The state of everything, without what only this machine knows; `None` until all sources have synced.
    pub snapshot: Option<Arc<Snapshot>>,
    /// What is wrong with objects.
    pub diagnostics: Vec<Diagnostic>,
}

/// [`World`] with what this machine knows.
#[derive(Clone, Debug, Default)]
pub struct Placed {
    /// The state of everything, local pods and the node's own addresses included.
    pub snapshot: Arc<Snapshot>,
    /// Local pods that could not be found, and why.
    pub unplaced: BTreeMap<PodKey, String>,
    /// What is wrong with objects.
    pub diagnostics: Vec<Diagnostic>,
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
}

impl Devices {
    /// Those that lead off the node.
    #[must_use]
    pub fn hosts(&self) -> BTreeSet<HostDevice> {
        self.by_index
            .values()
            .filter(|device| matches!(device.role, Role::Uplink | Role::Tunnel))
            .map(|device| HostDevice {
                ifindex: device.index,
                ethernet: device.ethernet,
            })
            .collect()
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
        }
    }
}
