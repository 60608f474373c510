//! Where a process is: cgroups of its own making, and other views of them.

use std::{fs, io, path::PathBuf};

use nix::sched::{CloneFlags, unshare};

use crate::{
    Technique,
    attack::{Attack, Outcome},
    sockets,
};

pub const TECHNIQUES: &[Technique] = &[
    ("cgroup-nested", nested),
    ("cgroup-threaded", threaded),
    ("cgroup-namespace", namespace),
    ("user-namespace", user_namespace),
];

/// The process's own cgroup of version 2.
fn own() -> io::Result<PathBuf> {
    let cgroups = fs::read_to_string("/proc/self/cgroup")?;
    let below = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .ok_or_else(|| io::Error::other("no cgroup of version 2"))?
        .to_owned();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mount = mounts
        .lines()
        .filter_map(|line| line.split_once(" - cgroup2 "))
        .find_map(|(line, _)| line.split(' ').nth(4))
        .ok_or_else(|| io::Error::other("no cgroup of version 2 is mounted"))?;
    Ok(PathBuf::from(mount).join(below))
}

/// Moves into a cgroup that it makes below its own.
fn into_child(name: &str) -> io::Result<PathBuf> {
    let child = own()?.join(name);
    match fs::create_dir(&child) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write(child.join("cgroup.procs"), "0")?;
    Ok(child)
}

/// Both transports from here.
fn attempt(attack: &Attack) -> io::Result<Outcome> {
    let datagram = sockets::udp(attack);
    let stream = sockets::tcp(attack);
    match (datagram, stream) {
        (Ok(outcome @ Outcome::Answered), _) | (_, Ok(outcome @ Outcome::Answered)) => Ok(outcome),
        (Err(error), _) | (_, Err(error)) => Err(error),
        (_, Ok(outcome)) => Ok(outcome),
    }
}

/// A cgroup below a cgroup below the pod's.
fn nested(attack: &Attack) -> io::Result<Outcome> {
    into_child("nested")?;
    into_child("deeper")?;
    attempt(attack)
}

/// A threaded cgroup below the pod's.
fn threaded(attack: &Attack) -> io::Result<Outcome> {
    let child = own()?.join("threads");
    match fs::create_dir(&child) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write(child.join("cgroup.type"), "threaded")?;
    fs::write(child.join("cgroup.threads"), "0")?;
    attempt(attack)
}

/// A view in which a cgroup below the pod's is the root of all.
fn namespace(attack: &Attack) -> io::Result<Outcome> {
    into_child("namespace")?;
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWCGROUP)?;
    into_child("root")
        .map(drop)
        .or_else(|error| match error.kind() {
            // The mounted view is the old one, in which the path is another: the new root is where it stands.
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Ok(()),
            _ => Err(error),
        })?;
    attempt(attack)
}

/// All rights, but only within a namespace of users of its own.
fn user_namespace(attack: &Attack) -> io::Result<Outcome> {
    unshare(CloneFlags::CLONE_NEWUSER)?;
    attempt(attack)
}
