//! One archive with what helps to find out what is wrong.
//!
//! **Invariants.** What could not be had is listed with the reason, and never keeps the rest from being written. No
//! environment, no token, no kubeconfig goes in; [`scrub`] takes out what looks like one.

mod node;
mod scrub;

use std::io;

use flate2::{Compression, write::GzEncoder};
pub use node::{Collect, collect};
pub use scrub::{scrub, without_secrets};
use tar::{Builder, Header};

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

    /// Reads an archive that [`Self::write`] wrote.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn read(archive: &[u8]) -> io::Result<Self> {
        let mut dump = Self::default();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.display().to_string();
            let path = path
                .split_once('/')
                .map_or(path.clone(), |(_, it)| it.to_owned());
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut entry, &mut bytes)?;
            if path == "missing.txt" {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                dump.missing.extend(text.lines().filter_map(|line| {
                    let (path, reason) = line.split_once(": ")?;
                    Some((path.to_owned(), reason.to_owned()))
                }));
            } else {
                dump.files.push((path, bytes));
            }
        }
        Ok(dump)
    }
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
        assert_eq!(Dump::read(&bytes).unwrap(), dump);

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
}
