//! Pinned objects, for those who look at them with bpftool.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
};

use aya::{
    maps::MapInfo,
    programs::links::{FdLink, PinnedLink},
};

use super::{
    KernelError, ObjectView,
    maps::Maps,
    pins::{Pins, type_name},
    spec,
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
            memory: memory(&info),
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
        memory: memory(&info),
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
        "CLASSES" => maps.classes.keys().count(),
        "CONNECTIONS4" => maps.connections4.keys().count(),
        "CONNECTIONS6" => maps.connections6.keys().count(),
        "METADATA" => maps.metadata.keys().count(),
        "GRANTS" => maps.grants.keys().count(),
        "RULES" => maps.rules.keys().count(),
        "NAMES" => maps.names.keys().count(),
        "IDENTITIES" => maps.identities.keys().count(),
        "TABLES" => maps.tables.keys().count(),
        _ => return None,
    })
}

/// The kernel tells a map's memory in the information about its descriptor.
fn memory(info: &MapInfo) -> Option<u64> {
    let fd = info.fd().ok()?;
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())
}
