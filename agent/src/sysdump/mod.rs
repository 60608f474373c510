//! One archive with what helps to find out what is wrong.
//!
//! **Invariants.** What could not be had is listed with the reason, and never keeps the rest from being written. No
//! environment, no token, no kubeconfig goes in; [`scrub`] takes out what looks like one.

mod node;
mod scrub;

use std::{
    collections::BTreeSet,
    io::{self, Read as _},
    path::{Component, Path},
};

use flate2::{Compression, write::GzEncoder};
pub use node::{Collect, collect};
pub use scrub::{scrub, without_secrets};
use tar::{Builder, Header};

/// Most that is taken out of one node's archive, unpacked.
const MOST_BYTES: u64 = 256 << 20;
/// Most files that are taken out of one.
const MOST_FILES: usize = 10_000;

/// Files by their path in the archive, and what is not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    files: Vec<(String, Vec<u8>)>,
    missing: Vec<(String, String)>,
}

impl Dump {
    /// Puts a text in, without what looks like a secret; or notes why it is not there.
    pub fn text(&mut self, path: impl Into<String>, text: Result<String, String>) {
        self.bytes(path, text.map(|text| scrub(&text).into_bytes()));
    }

    /// Puts bytes in as they are; or notes why they are not there.
    pub fn bytes(&mut self, path: impl Into<String>, bytes: Result<Vec<u8>, String>) {
        match bytes {
            Ok(bytes) => self.files.push((path.into(), bytes)),
            Err(reason) => self.missing.push((path.into(), reason)),
        }
    }

    /// Puts all of another one in, below a directory.
    pub fn below(&mut self, directory: &str, other: Self) {
        let below = |path: String| format!("{directory}/{path}");
        self.files
            .extend(other.files.into_iter().map(|(path, it)| (below(path), it)));
        self.missing.extend(
            other
                .missing
                .into_iter()
                .map(|(path, it)| (below(path), it)),
        );
    }

    /// What is not there, and why.
    #[must_use]
    pub fn missing(&self) -> &[(String, String)] {
        &self.missing
    }

    /// How many files are there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// True if nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Writes the archive; everything lies in a directory of this name, the list of what is missing beside it.
    ///
    /// # Errors
    ///
    /// `out` cannot be written.
    pub fn write(&self, name: &str, modified: u64, out: impl io::Write) -> io::Result<()> {
        let mut archive = Builder::new(GzEncoder::new(out, Compression::default()));
        let missing: String = self
            .missing
            .iter()
            .map(|(path, reason)| format!("{path}: {reason}\n"))
            .collect();
        let list = ("missing.txt".to_owned(), missing.into_bytes());
        for (path, bytes) in self.files.iter().chain([&list]) {
            let mut header = Header::new_gnu();
            header.set_size(bytes.len() as u64);
            // It names pods and addresses: for whoever collected it.
            header.set_mode(0o600);
            header.set_mtime(modified);
            archive.append_data(&mut header, format!("{name}/{path}"), bytes.as_slice())?;
        }
        archive.into_inner()?.finish()?.flush()
    }

    /// Reads an archive that [`Self::write`] wrote on another machine, as far as it goes: nothing that it says is believed. A path
    /// that leads out of it, a file that is no file, and what is more than anybody needs stay out, and are noted.
    #[must_use]
    pub fn read(archive: impl io::Read) -> Self {
        Self::read_within(archive, MOST_BYTES)
    }

    fn read_within(archive: impl io::Read, most: u64) -> Self {
        let mut dump = Self::default();
        // What is packed may be a thousand times as large as it looks.
        let bytes = flate2::read::GzDecoder::new(archive).take(most);
        if let Err(error) = dump.read_entries(&mut tar::Archive::new(bytes)) {
            let reason = format!("the archive cannot be read further: {error}");
            dump.missing.push(("the-rest".to_owned(), reason));
        }
        dump
    }

    fn read_entries(&mut self, archive: &mut tar::Archive<impl io::Read>) -> io::Result<()> {
        let mut seen = BTreeSet::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            if seen.len() == MOST_FILES {
                return Err(io::Error::other("it has too many files"));
            }
            let is_file = entry.header().entry_type().is_file();
            let named = entry.path()?.into_owned();
            let path = below_the_top(&named).filter(|path| is_file && seen.insert(path.clone()));
            let Some(path) = path else {
                let reason = "no file with a path of its own below the archive's directory";
                let name = format!("{:?}", named.display().to_string());
                self.missing.push((name, reason.to_owned()));
                continue;
            };
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            if (bytes.len() as u64) < entry.size() {
                return Err(io::Error::other(format!("{path} is too large, or cut off")));
            }
            let text = String::from_utf8_lossy(&bytes);
            if path == "missing.txt" {
                self.missing.extend(text.lines().filter_map(|line| {
                    let (path, reason) = line.split_once(": ")?;
                    Some((path.to_owned(), scrub(reason)))
                }));
            } else {
                // Who wrote it may be of a version that took out less.
                self.text(path, Ok(text.into_owned()));
            }
        }
        Ok(())
    }
}

/// The path without its first part, of letters that mean the same everywhere; `None` if it leads anywhere else.
fn below_the_top(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        let Component::Normal(part) = part else {
            return None;
        };
        let part = part.to_string_lossy();
        parts.push(part.replace(
            |c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)),
            "_",
        ));
    }
    (parts.len() > 1).then(|| parts[1..].join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut dump = Dump::default();
        dump.text("a.txt", Ok("one\n".to_owned()));
        dump.text("b/c.txt", Err("nobody knows".to_owned()));
        let mut bytes = Vec::new();
        dump.write("name", 7, &mut bytes).unwrap();
        assert_eq!(Dump::read(bytes.as_slice()), dump);

        let mut all = Dump::default();
        all.below("nodes/w1", dump);
        assert_eq!(all.files[0].0, "nodes/w1/a.txt");
        assert_eq!(
            all.missing(),
            [("nodes/w1/b/c.txt".to_owned(), "nobody knows".to_owned())]
        );
    }

    #[test]
    fn texts_are_scrubbed() {
        let mut dump = Dump::default();
        dump.text(
            "log",
            Ok("Authorization: Bearer abc.def\nnext\n".to_owned()),
        );
        assert_eq!(dump.files[0].1, b"Authorization: [removed]\nnext\n");
    }

    /// An archive whose headers say what they like.
    fn archive(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
        let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        for (path, kind, bytes) in entries {
            let mut header = Header::new_gnu();
            // By hand: the library refuses to write what it is to read here.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_mode(0o777);
            header.set_cksum();
            archive.append(&header, *bytes).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn nothing_leads_out_of_an_archive() {
        let file = tar::EntryType::Regular;
        let bytes = archive(&[
            ("top/fine.txt", file, b"fine"),
            ("top/../../escaped", file, b"no"),
            ("/etc/absolute", file, b"no"),
            ("../escaped", file, b"no"),
            ("bare", file, b"no"),
            ("top/link", tar::EntryType::Symlink, b""),
            ("top/fine.txt", file, b"twice"),
            ("top/odd name\x1b[2J", file, b"token=s"),
        ]);
        let dump = Dump::read(bytes.as_slice());
        let files: Vec<(&str, &[u8])> = dump
            .files
            .iter()
            .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
            .collect();
        let expect: [(&str, &[u8]); 2] =
            [("fine.txt", b"fine"), ("odd_name__2J", b"token=[removed]")];
        assert_eq!(files, expect);
        assert_eq!(dump.missing().len(), 6, "{:?}", dump.missing());
        assert!(
            dump.missing()
                .iter()
                .all(|(name, _)| !name.contains('\x1b'))
        );
    }

    #[test]
    fn an_archive_is_read_as_far_as_it_goes() {
        let file = tar::EntryType::Regular;
        let large = vec![0; 1 << 20];
        let bytes = archive(&[("top/a", file, b"a"), ("top/bomb", file, &large)]);
        assert!(bytes.len() < 1 << 14);
        for (bytes, most) in [
            (&bytes[..], large.len()),
            (&bytes[..bytes.len() / 2], usize::MAX),
        ] {
            let dump = Dump::read_within(bytes, most as u64);
            let names: Vec<&str> = dump.files.iter().map(|(path, _)| path.as_str()).collect();
            assert_eq!(names, ["a"]);
            assert_eq!(dump.missing()[0].0, "the-rest");
        }
        assert_eq!(Dump::read(&b"no archive"[..]).missing()[0].0, "the-rest");
    }
}
