//! Writes, of one element and of many in one call: what is gone already is no error to whoever removes it.

use std::io;

use aya::{
    Pod,
    maps::{Array, MapData, MapError},
};
use nix::errno::Errno;

use super::Hash;
use crate::{
    dataplane::{KernelError, sys},
    parallel,
};

pub(in crate::dataplane) fn refused(map: &str, error: &MapError) -> KernelError {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    KernelError::Other(format!("map {map}: {error}{}", source.unwrap_or_default()))
}

/// The same of a write.
pub(super) fn not_written(map: &str, error: &MapError) -> KernelError {
    let number = match error {
        MapError::SyscallError(error) => error.io_error.raw_os_error(),
        MapError::IoError(error) => error.raw_os_error(),
        _ => None,
    };
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    KernelError::NotWritten {
        map: map.to_owned(),
        error: number.map_or_else(
            || "other".to_owned(),
            |number| format!("{:?}", Errno::from_raw(number)),
        ),
        message: format!("{error}{}", source.unwrap_or_default()),
    }
}

pub(super) fn put<K: Pod, V: Pod>(
    map: &mut Hash<K, V>,
    name: &str,
    key: K,
    value: V,
) -> Result<(), KernelError> {
    map.insert(key, value, 0)
        .map_err(|error| not_written(name, &error))
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
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        Err(error) => Err(not_written(name, &error)),
    }
}

pub(super) fn set<V: Pod>(
    map: &mut Array<MapData, V>,
    name: &str,
    at: u32,
    value: V,
) -> Result<(), KernelError> {
    map.set(at, value, 0)
        .map_err(|error| not_written(name, &error))
}

/// Writes elements in a row and reads them back: what a word will point at is verified before it does.
pub(super) fn write<V: Pod + PartialEq>(
    map: &mut Array<MapData, V>,
    name: &str,
    at: u32,
    values: &[V],
) -> Result<(), KernelError> {
    let places: Vec<u32> = (at..).take(values.len()).collect();
    sys::update_batch(map, &places, values)
        .map_err(|error| not_written(name, &MapError::IoError(error)))?;
    let mut found = values.to_vec();
    sys::read_array(map, at, &mut found)
        .map_err(|error| refused(name, &MapError::IoError(error)))?;
    let wrong = found.iter().zip(values).position(|(found, it)| found != it);
    match wrong.and_then(|it| places.get(it)) {
        None => Ok(()),
        Some(place) => Err(KernelError::Other(format!(
            "map {name}: element {place} does not hold what was written to it: somebody else writes to it\n  \
             help: look for other users of the pins (bpftool map show)"
        ))),
    }
}

/// Entries that one call of the kernel gets, so that several threads can write.
const BATCH: usize = 512;

/// [`put`] of many, in no order.
pub(super) fn put_all<K: Pod + Send + Sync, V: Pod + Send + Sync>(
    map: &mut Hash<K, V>,
    name: &str,
    entries: impl Iterator<Item = (K, V)>,
) -> Result<(), KernelError> {
    let (keys, values): (Vec<K>, Vec<V>) = entries.unzip();
    let batches: Vec<_> = keys.chunks(BATCH).zip(values.chunks(BATCH)).collect();
    let (map, steps) = (&*map, keys.len());
    let written = parallel::map(batches, steps, |(keys, values)| {
        sys::update_batch(map, keys, values)
    });
    let written = written.into_iter().collect::<io::Result<()>>();
    let alone = written.or_else(|error| match error.kind() {
        // A bucket can be refused to a thread that interrupts another one in it.
        io::ErrorKind::ResourceBusy => sys::update_batch(map, &keys, &values),
        _ => Err(error),
    });
    alone.map_err(|error| not_written(name, &MapError::IoError(error)))
}

/// [`drop_key`] of many.
pub(super) fn drop_all<K: Pod, V: Pod>(
    map: &mut Hash<K, V>,
    name: &str,
    keys: impl Iterator<Item = K>,
) -> Result<(), KernelError> {
    let keys: Vec<K> = keys.collect();
    match sys::delete_batch(map, &keys) {
        // It ends at the first that is not there.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            keys.iter().try_for_each(|key| drop_key(map, name, key))
        }
        done => done.map_err(|error| not_written(name, &MapError::IoError(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_the_kernel_refused_is_known_by_map_and_error() {
        for (error, name) in [
            (MapError::IoError(io::Error::from_raw_os_error(7)), "E2BIG"),
            (
                MapError::IoError(io::Error::from_raw_os_error(12)),
                "ENOMEM",
            ),
            (MapError::ElementNotFound, "other"),
        ] {
            let error = not_written("CELLS", &error);
            assert_eq!(error.unwritten(), Some(("CELLS", name)));
            assert!(error.to_string().starts_with("map CELLS: "), "{error}");
        }
        let read = refused("CELLS", &MapError::ElementNotFound);
        assert_eq!(read.unwritten(), None);
    }
}
