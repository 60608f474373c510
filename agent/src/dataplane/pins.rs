//! Pins: where they are, and whether what is there is ours.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::maps::{MapInfo, MapType};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use ringfence_common::ABI_VERSION;

use super::{KernelError, spec::MapSpec};

/// The pin directory of this binary's layouts.
#[derive(Clone, Debug)]
pub struct Pins {
    base: PathBuf,
    root: PathBuf,
}

impl Pins {
    /// The directory below `base` that belongs to this binary's layouts; nothing is created.
    #[must_use]
    pub fn at(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            root: base.join(format!("v{ABI_VERSION}")),
        }
    }

    /// Makes the directories.
    ///
    /// # Errors
    ///
    /// If they cannot be made or are not on a bpffs.
    pub fn create(&self) -> Result<(), KernelError> {
        for directory in [self.maps(), self.links()] {
            fs::create_dir_all(&directory)
                .map_err(|error| self.trouble("create", &directory, &error))?;
        }
        let found = statfs(&self.root)
            .map_err(|error| self.trouble("look at", &self.root, &io::Error::from(error)))?;
        if found.filesystem_type() != BPF_FS_MAGIC {
            return Err(KernelError::Other(format!(
                "{} is not on a bpffs, so enforcement would end with the agent\n  \
                 help: mount one there (mount -t bpf bpf DIR), or name another directory with --bpffs",
                self.base.display()
            )));
        }
        Ok(())
    }

    fn trouble(&self, what: &str, path: &Path, error: &io::Error) -> KernelError {
        KernelError::Other(format!(
            "cannot {what} {}: {error}\n  help: run as root; is a bpffs mounted at {}?",
            path.display(),
            self.base.display()
        ))
    }

    /// Directory of all versions' pins.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Directory of the maps' pins.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    /// Pin of a map.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Directory of the links' pins.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// Pin of a link.
    #[must_use]
    pub fn link(&self, name: &str) -> PathBuf {
        self.links().join(name)
    }

    /// Names of the links that are pinned.
    #[must_use]
    pub fn link_names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.links()) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.collect()
    }

    /// Compares a map's pin with the layout that this binary knows; the entries that the map has, if there is one.
    ///
    /// aya 0.14 takes any pin for what it is not: a larger value would be copied over a smaller buffer.
    ///
    /// # Errors
    ///
    /// If the pin is something else.
    pub fn check(&self, spec: &MapSpec) -> Result<Option<u32>, KernelError> {
        let path = self.map(spec.name);
        if !path.exists() {
            return Ok(None);
        }
        let info = MapInfo::from_pin(&path).map_err(|error| {
            KernelError::Other(format!("cannot read the pin {}: {error}", path.display()))
        })?;
        let found = (info.map_type().ok(), info.key_size(), info.value_size());
        let expected = (Some(spec.kind), spec.key, spec.value);
        if found != expected {
            return Err(KernelError::Other(format!(
                "the pin {} is a map of (type, key bytes, value bytes) {found:?}, and version {ABI_VERSION} of the layouts has \
                 {expected:?}\n  help: somebody else wrote it; `ringfence detach` removes all pins and with them enforcement",
                path.display()
            )));
        }
        Ok(Some(info.max_entries()))
    }
}

/// A map type as bpftool names it.
#[must_use]
pub fn type_name(kind: MapType) -> &'static str {
    match kind {
        MapType::Hash => "hash",
        MapType::LruHash => "lru_hash",
        MapType::LpmTrie => "lpm_trie",
        MapType::Array => "array",
        MapType::PerCpuArray => "percpu_array",
        MapType::RingBuf => "ringbuf",
        _ => "other",
    }
}
