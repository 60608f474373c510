//! Why a request failed, in words that say what to do.

use std::error::Error as _;

use kube::core::Status;

use super::{super::Kind, resource::Resource};
use crate::model::Diagnostic;

/// How a server begins that has not reached a version; some give the cause no code of its own.
const TOO_LARGE: &str = "Too large resource version";

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What was seen last is too old for the server: everything has to be read anew.
    Gone,
    /// What was seen last may never come again: everything has to be read anew.
    Lost(String),
    /// The server does not send lists as watches.
    NotStreamed,
    /// The server knows no such path.
    NotFound,
    /// The server refuses it to this account.
    Forbidden(String),
    /// Anything else.
    Failed(String),
    /// Nobody listens any more.
    Unheard,
}

impl Trouble {
    /// What is wrong, for whoever has to mend it; `None` if it mends itself.
    pub fn message<R: Resource>(&self) -> Option<String> {
        match self {
            Self::Gone | Self::NotStreamed | Self::Unheard => None,
            Self::NotFound => Some(format!(
                "the API server does not serve {} (apiGroup \"{}\", version {}); the last state stays in force, and it is tried \
                 again",
                R::PLURAL,
                R::GROUP,
                R::VERSION
            )),
            Self::Forbidden(said) => Some(format!(
                "the API server refuses {plural} to this agent; its last state stays in force. Grant its account the verbs \
                 get, list and watch on {plural} (apiGroup \"{group}\") in a ClusterRole. The server says: {said}",
                plural = R::PLURAL,
                group = R::GROUP,
            )),
            Self::Lost(said) => Some(format!(
                "no changes of {} are heard; the last state stays in force, and all is read anew: {said}",
                R::PLURAL
            )),
            Self::Failed(said) => Some(format!(
                "cannot follow {}; the last state stays in force, and it is tried again: {said}",
                R::PLURAL
            )),
        }
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        if status.code == 410 || status.reason == "Expired" || status.reason == "Gone" {
            Self::Gone
        } else if status.message.starts_with(TOO_LARGE) {
            Self::Lost(status.message)
        } else if status.code == 404 {
            Self::NotFound
        } else if status.is_forbidden() {
            Self::Forbidden(status.message)
        } else {
            Self::Failed(format!("{} ({})", status.message, status.code))
        }
    }
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => (*status).into(),
            other => {
                // The cause, such as a refused connection, is what counts, and some stages of it repeat each other.
                let mut text = other.to_string();
                let mut cause = other.source();
                while let Some(next) = cause {
                    let said = next.to_string();
                    if !text.contains(&said) {
                        text = format!("{text}: {said}");
                    }
                    cause = next.source();
                }
                Self::Failed(text)
            }
        }
    }
}

/// What is wrong with following a kind.
pub(super) fn diagnostic(kind: Kind, message: String) -> Diagnostic {
    Diagnostic {
        object: format!("watch/{}", kind.as_str()),
        message,
        ..Diagnostic::default()
    }
}
