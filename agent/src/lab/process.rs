//! Processes by number, safe against numbers that were given to others meanwhile.

use std::fs;

use nix::{sys::signal, unistd::Pid};
use serde::{Deserialize, Serialize};

/// A process, told apart from later ones with the same number by when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
}

impl ProcessId {
    /// The process that has this number now.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started) = state_and_start(&stat)?;
        (!matches!(state, "Z" | "X")).then_some(Self { pid, started })
    }

    /// The calling process.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::of(std::process::id().try_into().ok()?)
    }

    /// True until it has ended (a zombie has).
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Kills it, if it is still the same one.
    pub fn kill(self) {
        if self.is_alive() {
            kill(self.pid);
        }
    }
}

/// Kills a process; one that has ended is no error.
pub(super) fn kill(pid: i32) {
    // Numbers below 1 mean groups, and 1 is the machine's.
    if pid > 1 {
        let _: nix::Result<()> = signal::kill(Pid::from_raw(pid), signal::Signal::SIGKILL);
    }
}

/// State (field 3) and start time (field 22) of `/proc/PID/stat`, whose second field may hold anything.
fn state_and_start(stat: &str) -> Option<(&str, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace();
    let state = fields.next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{ProcessId, state_and_start};

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(state_and_start(stat), Some(("S", 4711)));
        assert_eq!(state_and_start("7 (a"), None);
    }

    #[test]
    fn the_own_process_is_alive_and_its_number_with_another_start_is_not() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive());
        assert!(
            !ProcessId {
                started: own.started + 1,
                ..own
            }
            .is_alive()
        );
    }
}
