//! Why a verb could not do its work, in the form that every verb uses: what, where, what to do next.

use std::{fmt, io};

/// How many places are told: nobody mends more at a time.
pub(super) const PLACES: usize = 50;

/// Why a verb could not do its work. Exit code 2.
#[derive(Debug)]
pub enum Failure {
    /// Something to tell.
    Told(Box<Told>),
    /// Whoever read standard output has gone: nothing to tell, and nobody to tell it to.
    PipeClosed,
}

/// What went wrong, where, and what to do next.
#[derive(Debug, Default)]
pub struct Told {
    what: String,
    places: Vec<String>,
    help: Option<String>,
}

/// What a verb gives back.
pub type Outcome = Result<std::process::ExitCode, Failure>;

impl Failure {
    /// What went wrong.
    pub fn new(what: impl Into<String>) -> Self {
        Self::Told(Box::new(Told {
            what: what.into(),
            ..Told::default()
        }))
    }

    /// Where: file and line, object, path. May be said several times.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.places.push(place.into());
        }
        self
    }

    /// What to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Self::Told(told) = &mut self {
            told.help = Some(help.into());
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Told(told) = self else {
            return f.write_str("error: standard output was closed");
        };
        write!(f, "error: {}", Plain(&told.what))?;
        for place in told.places.iter().take(PLACES) {
            write!(f, "\n  {}", Plain(place))?;
        }
        if let Some(more @ 1..) = told.places.len().checked_sub(PLACES) {
            write!(f, "\n  and {more} more")?;
        }
        if let Some(help) = &told.help {
            write!(f, "\n  help: {}", Plain(help))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// A text with what would move a terminal's cursor or change its colours written out: names come from files and from
/// the command line. Line breaks stay, for some texts have several lines.
pub(super) struct Plain<'a>(pub &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            if letter.is_control() && letter != '\n' {
                write!(f, "{}", letter.escape_default())?;
            } else {
                fmt::Write::write_char(f, letter)?;
            }
        }
        Ok(())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::PipeClosed
        } else {
            Self::new(error.to_string())
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        error
            .chain()
            .skip(1)
            .fold(Self::new(error.to_string()), |failure, cause| {
                failure.at(format!("because: {cause}"))
            })
    }
}
