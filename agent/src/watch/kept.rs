//! The last known state in a file: one JSON object in each line.
//!
//! ```text
//! {"ringfence":"state","version":1,"node":"n1","written":"2026-…"}
//! {"kind":"Pod","object":{…}}
//! …
//! {"objects":12,"sha256":"…"}
//! ```
//!
//! **Invariants.** The file is replaced as a whole or not at all. What was not written to the end, was changed since, is of
//! another version or of another node is not read in part: it is an error.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Kind, Object, ObjectKey, Read};

/// Counts up whenever a line means something else.
const VERSION: u32 = 1;
/// Name of the file.
const FILE: &str = "state.jsonl";
/// Name of the file that is being written.
const NEW: &str = "state.jsonl.new";

#[derive(Serialize, Deserialize)]
struct Head {
    ringfence: String,
    version: u32,
    node: String,
    written: Timestamp,
}

#[derive(Serialize)]
struct Line<'a> {
    kind: &'static str,
    object: &'a serde_json::value::RawValue,
}

#[derive(Deserialize)]
struct AnyLine {
    kind: String,
    object: Box<serde_json::value::RawValue>,
}

#[derive(Serialize, Deserialize)]
struct Foot {
    objects: usize,
    sha256: String,
}

/// Writes objects as the last known state of a node; only the owner can read it.
///
/// # Errors
///
/// The directory cannot be written. What was kept before stays.
pub fn write(
    directory: &Path,
    node: &str,
    objects: impl Iterator<Item = Object>,
) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    let new = directory.join(NEW);
    // One that a killed agent left may have been opened by anybody's rights.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    let mut out = Hashed {
        out: BufWriter::new(file),
        hash: Sha256::new(),
    };
    let head = Head {
        ringfence: "state".to_owned(),
        version: VERSION,
        node: node.to_owned(),
        written: Timestamp::now(),
    };
    out.line(&head)?;
    let mut count = 0;
    for object in objects {
        let (kind, object) = object.to_json()?;
        out.line(&Line {
            kind: kind.as_str(),
            object: &object,
        })?;
        count += 1;
    }
    let foot = Foot {
        objects: count,
        sha256: hex(&out.hash.clone().finalize()),
    };
    out.line(&foot)?;
    let file = out
        .out
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(&new, directory.join(FILE))?;
    File::open(directory)?.sync_all()
}

/// Reads the last known state of a node, and when it was written; `None` if nothing was kept.
///
/// # Errors
///
/// It cannot be read, or is not what [`write`] of this version wrote for this node.
pub fn read(directory: &Path, node: &str) -> Result<Option<(SystemTime, Vec<Read>)>> {
    let path = directory.join(FILE);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let kept = parse(BufReader::new(file), node);
    kept.map(Some)
        .with_context(|| format!("{} is of no use", path.display()))
}

/// Forgets the last known state; true if there was one. The directory stays: others may have made it.
///
/// # Errors
///
/// It cannot be removed.
pub fn forget(directory: &Path) -> Result<bool> {
    let mut found = false;
    for name in [FILE, NEW] {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Ok(()) => found = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
        }
    }
    Ok(found)
}

/// Where the state is kept.
#[must_use]
pub fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

fn parse(mut file: impl io::BufRead, node: &str) -> Result<(SystemTime, Vec<Read>)> {
    let mut hash = Sha256::new();
    let mut line = String::new();
    file.read_line(&mut line)?;
    let head: Head = serde_json::from_str(&line).context("its first line is no head")?;
    if head.version != VERSION {
        bail!(
            "it is of version {}, and this agent reads version {VERSION}",
            head.version
        );
    }
    if head.node != node {
        bail!("it is of node {}, and this is {node}", head.node);
    }
    hash.update(&line);
    let mut reads = Vec::new();
    loop {
        line.clear();
        ensure!(file.read_line(&mut line)? > 0, "it is cut off");
        if line.starts_with("{\"objects\":") {
            let foot: Foot = serde_json::from_str(&line).context("its last line is no foot")?;
            ensure!(
                foot.sha256 == hex(&hash.finalize()) && foot.objects == reads.len(),
                "its checksum is wrong"
            );
            ensure!(file.fill_buf()?.is_empty(), "something follows its end");
            return Ok((head.written.into(), reads));
        }
        hash.update(&line);
        let number = reads.len() + 2;
        reads.push(object(&line).with_context(|| format!("line {number}"))?);
    }
}

fn object(line: &str) -> Result<Read> {
    let AnyLine { kind, object } = serde_json::from_str(line)?;
    let kind = Kind::by_name(&kind).with_context(|| format!("unknown kind {kind}"))?;
    let object = Object::from_json(kind, object.get())?;
    let metadata = object.metadata();
    let name = metadata.name.as_deref().context("it has no name")?;
    Ok(Read {
        key: ObjectKey::new(kind, metadata.namespace.as_deref(), name),
        object,
        origin: crate::model::Origin::default(),
        lines: std::collections::BTreeMap::new(),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lines, and the checksum of those that were written.
struct Hashed {
    out: BufWriter<File>,
    hash: Sha256,
}

// === impl Hashed ===

impl Hashed {
    fn line<T: Serialize>(&mut self, line: &T) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.hash.update(&text);
        self.out.write_all(&text)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use k8s_openapi::api::core::v1::Namespace;

    use super::*;

    fn kept(directory: &Path) -> Result<usize> {
        Ok(read(directory, "n1")?.map_or(0, |(_, reads)| reads.len()))
    }

    fn write_two(directory: &Path) {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some("a".to_owned());
        let object = Object::Namespace(Box::new(namespace));
        write(directory, "n1", [object.clone(), object].into_iter()).unwrap();
    }

    #[test]
    fn what_was_written_is_read_by_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        assert_eq!(kept(&state).unwrap(), 0);
        write_two(&state);
        write_two(&state);
        assert_eq!(kept(&state).unwrap(), 2);
        let mode = fs::metadata(path(&state)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1);
        fs::write(state.join(NEW), "cut off").unwrap();
        assert!(forget(&state).unwrap());
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
        assert!(!forget(&state).unwrap());
        let file = state.join("file");
        fs::write(&file, "").unwrap();
        let error = forget(&file).unwrap_err().to_string();
        assert!(error.contains("cannot remove"), "{error}");
    }

    #[test]
    fn what_is_cut_off_changed_foreign_or_of_another_version_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        write_two(directory.path());
        let path = path(directory.path());
        let good = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        for (bad, why) in [
            (String::new(), "no head"),
            ("{}\n".to_owned(), "no head"),
            (lines[..2].join("\n") + "\n", "cut off"),
            (good.replacen("\"a\"", "\"b\"", 1), "checksum"),
            (good.clone() + "more", "follows"),
            (
                good.replacen("\"version\":1", "\"version\":2", 1),
                "version 2",
            ),
            (good.replacen("\"n1\"", "\"n2\"", 1), "node n2"),
            (good.replacen("Namespace", "Gateway", 1), "unknown kind"),
        ] {
            fs::write(&path, &bad).unwrap();
            let error = format!("{:#}", kept(directory.path()).unwrap_err());
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
