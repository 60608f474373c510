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
/// The metadata firewall (1) stands before every table and has no cells.
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
/// Bits 0-7 live verdict, 8-15 staged verdict, 16-22 tier, 23 set if what the pod's own node sends is denied, too,
/// 24-31 zero, 32-63 rule id.
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

    const BINDS_OWN_NODE: u64 = 1 << 23;
    const TIER: u8 = 0x7f;

    /// The same cell, which says this of what the pod's own node sends.
    #[must_use]
    pub const fn binding_own_node(self, binds: bool) -> Self {
        if binds {
            Self(self.0 | Self::BINDS_OWN_NODE)
        } else {
            self
        }
    }

    /// True if what counts is a denial that the pod's own node is not exempt from.
    #[must_use]
    pub const fn binds_own_node(self) -> bool {
        self.0 & Self::BINDS_OWN_NODE != 0
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
        assert!(!cell.binds_own_node());
        let cell =
            Cell::new(Verdict::Deny, Verdict::Deny, Tier::ZoneDeny, 7).binding_own_node(true);
        assert!(cell.binds_own_node());
        assert_eq!((cell.tier(), cell.rule()), (Some(Tier::ZoneDeny), 7));
        assert_eq!(Cell::default().live(), None);
    }
}
