//! Pinned objects, for those who look at them with bpftool.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
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
        let path = pins.link(&name);
        let Ok(link) = PinnedLink::from_pin(&path) else {
            continue;
        };
        let Ok(info) = FdLink::from(link).info() else {
            continue;
        };
        objects.push(ObjectView {
            pin: path.display().to_string(),
            kind: "link",
            object_type: info.link_type().map_or("other".to_owned(), |kind| {
                format!("{kind:?}").to_lowercase()
            }),
            id: info.id(),
            entries: None,
            max_entries: 0,
            memory: None,
        });
    }
    Ok(objects)
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
