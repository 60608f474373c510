//! Looks at the machine. Only reads; what cannot be seen becomes a reason.

mod devices;
mod files;
mod rules;

use std::path::{Path, PathBuf};

use super::{CniFile, Facts, MarkUser, Seen};
use crate::locate;

/// Where to look, and for what.
#[derive(Clone, Debug)]
pub struct Look {
    /// Where the pins shall be.
    pub bpffs: PathBuf,
    /// Where the container network is configured.
    pub cni: PathBuf,
    /// Bits of the packet mark that Ringfence shall use.
    pub marks: u32,
}

/// Looks.
#[must_use]
pub fn gather(look: &Look) -> Facts {
    let Look { bpffs, cni, marks } = look;
    let devices = devices::list();
    let names: Vec<String> = devices
        .iter()
        .flatten()
        .map(|device| device.name.clone())
        .collect();
    let mounts = files::mounts();
    Facts {
        release: files::release(),
        btf: files::BTF.exists(),
        jit: files::jit(),
        lockdown: files::lockdown(),
        privileges: files::privileges(),
        pods_cgroup: files::pods_cgroup(mounts.as_deref().unwrap_or_default()),
        mounts,
        bpffs: bpffs.clone(),
        cni: files::cni(cni),
        programs: programs(&devices),
        devices,
        rules: rules::read(),
        marks: *marks,
        mark_users: locate::mark_users(names.iter().map(String::as_str), *marks)
            .into_iter()
            .map(|message| MarkUser { message })
            .collect(),
    }
}

/// The container network's configuration.
pub(super) fn cni(directory: &Path) -> Seen<Vec<CniFile>> {
    files::cni(directory)
}

fn programs(devices: &Seen<Vec<super::Device>>) -> Seen<Vec<super::Program>> {
    devices::programs(devices.as_ref().map_err(Clone::clone)?)
}
