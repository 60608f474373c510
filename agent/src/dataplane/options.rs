//! What the dataplane is told at start.

use std::{path::PathBuf, time::Duration};

use ringfence_common::{
    config::{MAX_NAT64, Nat64},
    mark::MarkLayout,
    metadata::layers,
};

use crate::diff::Limits;

/// What the dataplane is told at start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory on a bpffs; pins are below it, in a directory of the layouts' version.
    pub bpffs: PathBuf,
    /// Root of the pods' cgroup subtree, in a cgroup2 hierarchy; `None`: no socket hooks.
    pub cgroup_root: Option<PathBuf>,
    /// Root of the cgroups whose sockets may be the node's own; `None`: what ends in these is not judged again.
    pub node_cgroup: Option<PathBuf>,
    /// The agent's directory, where a file may say that the node itself is not judged ([`super::host`]).
    pub run_dir: PathBuf,
    /// Sizes of the maps. A map that is pinned already keeps its size.
    pub limits: Limits,
    /// Bits of the packet mark that are ours.
    pub mark: MarkLayout,
    /// Events that one CPU may send per second.
    pub event_rate: u32,
    /// How long after a look at what the kernel holds the next one begins.
    pub audit_interval: Duration,
    /// How programs are attached to devices.
    pub attach: Attach,
    /// How the metadata firewall asks.
    pub firewall: Firewall,
}

/// How the metadata firewall asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// Where: [`layers`].
    pub layers: u32,
    /// Packets a second that one pod with a grant may send to metadata endpoints; 0 for any number.
    pub packets_per_second: u32,
    /// Prefixes besides the well-known one by which IPv6 reaches IPv4.
    pub nat64: [Nat64; MAX_NAT64],
}

impl Default for Firewall {
    fn default() -> Self {
        Self {
            layers: layers::ALL,
            packets_per_second: 0,
            nat64: [Nat64::default(); MAX_NAT64],
        }
    }
}

/// How programs are attached to devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// TCX where the kernel has it (6.6), else clsact.
    #[default]
    Auto,
    /// TCX or not at all.
    Tcx,
    /// clsact, whatever the kernel has.
    Clsact,
}
