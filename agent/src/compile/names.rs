//! Names of rules, as people read them.

use super::{counted::Counted, ruleset::NameId};

/// Bytes of a rule's name at most: what a value of the kernel's map of names holds.
const NAME_BYTES: usize = 380;

/// Names of rules, by number.
#[derive(Debug, Default)]
pub(super) struct RuleNames {
    counted: Counted<String>,
}

impl RuleNames {
    /// The number of an object's rule, used once more.
    pub(super) fn add(&mut self, object: &str, rest: &str) -> NameId {
        self.counted.add(limited(object, rest))
    }

    /// One user of a name more.
    pub(super) fn keep(&mut self, id: NameId) {
        self.counted.keep(id);
    }

    /// One user of a name less.
    pub(super) fn release(&mut self, id: NameId) {
        self.counted.release(id);
    }

    /// Forgets what nobody uses.
    pub(super) fn settle(&mut self) {
        self.counted.settle();
    }

    /// The name of this number.
    pub(super) fn get(&self, id: NameId) -> Option<&str> {
        self.counted.get(id).map(|name| name.as_str())
    }
}

/// The object's name and the rest; of an object's name that is too long, the beginning.
fn limited(object: &str, rest: &str) -> String {
    if object.len() + 1 + rest.len() <= NAME_BYTES {
        return format!("{object} {rest}");
    }
    const CUT: &str = "…";
    let room = NAME_BYTES.saturating_sub(1 + rest.len() + CUT.len());
    let object = &object[..object.floor_char_boundary(room)];
    format!("{object}{CUT} {rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_keep_the_rule() {
        let name =
            |length: usize| limited(&"ä".repeat(length), "ingress: no rule matches (+12 more)");
        assert_eq!(name(3), "äää ingress: no rule matches (+12 more)");
        let long = name(1000);
        assert!(
            long.len() <= NAME_BYTES && long.len() > NAME_BYTES - 3,
            "{}",
            long.len()
        );
        assert!(long.ends_with("ä… ingress: no rule matches (+12 more)"));
    }
}
