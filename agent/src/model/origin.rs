//! Where an object was read, and what is wrong with it.

use std::fmt;

/// Where an object was read: a file's line, or the Kubernetes API.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Path as the user gave it, `-` for standard input; empty for the API.
    pub file: String,
    /// Line, from 1; 0 if unknown.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line) {
            ("", _) => f.write_str("API"),
            (file, 0) => f.write_str(file),
            (file, line) => write!(f, "{file}:{line}"),
        }
    }
}

/// Something wrong with one object. The others stay in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Where it was read.
    pub origin: Origin,
    /// `Kind/namespace/name`; empty if the text could not be read that far.
    pub object: String,
    /// Path of the field, as in `spec.ingress[0].from[1].ipBlock.cidr`; empty for the whole object.
    pub field: String,
    /// What is wrong, what is allowed, what to do next.
    pub message: String,
}

impl Diagnostic {
    /// Reason, and beginning of the message, of what is allowed and not enforced yet.
    pub const NOT_SUPPORTED: &str = "NotSupported";

    /// Reason, and beginning of the message, of what the container network enforces instead.
    pub const OWNED_BY_CNI: &str = "NetworkPolicyOwnedByCNI";

    /// The reason in one word, as conditions have it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        let reasons = [Self::NOT_SUPPORTED, Self::OWNED_BY_CNI];
        let mut reasons = reasons.into_iter();
        reasons
            .find(|reason| self.message.starts_with(reason))
            .unwrap_or("Invalid")
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.object.is_empty() {
            write!(f, "{}: ", self.object)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}
