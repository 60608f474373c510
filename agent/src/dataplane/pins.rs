//! Pins: where they are, and whether what is there is ours.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aya::maps::{MapInfo, MapType};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use ringfence_common::ABI_VERSION;

use super::{KernelError, spec::MapSpec, sys};

/// The version of the layouts that no agent has ([`Pins::of_guard`]).
const GUARD: u32 = 0;
const _: () = assert!(ABI_VERSION > GUARD);

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

    /// The directory below `base` of what `ringfence metadata guard` puts up: to every agent, that of other layouts, which stand until
    /// its own maps are filled. So the two agree on nothing but names: not on layouts, nor on sizes, nor on flags.
    #[must_use]
    pub fn of_guard(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            root: base.join(format!("v{GUARD}")),
        }
    }

    /// Whether it is what `ringfence metadata guard` puts up.
    #[must_use]
    pub fn is_guards(&self) -> bool {
        *self.root == *Self::of_guard(&self.base).root
    }

    /// True if there is a link: something is in force.
    #[must_use]
    pub fn are_in_force(&self) -> bool {
        !self.link_names().is_empty()
    }

    /// The directories of every version of the layouts below `base`, this binary's included if it is there.
    #[must_use]
    pub fn all(base: &Path) -> Vec<Self> {
        let entries = fs::read_dir(base).into_iter().flatten().flatten();
        let mut versions: Vec<Self> = entries
            .filter(|entry| is_version(&entry.file_name().to_string_lossy()))
            .map(|entry| Self {
                base: base.to_owned(),
                root: entry.path(),
            })
            .collect();
        versions.sort_by(|one, other| one.root.cmp(&other.root));
        versions
    }

    /// What agents with other layouts have left. Directories without a pin are removed at once.
    #[must_use]
    pub fn others(&self) -> Vec<Self> {
        let mut others = self.filled();
        others.retain(|other| other.root != self.root);
        others
    }

    /// Whatever has a pin. Directories without one are removed at once.
    #[must_use]
    pub fn filled(&self) -> Vec<Self> {
        let mut others = Self::all(&self.base);
        others.retain(|other| {
            let empty = other.link_names().is_empty() && names(&other.maps()).is_empty();
            if empty {
                other.remove_directories();
            }
            !empty
        });
        others
    }

    /// Name of the directory, which is the version of the layouts.
    #[must_use]
    pub fn version(&self) -> String {
        if self.is_guards() {
            return "of `ringfence metadata guard`".to_owned();
        }
        let name = self.root.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// True if somebody has made the directory.
    #[must_use]
    pub fn exist(&self) -> bool {
        self.root.exists()
    }

    /// Removes everything: links first, so that nothing judges by maps that are half gone. How many pins there were.
    ///
    /// # Errors
    ///
    /// If a pin cannot be removed.
    pub fn clear(&self) -> Result<usize, KernelError> {
        let mut removed = 0;
        for directory in [self.links(), self.maps()] {
            for name in names(&directory) {
                let pin = directory.join(name);
                if directory == self.links()
                    && let Err(error) = sys::detach_pinned(&pin)
                {
                    // It ends with its pin, a moment later.
                    tracing::debug!(pin = %pin.display(), %error, "cannot detach it at once");
                }
                remove(&pin)?;
                removed += 1;
            }
        }
        self.remove_directories();
        Ok(removed)
    }

    /// Removes the directories if they are empty.
    fn remove_directories(&self) {
        for directory in [self.links(), self.maps(), self.root.clone()] {
            let _: io::Result<()> = fs::remove_dir(&directory);
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
        names(&self.links())
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

/// True if an agent's programs are in force below `base`, of whatever version. What a guard has put up knows no pod.
#[must_use]
pub fn is_enforcing(base: &Path) -> bool {
    let versions = Pins::all(base);
    versions
        .iter()
        .any(|it| !it.is_guards() && it.are_in_force())
}

fn is_version(name: &str) -> bool {
    name.strip_prefix('v')
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

/// Removes a pin; that it is not there is as good.
///
/// # Errors
///
/// If it is there and stays.
pub fn remove(pin: &Path) -> Result<(), KernelError> {
    match fs::remove_file(pin) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(KernelError::Other(format!(
            "cannot remove the pin {}: {error}",
            pin.display()
        ))),
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
