//! What is wrong with a value, and where in the object.

use std::{collections::BTreeMap, fmt};

use crate::watch::manifest::tree::Position;

/// Something wrong at one place of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::watch::manifest) struct Problem {
    pub position: Position,
    /// Path of the field; empty for the whole object.
    pub field: String,
    pub message: String,
}

#[derive(Default)]
pub(super) struct Sink {
    pub(super) problems: Vec<Problem>,
    pub(super) lines: BTreeMap<String, usize>,
}

/// The way from the object to a field.
pub(super) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Why decoding stopped, and where once that is known.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    pub(super) at: Option<Box<Problem>>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            message: message.to_string(),
            at: None,
        }
    }
}
