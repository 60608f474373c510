//! Single writes: what is already so is not written again, and what is gone is no error.

use aya::{
    Pod,
    maps::{Array, MapData, MapError},
};

use super::Hash;
use crate::dataplane::KernelError;

pub(in crate::dataplane) fn refused(map: &str, error: &MapError) -> KernelError {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    KernelError::Other(format!("map {map}: {error}{}", source.unwrap_or_default()))
}

pub(super) fn put<K: Pod, V: Pod>(
    map: &mut Hash<K, V>,
    name: &str,
    key: K,
    value: V,
) -> Result<(), KernelError> {
    map.insert(key, value, 0)
        .map_err(|error| refused(name, &error))
}

/// Removes a key; that it is not there is as good.
pub(super) fn drop_key<K: Pod, V: Pod>(
    map: &mut Hash<K, V>,
    name: &str,
    key: &K,
) -> Result<(), KernelError> {
    gone(name, map.remove(key))
}

pub(super) fn gone(name: &str, result: Result<(), MapError>) -> Result<(), KernelError> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        Err(error) => Err(refused(name, &error)),
    }
}

pub(super) fn set<V: Pod>(
    map: &mut Array<MapData, V>,
    name: &str,
    at: u32,
    value: V,
) -> Result<(), KernelError> {
    map.set(at, value, 0).map_err(|error| refused(name, &error))
}

/// Writes elements in a row and reads them back: what a word will point at is verified before it does.
pub(super) fn write<V: Pod + PartialEq>(
    map: &mut Array<MapData, V>,
    name: &str,
    at: u32,
    values: &[V],
) -> Result<(), KernelError> {
    for (index, value) in (at..).zip(values) {
        set(map, name, index, *value)?;
    }
    for (index, value) in (at..).zip(values) {
        let found = map.get(&index, 0).map_err(|error| refused(name, &error))?;
        if found != *value {
            return Err(KernelError::Other(format!(
                "map {name}: element {index} does not hold what was written to it: somebody else writes to it\n  \
                 help: look for other users of the pins (bpftool map show)"
            )));
        }
    }
    Ok(())
}
