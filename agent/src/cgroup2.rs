//! Where this machine has its cgroups.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// The mount point of cgroup version 2, wherever this machine has it.
///
/// # Errors
///
/// If it is mounted nowhere.
pub fn mount_point() -> Result<PathBuf> {
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    mounts.lines().find_map(cgroup2_of).map(PathBuf::from).context(
        "no cgroup version 2 is mounted; mount it, as in `mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified`",
    )
}

/// The mount point in a line of `mountinfo`, if it is cgroup version 2:
/// `ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS`.
fn cgroup2_of(line: &str) -> Option<&str> {
    let (mount, filesystem) = line.split_once(" - ")?;
    filesystem
        .starts_with("cgroup2 ")
        .then(|| mount.split(' ').nth(4))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::cgroup2_of;

    #[test]
    fn the_mount_point_is_found_on_unified_and_on_hybrid_hosts() {
        for (line, expect) in [
            (
                "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate",
                Some("/sys/fs/cgroup"),
            ),
            (
                "41 31 0:38 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 none rw",
                Some("/sys/fs/cgroup/unified"),
            ),
            (
                "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
                None,
            ),
            ("", None),
        ] {
            assert_eq!(cgroup2_of(line), expect, "{line}");
        }
    }
}
