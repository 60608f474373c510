//! Names of images: `[REGISTRY/]REPOSITORY[:TAG]`.

use std::{fmt, str::FromStr};

use anyhow::{Result, bail};

/// A name with a tag, as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    repository: String,
    tag: String,
}

impl Name {
    /// The repository, without the tag.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The same with more behind the tag.
    pub fn with_suffix(&self, suffix: &str) -> Self {
        Self {
            repository: self.repository.clone(),
            tag: format!("{}{suffix}", self.tag),
        }
    }

    /// The name under which container runtimes keep it: without a registry it is Docker's.
    pub fn full(&self) -> String {
        let registry = match self.repository.split_once('/') {
            Some((first, _)) if first == "localhost" || first.contains(['.', ':']) => "",
            Some(_) => "docker.io/",
            None => "docker.io/library/",
        };
        format!("{registry}{self}")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

impl FromStr for Name {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let last = text.rfind('/').map_or(0, |slash| slash + 1);
        // A colon before the last slash is a registry's port.
        let (repository, tag) = match text[last..].split_once(':') {
            Some((name, tag)) => (&text[..last + name.len()], tag),
            None => (text, "latest"),
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let parts = repository.split('/');
        if !parts.clone().all(|part| !part.is_empty())
            || !repository
                .bytes()
                .all(|byte| allowed(byte) || byte == b'/' || byte == b':')
        {
            bail!(
                "{text:?} is no name of an image; write one as in `registry.example:5000/ringfence:1.2`"
            );
        }
        if tag.is_empty() || !tag.bytes().all(allowed) {
            bail!("{tag:?} is no tag; it may hold letters, digits, `.`, `_` and `-`");
        }
        Ok(Self {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_runtimes_call_it() {
        for (text, full, tag) in [
            ("ringfence", "docker.io/library/ringfence:latest", "latest"),
            ("acme/ringfence:dev", "docker.io/acme/ringfence:dev", "dev"),
            ("localhost/ringfence:dev", "localhost/ringfence:dev", "dev"),
            ("r.example:5000/a/b", "r.example:5000/a/b:latest", "latest"),
            ("r.example:5000/a/b:1.2", "r.example:5000/a/b:1.2", "1.2"),
        ] {
            let name: Name = text.parse().expect("it is a name");
            assert_eq!((name.full().as_str(), name.tag()), (full, tag), "{text}");
        }
        for text in ["", "/a", "a/", "a:", "a b", "a:b c", "a@sha256:0"] {
            text.parse::<Name>().expect_err(text);
        }
    }
}
