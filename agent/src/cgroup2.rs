//! Where this machine has its cgroups, and pods theirs.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, Result, bail};

/// Where kubelets put all pods, below the root of all cgroups: with the systemd driver, with the cgroupfs driver, and
/// both with a root of the kubelet's own.
const PODS: [&str; 4] = [
    "kubepods.slice",
    "kubepods",
    "kubelet.slice/kubelet-kubepods.slice",
    "kubelet/kubepods",
];
/// Where systemd runs, this is.
const SYSTEMD: &str = "/run/systemd/system";
/// Classes of service that have a cgroup between the pods' and the pod's.
const CLASSES: [&str; 2] = ["burstable", "besteffort"];

/// The mount point of cgroup version 2, wherever this machine has it; where there are several, the one that holds pods.
///
/// # Errors
///
/// If it is mounted nowhere.
pub fn mount_point() -> Result<PathBuf> {
    let mounts = mounts()?;
    let with_pods = mounts.iter().find(|mount| pods_below(mount).is_some());
    with_pods.or(mounts.first()).cloned().context(
        "no cgroup version 2 is mounted; mount it, as in `mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified`",
    )
}

/// The root of the pods' cgroups, in the first cgroup version 2 that has one.
///
/// # Errors
///
/// If no cgroup version 2 is mounted or none has pods.
pub fn pods_root() -> Result<PathBuf> {
    let mounts = mounts()?;
    if let Some(found) = mounts.iter().find_map(|mount| pods_below(mount)) {
        return Ok(found);
    }
    let places: Vec<String> = mounts
        .iter()
        .flat_map(|mount| PODS.map(|below| mount.join(below).display().to_string()))
        .collect();
    if places.is_empty() {
        bail!("no cgroup version 2 is mounted here");
    }
    bail!("there is none of {}", places.join(", "))
}

/// The root of the pods' cgroups in a hierarchy of version 1, if they have one there. Nothing can be attached to it.
///
/// # Errors
///
/// If the mounts cannot be read.
pub fn pods_root_of_version_1() -> Result<Option<PathBuf>> {
    Ok(mounts_of("cgroup")?
        .iter()
        .find_map(|mount| pods_below(mount)))
}

/// Where kubelets put all pods, by their driver of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// systemd.
    Systemd,
    /// The kubelet itself.
    Cgroupfs,
}

/// The root of the pods' cgroups, there or not: where there is one it is that, else where the kubelet will have it with this driver,
/// or with the one that goes with this machine's init.
///
/// # Errors
///
/// If no cgroup version 2 is mounted.
pub fn pods_root_to_be(driver: Option<Driver>) -> Result<PathBuf> {
    let driver = match driver {
        Some(driver) => driver,
        None => match pods_root() {
            Ok(found) => return Ok(found),
            Err(_none_yet) if Path::new(SYSTEMD).is_dir() => Driver::Systemd,
            Err(_none_yet) => Driver::Cgroupfs,
        },
    };
    let mount = mount_point()?;
    Ok(mount.join(match driver {
        Driver::Systemd => PODS[0],
        Driver::Cgroupfs => PODS[1],
    }))
}

fn mounts() -> Result<Vec<PathBuf>> {
    mounts_of("cgroup2")
}

fn mounts_of(kind: &str) -> Result<Vec<PathBuf>> {
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    Ok(mounts
        .lines()
        .filter_map(|line| mounted(kind, line))
        .map(PathBuf::from)
        .collect())
}

/// The root of the pods' cgroups below the root of all: one with cgroups below it before one that somebody has only prepared.
fn pods_below(mount: &Path) -> Option<PathBuf> {
    let there = || {
        PODS.iter()
            .map(|below| mount.join(below))
            .filter(|path| path.is_dir())
    };
    there()
        .find(|path| is_used(path))
        .or_else(|| there().next())
}

/// True if there are cgroups below this one.
fn is_used(cgroup: &Path) -> bool {
    let entries = fs::read_dir(cgroup).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_type().ok())
        .any(|kind| kind.is_dir())
}

/// A pod's cgroup below the pods' root: under its own name if it has one, else by its UID as kubelets name it. The
/// directory need not be there yet.
#[must_use]
pub fn pod_directory(root: &Path, name: &str, uid: &str) -> Option<PathBuf> {
    let mut candidates = vec![root.join(below(root, name))];
    if !uid.is_empty() {
        candidates.extend(by_uid(root, uid));
    }
    candidates.into_iter().find(|path| path.is_dir())
}

/// True if this process is in a cgroup below the pods' root, or in that itself.
#[must_use]
pub fn is_below(root: &Path) -> bool {
    let own = process::id().to_string();
    let mut cgroups = vec![root.to_owned()];
    while let Some(cgroup) = cgroups.pop() {
        // A threaded cgroup has no list of processes; theirs is in the one above.
        let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        if processes.lines().any(|process| process == own) {
            return true;
        }
        let entries = fs::read_dir(&cgroup).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        cgroups.extend(below.map(|entry| entry.path()));
    }
    false
}

/// Where a kubelet puts the pod with this UID.
fn by_uid(root: &Path, uid: &str) -> Vec<PathBuf> {
    let stem = root
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_suffix(".slice"));
    let mut candidates = Vec::new();
    if let Some(stem) = stem {
        // A dash divides levels of slices, so the UID's own are written otherwise.
        let uid = uid.replace('-', "_");
        candidates.push(root.join(format!("{stem}-pod{uid}.slice")));
        candidates.extend(CLASSES.map(|class| {
            root.join(format!("{stem}-{class}.slice"))
                .join(format!("{stem}-{class}-pod{uid}.slice"))
        }));
    } else {
        candidates.push(root.join(format!("pod{uid}")));
        candidates.extend(CLASSES.map(|class| root.join(class).join(format!("pod{uid}"))));
    }
    candidates
}

/// The path below the pods' root of a cgroup as the kubelet names it to the runtime: a path from the root of all, or the
/// last of a chain of slices. Anything else stands for itself.
fn below(root: &Path, name: &str) -> PathBuf {
    let own = root
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("");
    if let Some(path) = name.strip_prefix('/') {
        let mut parts = path.split('/').skip_while(|part| *part != own);
        return parts.by_ref().skip(1).collect();
    }
    let stem = own.strip_suffix(".slice");
    if let (Some(stem), Some(slice)) = (stem, name.strip_suffix(".slice"))
        && let Some(rest) = slice
            .strip_prefix(stem)
            .and_then(|rest| rest.strip_prefix('-'))
    {
        let class = CLASSES.iter().find(|class| {
            rest.strip_prefix(**class)
                .is_some_and(|it| it.starts_with('-'))
        });
        return match class {
            Some(class) => Path::new(&format!("{stem}-{class}.slice")).join(name),
            None => PathBuf::from(name),
        };
    }
    PathBuf::from(name)
}

/// The mount point in a line of `mountinfo`, if it is of this kind, `cgroup` (version 1) or `cgroup2`:
/// `ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS`.
fn mounted<'a>(kind: &str, line: &'a str) -> Option<&'a str> {
    let (mount, filesystem) = line.split_once(" - ")?;
    (filesystem.split(' ').next() == Some(kind))
        .then(|| mount.split(' ').nth(4))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(mounted("cgroup2", line), expect, "{line}");
        }
        let line = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
        assert_eq!(mounted("cgroup", line), Some("/sys/fs/cgroup/cpu"));
    }

    const UID: &str = "0b1c-2d";

    /// (pods' root below the mount, the pod's cgroup below that, what the kubelet calls it).
    const LAYOUTS: [(&str, &str, &str); 7] = [
        ("kubepods", "pod0b1c-2d", "/kubepods/pod0b1c-2d"),
        (
            "kubepods",
            "burstable/pod0b1c-2d",
            "/kubepods/burstable/pod0b1c-2d",
        ),
        (
            "kubelet/kubepods",
            "besteffort/pod0b1c-2d",
            "/kubelet/kubepods/besteffort/pod0b1c-2d",
        ),
        (
            "kubepods.slice",
            "kubepods-pod0b1c_2d.slice",
            "kubepods-pod0b1c_2d.slice",
        ),
        (
            "kubepods.slice",
            "kubepods-burstable.slice/kubepods-burstable-pod0b1c_2d.slice",
            "kubepods-burstable-pod0b1c_2d.slice",
        ),
        (
            "kubepods.slice",
            "kubepods-besteffort.slice/kubepods-besteffort-pod0b1c_2d.slice",
            "kubepods-besteffort-pod0b1c_2d.slice",
        ),
        (
            "kubelet.slice/kubelet-kubepods.slice",
            "kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod0b1c_2d.slice",
            "kubelet-kubepods-burstable-pod0b1c_2d.slice",
        ),
    ];

    #[test]
    fn pods_are_found_by_uid_and_by_the_kubelets_name_in_every_layout() {
        for (root, pod, name) in LAYOUTS {
            let directory = tempfile::tempdir().unwrap();
            let mount = directory.path();
            assert_eq!(pods_below(mount), None);
            let expect = mount.join(root).join(pod);
            fs::create_dir_all(&expect).unwrap();
            let root = pods_below(mount).unwrap();
            assert_eq!(pod_directory(&root, "shop_web", UID), Some(expect.clone()));
            assert_eq!(pod_directory(&root, name, "other"), Some(expect));
            assert_eq!(pod_directory(&root, "shop_web", "other"), None);
            assert_eq!(pod_directory(&root, "shop_web", ""), None);
        }
    }

    #[test]
    fn where_the_kubelet_has_its_pods_counts_more_than_what_was_prepared_for_another_driver() {
        let directory = tempfile::tempdir().unwrap();
        let mount = directory.path();
        fs::create_dir(mount.join("kubepods.slice")).unwrap();
        fs::create_dir(mount.join("kubepods")).unwrap();
        assert_eq!(pods_below(mount), Some(mount.join("kubepods.slice")));
        fs::create_dir(mount.join("kubepods/burstable")).unwrap();
        assert_eq!(pods_below(mount), Some(mount.join("kubepods")));
        fs::create_dir(mount.join("kubepods.slice/kubepods-besteffort.slice")).unwrap();
        assert_eq!(pods_below(mount), Some(mount.join("kubepods.slice")));
    }

    #[test]
    fn a_cgroup_of_the_pods_own_name_comes_first() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["shop_web", "pod0b1c-2d"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let found = pod_directory(directory.path(), "shop_web", UID);
        assert_eq!(found, Some(directory.path().join("shop_web")));
    }
}
