//! When something in force ends by itself.
//!
//! **Invariant.** Time does not go back: what has ended stays so, also if somebody sets the clock.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use crate::{
    model::{Expiry, Snapshot},
    watch::Kind,
};

/// A clock may be set while somebody waits: how long it is relied upon.
const DOUBT: Duration = Duration::from_secs(30);

/// The moments at which something ends, and which of them have come.
#[derive(Debug, Default)]
pub(super) struct Moments {
    all: BTreeSet<i64>,
    /// The latest second that was seen.
    now: i64,
}

/// True for kinds whose objects may end by themselves, as a whole or in part.
pub(super) const fn concern(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::ZonePolicy | Kind::TenantIsolation | Kind::MetadataAccess
    )
}

/// The clock's second.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

// === impl Moments ===

impl Moments {
    /// Looks through everything that may end.
    pub fn collect(&mut self, snapshot: &Snapshot) {
        let mut all = BTreeSet::new();
        let mut add = |expiry: Expiry| all.extend(expiry.0);
        for rule in snapshot.zone_policies.values().flat_map(|it| &it.rules) {
            add(rule.expiry);
            rule.except.iter().for_each(|it| add(it.expiry));
        }
        let tenants = snapshot.tenants.values();
        tenants
            .flat_map(|it| &it.except)
            .for_each(|it| add(it.expiry));
        snapshot.grants.values().for_each(|it| add(it.expiry));
        self.all = all;
    }

    /// The last moment that has come by this second, or by a later one that was seen before; 0 if none has.
    pub fn past(&mut self, now: i64) -> i64 {
        self.now = self.now.max(now);
        self.all
            .range(..=self.now)
            .next_back()
            .copied()
            .unwrap_or(0)
    }

    /// How long to wait before asking again; `None` if nothing ends any more.
    pub fn wait(&self) -> Option<Duration> {
        let next = *self.all.range(self.now + 1..).next()?;
        let next = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(next).ok()?);
        let wait = next.duration_since(SystemTime::now()).unwrap_or_default();
        Some(wait.min(DOUBT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_stays_so_when_the_clock_is_set_back() {
        let mut moments = Moments {
            all: [100, 200, i64::MAX].into(),
            now: 0,
        };
        assert_eq!(moments.past(99), 0);
        assert_eq!(moments.past(100), 100);
        assert_eq!(moments.past(250), 200);
        assert_eq!(moments.past(150), 200);
        moments.all.remove(&i64::MAX);
        assert_eq!(moments.wait(), None);
        moments.all = [300].into();
        assert_eq!(moments.past(0), 0);
        assert_eq!(moments.wait(), Some(Duration::ZERO), "it came meanwhile");
    }
}
