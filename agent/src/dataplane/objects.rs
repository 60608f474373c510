//! Pinned objects, for those who look at them with bpftool.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    maps::{MapData, MapInfo},
    programs::{
        ProgramError,
        links::{FdLink, PinnedLink},
    },
};
use ringfence_common::Hook;

use super::{
    KernelError, ObjectView, ProgramView,
    attach::{self, Attacher, unreadable},
    load,
    maps::Maps,
    pins::{Pins, type_name},
    spec, sys,
};
use crate::diff::Limits;

/// Maps, then links.
///
/// # Errors
///
/// If a pin cannot be read.
pub fn list(pins: &Pins, limits: &Limits, maps: &Maps) -> Result<Vec<ObjectView>, KernelError> {
    let mut objects = Vec::new();
    for spec in spec::maps(limits) {
        let path = pins.map(spec.name);
        let info = MapInfo::from_pin(&path).map_err(|error| {
            KernelError::Other(format!("cannot read {}: {error}", path.display()))
        })?;
        objects.push(ObjectView {
            pin: path.display().to_string(),
            kind: "map",
            object_type: type_name(spec.kind).to_owned(),
            id: info.id(),
            entries: entries(maps, spec.name),
            max_entries: info.max_entries(),
            memory: memory(&path),
        });
    }
    let mut links = pins.link_names();
    links.sort();
    for name in links {
        objects.extend(link(&pins.link(&name)));
    }
    Ok(objects)
}

/// Everything that is pinned below a directory, whatever version of the layouts it is of and whether or not an agent runs.
/// Entries are not counted.
///
/// # Errors
///
/// If the directory cannot be read.
pub fn pinned(base: &Path) -> Result<Vec<ObjectView>, KernelError> {
    let mut paths = Vec::new();
    walk(base, &mut paths)
        .map_err(|error| KernelError::Other(format!("cannot list {}: {error}", base.display())))?;
    paths.sort();
    Ok(paths.iter().map(|path| pin(path)).collect())
}

fn walk(directory: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), paths)?;
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}

fn pin(path: &Path) -> ObjectView {
    let unknown = ObjectView {
        pin: path.display().to_string(),
        kind: "other",
        object_type: "other".to_owned(),
        id: 0,
        entries: None,
        max_entries: 0,
        memory: None,
    };
    let in_links = path
        .parent()
        .is_some_and(|parent| parent.ends_with("links"));
    if in_links {
        return link(path).unwrap_or(unknown);
    }
    let Ok(info) = MapInfo::from_pin(path) else {
        return unknown;
    };
    ObjectView {
        kind: "map",
        object_type: info.map_type().map_or("other", type_name).to_owned(),
        id: info.id(),
        max_entries: info.max_entries(),
        memory: memory(path),
        ..unknown
    }
}

fn link(path: &Path) -> Option<ObjectView> {
    let link = PinnedLink::from_pin(path).ok()?;
    let info = FdLink::from(link).info().ok()?;
    Some(ObjectView {
        pin: path.display().to_string(),
        kind: "link",
        object_type: info.link_type().map_or("other".to_owned(), |kind| {
            format!("{kind:?}").to_lowercase()
        }),
        id: info.id(),
        entries: None,
        max_entries: 0,
        memory: None,
    })
}

/// Entries in use, where counting them is what the map is for.
fn entries(maps: &Maps, name: &str) -> Option<usize> {
    Some(match name {
        "FAR_ENDPOINTS" => maps.far_endpoints.keys().count(),
        "ADDRESSES4" => maps.addresses4.keys().count(),
        "ADDRESSES6" => maps.addresses6.keys().count(),
        "NETWORKS4" => maps.networks4.keys().count(),
        "NETWORKS6" => maps.networks6.keys().count(),
        "NODE_ADDRESSES" => maps.node_addresses.keys().count(),
        "UPLINKS" => maps.uplinks.keys().count(),
        "CLASSES" => maps.classes.keys().count(),
        "CONNECTIONS4" => maps.connections4.keys().count(),
        "CONNECTIONS6" => maps.connections6.keys().count(),
        "METADATA" => maps.metadata.keys().count(),
        "METADATA_PORTS" => maps.metadata_ports.keys().count(),
        "GRANTS" => maps.grants.keys().count(),
        "RULES" => maps.rules.keys().count(),
        "NAMES" => maps.names.keys().count(),
        "IDENTITIES" => maps.identities.keys().count(),
        "TABLES" => maps.tables.keys().count(),
        _ => return None,
    })
}

/// The kernel tells a map's memory in the information about a descriptor of it. That comes from the pin: to open a map by its
/// id takes `CAP_SYS_ADMIN`.
fn memory(pin: &Path) -> Option<u64> {
    let map = MapData::from_pin(pin).ok()?;
    let path = format!("/proc/self/fdinfo/{}", map.fd().as_fd().as_raw_fd());
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
}

/// Where programs belong.
pub struct Places<'a> {
    /// What is attached to devices.
    pub attacher: &'a Attacher,
    /// The pins of links.
    pub pins: &'a Pins,
    /// Devices of pods that are in force.
    pub pods: BTreeSet<u32>,
}

/// The programs that are loaded; without places all of them belong nowhere.
///
/// # Errors
///
/// If a program or a pin cannot be looked at.
pub fn programs(ebpf: &Ebpf, places: Option<&Places<'_>>) -> Result<Vec<ProgramView>, KernelError> {
    let mut found = Vec::new();
    for (name, hook) in PROGRAMS {
        let Some(program) = ebpf.program(name) else {
            continue;
        };
        let info = match program.info() {
            Ok(info) => info,
            // It is not wanted on this machine.
            Err(ProgramError::NotLoaded) => continue,
            Err(error) => {
                return Err(KernelError::Other(format!(
                    "cannot ask about the program {name}: {error}"
                )));
            }
        };
        let attached = match places {
            Some(places) => is_attached(places, name, hook, info.id())?,
            None => None,
        };
        found.push(ProgramView {
            name,
            hook,
            attached,
            runs: Some((info.run_count(), info.run_time())),
        });
    }
    // Whoever asks the kernel by a descriptor to keep them leaves no trace in the sysctl.
    let kept = fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled");
    let ran = |view: &ProgramView| view.runs.is_some_and(|(count, _)| count > 0);
    if kept.is_ok_and(|kept| kept.trim() == "0") && !found.iter().any(ran) {
        for view in &mut found {
            view.runs = None;
        }
    }
    Ok(found)
}

/// Every program that judges, and where.
const PROGRAMS: [(&str, Hook); 16] = [
    ("from_pod", Hook::FromPod),
    ("to_pod", Hook::ToPod),
    ("from_host", Hook::FromHost),
    ("to_host", Hook::ToHost),
    ("from_host_l3", Hook::FromHost),
    ("to_host_l3", Hook::ToHost),
    ("from_tunnel", Hook::FromHost),
    ("from_tunnel_l3", Hook::FromHost),
    ("connect4", Hook::Socket),
    ("connect6", Hook::Socket),
    ("sendmsg4", Hook::Socket),
    ("sendmsg6", Hook::Socket),
    (load::PACKETS_PROGRAM, Hook::SocketPackets),
    (load::LOOP_PROGRAM, Hook::Lo),
    (load::INNER_PROGRAM, Hook::Lo),
    (load::NODE_PROGRAM, Hook::ToNode),
];

fn is_attached(
    places: &Places<'_>,
    name: &'static str,
    hook: Hook,
    id: u32,
) -> Result<Option<bool>, KernelError> {
    if matches!(hook, Hook::Socket | Hook::SocketPackets | Hook::ToNode) {
        let pin = places.pins.link(name);
        let state = sys::pinned_link(&pin).map_err(|error| unreadable(&pin, &error))?;
        return Ok(Some(
            state.is_some_and(|state| state.program == id && state.target != 0),
        ));
    }
    let mut devices: BTreeSet<u32> = places.attacher.devices_of(name).collect();
    if attach::is_of_pods(name) {
        devices.extend(&places.pods);
    }
    let mut everywhere = None;
    for ifindex in devices {
        if let Some(there) = places.attacher.is_on(name, id, ifindex)? {
            everywhere = Some(there && everywhere.unwrap_or(true));
        }
    }
    Ok(everywhere)
}
