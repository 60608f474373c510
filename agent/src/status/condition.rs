//! One condition: what is said, and since when it is so.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Most bytes of a message: people read it in a terminal.
const MESSAGE: usize = 1024;

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    Unknown,
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub kind: &'static str,
    pub truth: Truth,
    pub reason: &'static str,
    pub message: String,
}

impl Truth {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "True",
            Self::No => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl Said {
    pub fn new(
        kind: &'static str,
        truth: Truth,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE {
            message.truncate(message.floor_char_boundary(MESSAGE));
            message.push_str(" ...");
        }
        Self {
            kind,
            truth,
            reason,
            message,
        }
    }

    /// As a condition about this generation; the time of the last transition stays unless the status is another.
    pub fn condition(&self, generation: i64, before: &[Condition], now: Timestamp) -> Condition {
        let status = self.truth.as_str();
        let before = before.iter().find(|it| it.type_ == self.kind);
        let since = before.filter(|before| before.status == status);
        Condition {
            type_: self.kind.to_owned(),
            status: status.to_owned(),
            observed_generation: Some(generation),
            reason: self.reason.to_owned(),
            message: self.message.clone(),
            last_transition_time: since
                .map_or(Time(now), |before| before.last_transition_time.clone()),
        }
    }
}

/// True if a condition's status is another than before, or it is about another generation.
pub(super) fn differ(before: &[Condition], now: &[Condition]) -> bool {
    now.iter().any(|now| {
        let before = before.iter().find(|it| it.type_ == now.type_);
        before.is_none_or(|before| {
            before.status != now.status || before.observed_generation != now.observed_generation
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_last_transition_changes_with_the_status_only() {
        let [one, two] = [1, 2].map(|second| Timestamp::from_second(second).unwrap());
        let said = |truth, message: &str| Said::new("Programmed", truth, "Reason", message);
        let first = said(Truth::No, "1/2").condition(1, &[], one);
        assert_eq!(first.last_transition_time, Time(one));
        let before = [first];
        let second = said(Truth::No, "2/2").condition(2, &before, two);
        assert_eq!(second.last_transition_time, Time(one));
        assert_eq!(second.observed_generation, Some(2));
        let third = said(Truth::Yes, "").condition(1, &before, two);
        assert_eq!(third.last_transition_time, Time(two));
        assert!(differ(&[], &before) && differ(&before, &[third]));
        let words = said(Truth::No, "other words").condition(1, &before, two);
        assert!(!differ(&before, &[words]));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let said = Said::new("Accepted", Truth::No, "Invalid", "ä".repeat(900));
        assert!(said.message.len() <= MESSAGE + 4 && said.message.ends_with("ä ..."));
    }
}
