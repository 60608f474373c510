//! When something ends by itself.

/// The second from which on something is absent, since 1970 in UTC; `None`: never.
///
/// Nothing that judges reads a clock: [`super::Snapshot::past`] is the last of these moments that has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry(pub Option<i64>);

impl Expiry {
    /// True if the moment has come, of which `past` is the last that has.
    #[must_use]
    pub fn is_over(self, past: i64) -> bool {
        self.0.is_some_and(|moment| moment <= past)
    }
}
