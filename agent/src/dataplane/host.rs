//! The way back in: the node itself is not judged, whatever is wanted.
//!
//! A file says so, next to the agent's socket; a running agent sees it within seconds, one that starts later begins with it. It
//! is gone after a reboot.

use std::{fs, io, path::Path};

use aya::maps::{Array, Map, MapData};
use ringfence_common::endpoint::{EndpointWord, NODE_IFINDEX};

use super::{KernelError, pins::Pins};

/// The file's name in the agent's directory.
const OPEN: &str = "host-open";

/// True while the node itself is not to be judged.
#[must_use]
pub fn is_open(run_dir: &Path) -> bool {
    run_dir.join(OPEN).exists()
}

/// Has the node itself judged by nothing, now and until [`close`], whether or not an agent runs: true if it was judged.
///
/// # Errors
///
/// The file cannot be written, or the kernel refuses; the file, once there, stays.
pub fn open(run_dir: &Path, bpffs: &Path) -> Result<bool, KernelError> {
    let said = fs::create_dir_all(run_dir).and_then(|()| fs::write(run_dir.join(OPEN), ""));
    said.map_err(|error| {
        let file = run_dir.join(OPEN);
        KernelError::Other(format!("cannot write {}: {error}", file.display()))
    })?;
    let mut was = false;
    for pins in Pins::all(bpffs) {
        let pin = pins.map("ENDPOINTS");
        if !pin.exists() {
            continue;
        }
        let trouble = |error: String| KernelError::Other(format!("{}: {error}", pin.display()));
        let map = MapData::from_pin(&pin).map_err(|error| trouble(error.to_string()))?;
        let mut words: Array<MapData, u64> =
            Array::try_from(Map::Array(map)).map_err(|error| trouble(error.to_string()))?;
        let word = words
            .get(&NODE_IFINDEX, 0)
            .map_err(|error| trouble(error.to_string()))?;
        was |= EndpointWord(word) != EndpointWord::NONE;
        words
            .set(NODE_IFINDEX, EndpointWord::NONE.0, 0)
            .map_err(|error| trouble(error.to_string()))?;
    }
    Ok(was)
}

/// Lets the agent judge the node again: true if it was not to.
///
/// # Errors
///
/// The file cannot be removed.
pub fn close(run_dir: &Path) -> io::Result<bool> {
    match fs::remove_file(run_dir.join(OPEN)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
