//! Which files there are, and what is in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    Options,
    document::{self, Reading},
};
use crate::model::{Diagnostic, Origin};

/// Bytes of one file, at most.
const MAX_BYTES: u64 = 256 << 20;
/// Directories within directories, at most.
const MAX_DEPTH: usize = 32;

/// What the paths lead to.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Files to read, in order and without repetition, as the user would name them.
    pub files: Vec<PathBuf>,
    /// Places where a change may matter: a directory and the names in it, or all of them.
    pub places: BTreeMap<PathBuf, Names>,
    /// Paths that could not be listed, and why.
    pub failed: Vec<(PathBuf, String)>,
}

/// Names in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    All,
    These(BTreeSet<PathBuf>),
}

/// Reads files, again only those whose content has changed.
#[derive(Debug, Default)]
pub(super) struct Reader {
    options: Options,
    stdin: Option<String>,
    known: BTreeMap<PathBuf, ([u8; 32], Reading)>,
}

/// Follows paths to the files.
pub(super) fn list(paths: &[PathBuf]) -> Listing {
    let mut listing = Listing::default();
    for path in paths {
        if path == Path::new("-") {
            listing.files.push(path.clone());
            continue;
        }
        // A file or directory may be replaced as a whole.
        listing.place(path);
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => listing.directory(path, &mut Vec::new()),
            Ok(_) => listing.files.push(path.clone()),
            Err(error) => listing.failed.push((path.clone(), why(&error))),
        }
    }
    let mut seen = BTreeSet::new();
    listing.files.retain(|file| seen.insert(file.clone()));
    listing
}

// === impl Listing ===

impl Listing {
    /// Adds the directory of a path, and of what it leads to.
    fn place(&mut self, path: &Path) {
        let Ok(path) = std::path::absolute(path) else {
            return;
        };
        self.name(&path);
        if let Ok(target) = fs::canonicalize(&path)
            && target != path
        {
            self.name(&target);
            // Mounted volumes are swapped by a link beside the file, such as `..data`.
            if path.is_symlink()
                && let Some(directory) = path.parent()
            {
                self.places.insert(directory.to_path_buf(), Names::All);
            }
        }
    }

    fn name(&mut self, path: &Path) {
        // The parent may be missing as well; the nearest directory that exists will tell.
        let mut path = path;
        while let Some(directory) = path.parent() {
            if directory.is_dir() {
                let names = Names::These(BTreeSet::new());
                if let Names::These(names) =
                    self.places.entry(directory.to_path_buf()).or_insert(names)
                {
                    names.insert(path.to_path_buf());
                }
                return;
            }
            path = directory;
        }
    }

    fn directory(&mut self, path: &Path, above: &mut Vec<PathBuf>) {
        if let Ok(absolute) = std::path::absolute(path) {
            self.places.insert(absolute, Names::All);
        }
        let entries = fs::canonicalize(path).and_then(|canonical| {
            if above.contains(&canonical) || above.len() >= MAX_DEPTH {
                return Err(io::Error::other(
                    "the directory contains itself, or is too deep",
                ));
            }
            above.push(canonical);
            fs::read_dir(path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect()
        });
        let mut entries: Vec<PathBuf> = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.failed.push((path.to_path_buf(), why(&error)));
                return;
            }
        };
        entries.sort();
        for entry in entries {
            if is_hidden(&entry) {
                continue;
            }
            // What vanished since the listing is no error; its removal is a change of its own.
            let Ok(metadata) = fs::metadata(&entry) else {
                if entry.is_symlink() && is_manifest(&entry) {
                    self.failed
                        .push((entry, "the link leads nowhere".to_owned()));
                }
                continue;
            };
            if metadata.is_dir() {
                self.directory(&entry, above);
            } else if is_manifest(&entry) {
                if entry.is_symlink() {
                    self.place(&entry);
                }
                self.files.push(entry);
            }
        }
        above.pop();
    }
}

/// Hidden files, and those that editors leave while they work.
fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .and_then(OsStr::to_str)
        .is_none_or(|name| name.starts_with(['.', '#']) || name.ends_with(['~', '#']))
}

pub(super) fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        ["yaml", "yml", "json"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

// === impl Reader ===

impl Reader {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Reads these files; forgets all others.
    pub fn read(&mut self, files: &[PathBuf]) -> BTreeMap<PathBuf, Reading> {
        let readings: BTreeMap<_, _> = files
            .iter()
            .map(|file| (file.clone(), self.file(file)))
            .collect();
        self.known.retain(|file, _| readings.contains_key(file));
        readings
    }

    fn file(&mut self, file: &Path) -> Reading {
        let name = file.display().to_string();
        let text = match self.text(file) {
            Ok(text) => text,
            Err((line, message)) => {
                let origin = Origin { file: name, line };
                return Reading {
                    diagnostics: vec![super::complaint(origin, message)],
                    incomplete: true,
                    ..Reading::default()
                };
            }
        };
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        if let Some((known, reading)) = self.known.get(file)
            && *known == hash
        {
            return reading.clone();
        }
        let reading = document::read(&name, &text, self.options.ignore_other_kinds);
        self.known
            .insert(file.to_path_buf(), (hash, reading.clone()));
        reading
    }

    fn text(&mut self, file: &Path) -> Result<String, (usize, String)> {
        let read = |mut from: Box<dyn io::Read>| {
            let mut bytes = Vec::new();
            from.by_ref()
                .take(MAX_BYTES + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| (0, format!("cannot be read: {}", why(&error))))?;
            if bytes.len() as u64 > MAX_BYTES {
                return Err((0, format!("larger than {MAX_BYTES} bytes; split it")));
            }
            String::from_utf8(bytes).map_err(|error| {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
                (line, "not UTF-8 text; save it as UTF-8".to_owned())
            })
        };
        if file != Path::new("-") {
            let opened = fs::File::open(file);
            let opened = opened.map_err(|error| (0, format!("cannot be read: {}", why(&error))))?;
            return read(Box::new(opened));
        }
        // Standard input can be read once.
        if self.stdin.is_none() {
            self.stdin = Some(read(Box::new(io::stdin()))?);
        }
        Ok(self.stdin.clone().unwrap_or_default())
    }
}

/// Why something cannot be read, and what to do.
fn why(error: &io::Error) -> String {
    let next = match error.kind() {
        io::ErrorKind::NotFound => {
            "; check its name, relative names begin in the current directory"
        }
        io::ErrorKind::PermissionDenied => "; give its reader the right to, or run as its owner",
        _ => "",
    };
    format!("{error}{next}")
}

/// What could not be listed, as diagnostics.
pub(super) fn failures(listing: &Listing) -> Vec<Diagnostic> {
    listing
        .failed
        .iter()
        .map(|(path, why)| {
            let origin = Origin {
                file: path.display().to_string(),
                line: 0,
            };
            super::complaint(origin, format!("cannot be read: {why}"))
        })
        .collect()
}
