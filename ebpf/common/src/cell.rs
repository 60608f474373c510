//! The verdict cell: what one table says about one (peer class, port class).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::bits;

/// What a packet got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// It goes on to the CNI's own programs.
    Allow = 1,
    /// It is dropped.
    Deny = 2,
}

impl Verdict {
    const fn from_u8(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Allow),
            2 => Some(Self::Deny),
            _ => None,
        }
    }
}

/// A layer of precedence, strongest first.
///
/// The metadata firewall (1) stands before every table and has no cells; events of what it would deny in audit have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tier {
    /// A pod to itself, and what its own node generates.
    Origin = 0,
    /// The metadata firewall.
    Metadata = 1,
    /// `ZonePolicy` Deny rules.
    ZoneDeny = 2,
    /// Isolation of a `SecurityZone`.
    ZoneIsolation = 3,
    /// `TenantIsolation` Strict.
    TenantStrict = 4,
    /// `ClusterNetworkPolicy`, Admin tier.
    ClusterAdmin = 5,
    /// `NetworkPolicy`.
    NetworkPolicy = 6,
    /// `TenantIsolation` Overridable.
    TenantOverridable = 7,
    /// `ClusterNetworkPolicy`, Baseline tier.
    ClusterBaseline = 8,
    /// Nothing decided: allowed.
    Default = 9,
}

impl Tier {
    /// Reads a tier back from its number.
    #[must_use]
    pub const fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            0 => Self::Origin,
            1 => Self::Metadata,
            2 => Self::ZoneDeny,
            3 => Self::ZoneIsolation,
            4 => Self::TenantStrict,
            5 => Self::ClusterAdmin,
            6 => Self::NetworkPolicy,
            7 => Self::TenantOverridable,
            8 => Self::ClusterBaseline,
            9 => Self::Default,
            _ => return None,
        })
    }
}

/// A node-local number that stands for a rule's name; 0 is "no rule".
pub type RuleId = u32;

/// One cell of the array map `CELLS`.
///
/// Bits 0-7 live verdict, 8-15 staged verdict, 16-21 tier, 22 and 23 set if the live and the staged verdict are a denial
/// that binds the pod's own node, too, 24-31 zero, 32-63 rule id. Pins older than these two bits have zeros there, and
/// exempt the own node as they did.
/// All zero is a cell that nobody wrote: it allows nothing.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(transparent)]
pub struct Cell(pub u64);

impl Cell {
    /// The cell of these parts.
    #[must_use]
    pub const fn new(live: Verdict, staged: Verdict, tier: Tier, rule: RuleId) -> Self {
        Self(live as u64 | (staged as u64) << 8 | (tier as u64) << 16 | (rule as u64) << 32)
    }

    const BINDS_LIVE: u64 = 1 << 22;
    const BINDS_STAGED: u64 = 1 << 23;
    const TIER: u8 = 0x3f;

    /// The same cell, which says whether what counts, and what would count, is a denial that binds the pod's own node, too.
    #[must_use]
    pub const fn binding_own_node(self, live: bool, staged: bool) -> Self {
        Self(self.0 | (live as u64 * Self::BINDS_LIVE) | (staged as u64 * Self::BINDS_STAGED))
    }

    /// What this says of what the pod's own node sends: allowed, but for denials that bind it.
    #[must_use]
    #[inline(always)]
    pub const fn of_own_node(self) -> Self {
        const ALLOW: u64 = Verdict::Allow as u64;
        // The verdict that denies is the next number.
        let live = ALLOW + ((self.0 >> 22) & 1);
        let staged = ALLOW + ((self.0 >> 23) & 1);
        if live == ALLOW && staged == ALLOW {
            return Self::new(Verdict::Allow, Verdict::Allow, Tier::Origin, 0);
        }
        Self(self.0 & !0xffff | live | staged << 8)
    }

    /// What counts; `None` for a cell that nobody wrote.
    #[must_use]
    pub const fn live(self) -> Option<Verdict> {
        Verdict::from_u8(bits::u8_at(self.0, 0))
    }

    /// What would count if everything in audit were enforced.
    #[must_use]
    pub const fn staged(self) -> Option<Verdict> {
        Verdict::from_u8(bits::u8_at(self.0, 8))
    }

    /// True if both verdicts are the same.
    #[must_use]
    pub const fn settled(self) -> bool {
        bits::u8_at(self.0, 0) == bits::u8_at(self.0, 8)
    }

    /// The tier that decided.
    #[must_use]
    pub const fn tier(self) -> Option<Tier> {
        Tier::from_u8(self.tier_number())
    }

    /// The tier's number, whatever it is.
    #[must_use]
    pub const fn tier_number(self) -> u8 {
        bits::u8_at(self.0, 16) & Self::TIER
    }

    /// The rule that decided.
    #[must_use]
    pub const fn rule(self) -> RuleId {
        bits::u32_at(self.0, 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_keeps_its_parts_and_zero_allows_nothing() {
        let cell = Cell::new(Verdict::Allow, Verdict::Deny, Tier::NetworkPolicy, u32::MAX);
        assert_eq!(cell.live(), Some(Verdict::Allow));
        assert_eq!(cell.staged(), Some(Verdict::Deny));
        assert_eq!(cell.tier(), Some(Tier::NetworkPolicy));
        assert_eq!(cell.rule(), u32::MAX);
        assert!(!cell.settled());
    }

    #[test]
    fn the_own_node_is_denied_only_by_what_binds_it() {
        let cell = Cell::new(Verdict::Deny, Verdict::Deny, Tier::ZoneDeny, 7);
        for (live, staged) in [(false, false), (true, false), (false, true), (true, true)] {
            let bound = cell.binding_own_node(live, staged);
            assert_eq!((bound.tier(), bound.rule()), (Some(Tier::ZoneDeny), 7));
            assert_eq!((bound.live(), bound.staged()), (cell.live(), cell.staged()));
            let own = bound.of_own_node();
            let denied = |verdict| verdict == Some(Verdict::Deny);
            assert_eq!((denied(own.live()), denied(own.staged())), (live, staged));
            let tier = if live || staged {
                Tier::ZoneDeny
            } else {
                Tier::Origin
            };
            assert_eq!(own.tier(), Some(tier));
        }
    }

    #[test]
    fn a_cell_that_nobody_wrote_allows_nothing() {
        assert_eq!(Cell::default().live(), None);
    }
}
