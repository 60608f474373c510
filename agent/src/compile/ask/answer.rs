//! What is asked, and what is answered.

use std::{fmt, net::IpAddr, sync::Arc};

use ringfence_common::cell::{Tier, Verdict};

use crate::{compile::ruleset::Port, model::PodKey};

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// A pod.
    Pod(PodKey),
    /// An address: a pod's, a node's, or anybody's.
    Address(IpAddr),
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(key) => write!(f, "pod/{key}"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

/// In which zones an address of a pod or node is, everything in audit enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership<'a> {
    /// Whose address.
    pub of: Member<'a>,
    /// The address; unspecified of a pod that has none yet.
    pub address: IpAddr,
    /// Zones that select the pod or node.
    pub selected: Arc<[Arc<str>]>,
    /// Zones by the address: they count where none selects.
    pub by_address: Arc<[Arc<str>]>,
}

/// Who may be in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member<'a> {
    /// A pod.
    Pod(&'a PodKey),
    /// A node.
    Node(&'a str),
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// An address's.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// May this flow begin?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who begins it.
    pub from: Party,
    /// Whom it is for.
    pub to: Party,
    /// Protocol and port of the destination; `None` for a protocol without ports.
    pub port: Port,
    /// Address family; `None`: that of the first address of the destination for which the source has one too.
    pub family: Option<Family>,
}

/// What one end's rules say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What counts.
    pub live: Verdict,
    /// What would count if everything in audit were enforced.
    pub staged: Verdict,
    /// The tier that decided.
    pub tier: Tier,
    /// Name of the rule that decided what counts; `None` in the tiers `Origin` and `Default`.
    pub rule: Option<String>,
    /// The tier and rule that a packet's event names: of what would count, if that is something else.
    pub told: (Tier, Option<String>),
    /// What counts, and what would count, of what the destination's own node sends.
    pub(super) of_own_node: (Verdict, Verdict),
    /// After a denial: rules of the tier that denied which are about this peer, but not on this port.
    pub other_ports: Vec<String>,
}

impl Judgement {
    pub(super) const fn origin() -> Self {
        Self {
            live: Verdict::Allow,
            staged: Verdict::Allow,
            tier: Tier::Origin,
            rule: None,
            told: (Tier::Origin, None),
            of_own_node: (Verdict::Allow, Verdict::Allow),
            other_ports: Vec::new(),
        }
    }
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What counts: allowed if both ends allow it.
    pub live: Verdict,
    /// What would count if everything in audit were enforced.
    pub staged: Verdict,
    /// At the source, if that is a pod with rules for what goes out.
    pub egress: Option<Judgement>,
    /// At the destination, if that is a pod with rules for what comes in.
    pub ingress: Option<Judgement>,
    /// The source's address; `None` if it has none (yet), then no `ipBlock` matches it.
    pub from_address: Option<IpAddr>,
    /// The destination's, likewise.
    pub to_address: Option<IpAddr>,
}

/// One line for a user: the verdict, where and by which rule.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = [
            ("egress of the source", &self.egress),
            ("ingress of the destination", &self.ingress),
        ];
        let of = |verdict: Verdict| {
            sides.into_iter().filter_map(move |(side, judgement)| {
                judgement
                    .as_ref()
                    .filter(|it| it.live == verdict)
                    .map(|it| (side, it))
            })
        };
        match self.live {
            Verdict::Deny => f.write_str("denied")?,
            Verdict::Allow => f.write_str("allowed")?,
        }
        let mut decided = false;
        for (side, judgement) in of(self.live) {
            f.write_str(if decided { "; " } else { ": " })?;
            decided = true;
            write!(f, "{side}: ")?;
            match (&judgement.rule, judgement.tier) {
                (Some(rule), _) => f.write_str(rule)?,
                (None, Tier::Origin) => f.write_str("from the pod itself or its own node")?,
                (None, _) => f.write_str("no rule denies it")?,
            }
            if !judgement.other_ports.is_empty() {
                write!(
                    f,
                    " (other ports are open by {})",
                    judgement.other_ports.join(", ")
                )?;
            }
        }
        if !decided {
            f.write_str(": no policy selects either end")?;
        }
        match (self.live, self.staged) {
            (Verdict::Allow, Verdict::Deny) => {
                f.write_str("; would be denied with audited policies enforced")
            }
            (Verdict::Deny, Verdict::Allow) => {
                f.write_str("; would be allowed with audited policies enforced")
            }
            _ => Ok(()),
        }
    }
}
