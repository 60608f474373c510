//! How often an object's status may be written.
//!
//! **Invariant.** One object: what has turned round at once, but no more than a few times in a pause; the rest once in a pause.

use std::time::{Duration, Instant};

/// The least time between two writes that only count on.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a new version may take to be everywhere before it is said that it is not.
pub(super) const SETTLE: Duration = Duration::from_secs(1);
/// Writes of what has turned round, within a pause.
const BURST: u32 = 3;

/// One object's writes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    left: u32,
}

impl Pace {
    /// True if it may be written now; then that counts as done.
    pub fn may(&mut self, turned: bool, now: Instant) -> bool {
        let rested = self.last.is_none_or(|last| now >= last + PAUSE);
        if rested {
            self.left = BURST;
        } else if !turned || self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_round_is_written_at_once_a_few_times() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert!(pace.may(false, start));
        assert!(!pace.may(false, start + PAUSE / 2));
        assert!(pace.may(true, start + PAUSE / 2));
        assert!(pace.may(true, start + PAUSE / 2));
        assert!(!pace.may(true, start + PAUSE / 2), "that was the third");
        assert!(!pace.may(false, start + PAUSE));
        assert!(pace.may(false, start + PAUSE / 2 + PAUSE));
    }
}
