//! Finds a pod's network namespace by a process of its cgroup. Needs the node's process ids and CAP_SYS_PTRACE.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The network namespace of a process in this cgroup or below it that is not `own`'s.
///
/// # Errors
///
/// The reason why there is none.
pub(super) fn namespace(cgroup: &Path, procfs: &Path) -> Result<PathBuf, String> {
    let own = identity(&procfs.join("self/ns/net")).map_err(|error| {
        format!(
            "cannot tell namespaces apart in {}: {error}",
            procfs.display()
        )
    })?;
    let processes = processes(cgroup);
    if processes.is_empty() {
        return Err(format!("no process in {}", cgroup.display()));
    }
    if processes.iter().all(|&process| process == 0) {
        return Err(format!(
            "the processes in {} are not visible; the agent needs the node's process ids (hostPID)",
            cgroup.display()
        ));
    }
    let mut refusal = None;
    for process in processes.into_iter().filter(|&process| process != 0) {
        let path = procfs.join(process.to_string()).join("ns/net");
        match identity(&path) {
            Ok(found) if found != own => return Ok(path),
            Ok(_) => {
                refusal.get_or_insert_with(|| format!("process {process} has the node's network"));
            }
            // One that has ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                refusal = Some(format!(
                    "cannot read {}: {error}; it takes CAP_SYS_PTRACE",
                    path.display()
                ));
            }
        }
    }
    Err(refusal.unwrap_or_else(|| format!("the processes in {} have ended", cgroup.display())))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// The processes of a cgroup and of those below it; 0 stands for one that is not visible.
fn processes(cgroup: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    let mut left = vec![cgroup.to_owned()];
    while let Some(cgroup) = left.pop() {
        let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        let below = fs::read_dir(&cgroup).into_iter().flatten().flatten();
        left.extend(
            below
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(procfs: &Path, name: &str) {
        let directory = procfs.join(name).join("ns");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("net"), "").unwrap();
    }

    #[test]
    fn a_process_below_the_pods_cgroup_shows_its_namespace() {
        let directory = tempfile::tempdir().unwrap();
        let (cgroup, procfs) = (directory.path().join("pod"), directory.path().join("proc"));
        fs::create_dir_all(cgroup.join("container")).unwrap();
        process(&procfs, "self");
        let find = || namespace(&cgroup, &procfs);
        assert!(find().is_err_and(|reason| reason.starts_with("no process")));

        fs::write(cgroup.join("container/cgroup.procs"), "0\n").unwrap();
        assert!(find().is_err_and(|reason| reason.contains("hostPID")));

        fs::write(cgroup.join("container/cgroup.procs"), "41\n42\n").unwrap();
        assert!(find().is_err_and(|reason| reason.contains("have ended")));

        process(&procfs, "42");
        assert_eq!(find(), Ok(procfs.join("42/ns/net")));
    }

    #[test]
    fn a_process_with_the_nodes_network_shows_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (cgroup, procfs) = (directory.path().join("pod"), directory.path().join("proc"));
        fs::create_dir(&cgroup).unwrap();
        fs::write(cgroup.join("cgroup.procs"), "42\n").unwrap();
        process(&procfs, "self");
        std::os::unix::fs::symlink("self", procfs.join("42")).unwrap();
        assert!(
            namespace(&cgroup, &procfs).is_err_and(|reason| reason.contains("the node's network"))
        );
    }
}
