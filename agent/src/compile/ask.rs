//! Questions about single flows, answered by the evaluator that fills the tables.

use std::{fmt, net::IpAddr};

use ringfence_common::{
    Direction,
    cell::{Tier, Verdict},
};

use super::{
    evaluator::{Evaluator, Subjects},
    fact::FactId,
    ruleset::Port,
    world::peer_addresses,
};
use crate::model::{Pod, PodKey, Snapshot};

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
    /// Name of the rule that decided; `None` in the tiers `Origin` and `Default`.
    pub rule: Option<String>,
    /// After a denial: rules that are about this peer, but not on this port.
    pub other_ports: Vec<String>,
}

impl Judgement {
    const fn origin() -> Self {
        Self {
            live: Verdict::Allow,
            staged: Verdict::Allow,
            tier: Tier::Origin,
            rule: None,
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

/// Answers one question. For many about one snapshot, make one [`Asker`].
///
/// # Errors
///
/// See [`Asker::ask`].
pub fn ask(snapshot: &Snapshot, question: &Question) -> Result<Answer, String> {
    Asker::new(snapshot).ask(question)
}

/// A snapshot, prepared for questions; every pod is a subject, wherever it runs.
#[derive(Debug)]
pub struct Asker<'a> {
    snapshot: &'a Snapshot,
    evaluator: Evaluator,
}

/// A [`Party`], found.
struct End<'a> {
    party: &'a Party,
    pod: Option<(&'a PodKey, &'a Pod)>,
    addresses: Vec<IpAddr>,
}

impl<'a> Asker<'a> {
    /// Prepares a snapshot.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot) -> Self {
        let mut evaluator = Evaluator::new(Subjects::All);
        evaluator.update(snapshot);
        Self {
            snapshot,
            evaluator,
        }
    }

    /// Judges a flow at its source's egress and at its destination's ingress.
    ///
    /// # Errors
    ///
    /// If a pod does not exist or has ended, or if the ends have no address family in common.
    pub fn ask(&self, question: &Question) -> Result<Answer, String> {
        let from = self.find(&question.from)?;
        let to = self.find(&question.to)?;
        let (from_address, to_address) = addresses(&from, &to, question.family)?;
        let (egress, ingress) =
            if from.pod.is_some() && from.pod.map(|it| it.0) == to.pod.map(|it| it.0) {
                (Some(Judgement::origin()), Some(Judgement::origin()))
            } else {
                let egress = self.judge(
                    &from,
                    Direction::Egress,
                    &self.facts(&to, to_address),
                    question.port,
                );
                let ingress = if self.is_own_node(&from, from_address, &to) {
                    Some(Judgement::origin())
                } else {
                    self.judge(
                        &to,
                        Direction::Ingress,
                        &self.facts(&from, from_address),
                        question.port,
                    )
                };
                (egress, ingress)
            };
        let both = |verdict: fn(&Judgement) -> Verdict| {
            let denied = [&egress, &ingress]
                .into_iter()
                .flatten()
                .any(|it| verdict(it) == Verdict::Deny);
            if denied {
                Verdict::Deny
            } else {
                Verdict::Allow
            }
        };
        let (live, staged) = (both(|it| it.live), both(|it| it.staged));
        Ok(Answer {
            live,
            staged,
            egress,
            ingress,
            from_address,
            to_address,
        })
    }

    /// The pod that an address is of; nobody's if several claim it.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<&PodKey> {
        let owner = self.evaluator.world.owner(address.to_canonical());
        owner.map(|it| &it.pod.key)
    }

    fn find<'b>(&'b self, party: &'b Party) -> Result<End<'b>, String> {
        match party {
            &Party::Address(address) => {
                let address = address.to_canonical();
                let owner = self.owner(address);
                let pod = owner.and_then(|key| self.snapshot.pods.get_key_value(key));
                Ok(End {
                    party,
                    pod,
                    addresses: vec![address],
                })
            }
            Party::Pod(key) => {
                let Some(pod) = self.snapshot.pods.get(key) else {
                    return Err(format!(
                        "{party} does not exist: check its namespace and name"
                    ));
                };
                if !pod.is_running() {
                    return Err(format!(
                        "{}: {party} has ended ({:?}): nobody can talk with it; ask for a running pod or an address",
                        pod.origin, pod.phase
                    ));
                }
                let addresses = peer_addresses(pod, self.snapshot.local.get(key));
                Ok(End {
                    party,
                    pod: Some((key, pod)),
                    addresses,
                })
            }
        }
    }

    fn facts(&self, end: &End<'_>, address: Option<IpAddr>) -> Vec<FactId> {
        match (address, end.pod) {
            (Some(address), _) => self.evaluator.facts_of_address(address),
            (None, Some((_, pod))) => self.evaluator.facts_of_pod(pod, None),
            (None, None) => Vec::new(),
        }
    }

    fn judge(
        &self,
        at: &End<'_>,
        direction: Direction,
        peer: &[FactId],
        port: Port,
    ) -> Option<Judgement> {
        let (_, pod) = at.pod?;
        let id = self.evaluator.ruleset_index(pod, direction)?;
        let ruleset = self.evaluator.rulesets.get(id)?;
        let facing = ruleset.facing(&self.evaluator.facts, peer);
        let cell = facing.decide(port);
        let name = |id| self.evaluator.names.get(id).map(ToOwned::to_owned);
        let other_ports = match cell.live {
            Verdict::Deny => facing
                .rules()
                .filter(|it| !it.audit)
                .filter_map(|it| name(it.name))
                .collect(),
            Verdict::Allow => Vec::new(),
        };
        Some(Judgement {
            live: cell.live,
            staged: cell.staged,
            tier: cell.tier,
            rule: cell.rule.and_then(name),
            other_ports,
        })
    }

    /// True if the source is the node that the destination runs on (a pod with the node's network is its node).
    fn is_own_node(&self, from: &End<'_>, address: Option<IpAddr>, to: &End<'_>) -> bool {
        let Some((key, destination)) = to.pod else {
            return false;
        };
        if let Some((_, source)) = from.pod {
            return source.host_network && source.node.is_some() && source.node == destination.node;
        }
        let Some(address) = address else { return false };
        let named = destination
            .node
            .as_ref()
            .and_then(|name| self.snapshot.nodes.get(&**name));
        named.is_some_and(|node| node.addresses.iter().any(|it| it.to_canonical() == address))
            || self.snapshot.local.contains_key(key)
                && self
                    .snapshot
                    .node_addresses
                    .iter()
                    .any(|it| it.to_canonical() == address)
    }
}

/// One address of each end, of one family.
fn addresses(
    from: &End<'_>,
    to: &End<'_>,
    family: Option<Family>,
) -> Result<(Option<IpAddr>, Option<IpAddr>), String> {
    let wanted = |address: IpAddr| family.is_none_or(|family| Family::of(address) == family);
    let first = |end: &End<'_>, like: Option<IpAddr>| {
        end.addresses.iter().copied().find(|&address| {
            wanted(address) && like.is_none_or(|like| Family::of(like) == Family::of(address))
        })
    };
    let pair = match (from.addresses.is_empty(), to.addresses.is_empty()) {
        (true, true) => return Ok((None, None)),
        (true, false) => (None, first(to, None)),
        (false, true) => (first(from, None), None),
        (false, false) => {
            let common = to.addresses.iter().filter(|it| wanted(**it));
            common
                .map(|&it| (first(from, Some(it)), Some(it)))
                .find(|it| it.0.is_some())
                .unwrap_or_default()
        }
    };
    if pair == (None, None) {
        let what = family.map_or_else(
            || "no address family in common".to_owned(),
            |it| format!("no {it} in common"),
        );
        return Err(format!(
            "{} and {} have {what}: ask for other addresses",
            from.party, to.party
        ));
    }
    Ok(pair)
}
