//! The names that a lab's parts have, from which they are found again whatever happened.

use std::path::PathBuf;

use anyhow::Result;

use crate::cgroup2;

/// What the names of a lab's network namespaces begin with. A lab's name has no dash, so no lab's prefix begins
/// another's.
#[must_use]
pub fn netns_prefix(lab: &str) -> String {
    format!("rf-{lab}-")
}

/// The node's network namespace.
#[must_use]
pub fn node_netns(lab: &str) -> String {
    netns_prefix(lab) + "node"
}

/// The network namespace of everything outside.
#[must_use]
pub fn outside_netns(lab: &str) -> String {
    netns_prefix(lab) + "outside"
}

/// The root of the pods' cgroups: where an agent attaches its hooks.
pub fn pods_cgroup(lab: &str) -> Result<PathBuf> {
    Ok(cgroup2::mount_point()?.join(format!("rf-{lab}")))
}

/// The cgroup of what is no pod.
pub fn host_cgroup(lab: &str) -> Result<PathBuf> {
    Ok(cgroup2::mount_point()?.join(format!("rf-{lab}-host")))
}
