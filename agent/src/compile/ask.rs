//! Questions about single flows, answered by the evaluator that fills the tables.

mod answer;

use std::net::IpAddr;

use ringfence_common::{Direction, cell::Verdict};

use super::{
    evaluator::{Evaluator, Subjects},
    fact::FactId,
    ruleset::{Action, Counts, Port},
    world::{is_member, peer_addresses},
};
use crate::model::{Pod, PodKey, Snapshot};

pub use answer::{Answer, Family, Judgement, Member, Membership, Party, Question};

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

/// An address that nobody has.
const UNSPECIFIED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

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
        let mut evaluator = Evaluator::new(Subjects::All, None);
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
                let ingress = self.judge(
                    &to,
                    Direction::Ingress,
                    &self.facts(&from, from_address),
                    question.port,
                );
                if self.is_own_node(&from, from_address, &to) {
                    (egress, Some(of_own_node(ingress)))
                } else {
                    (egress, ingress)
                }
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

    /// Of every running pod's and node's addresses: the zones that select it, and the networks' that it is in.
    pub fn membership(&self) -> impl Iterator<Item = Membership<'a>> + '_ {
        let pods = self.snapshot.pods.iter();
        let pods = pods
            .filter(|(_, pod)| is_member(pod))
            .flat_map(|(key, pod)| {
                let addresses = peer_addresses(pod, self.snapshot.local.get(key));
                // It will have one.
                let alone = addresses.is_empty().then_some(UNSPECIFIED);
                let addresses = addresses.into_iter().chain(alone);
                addresses.map(|address| {
                    let (selected, by_address) = self.evaluator.zones_of(pod, address);
                    Membership {
                        of: Member::Pod(key),
                        address,
                        selected,
                        by_address,
                    }
                })
            });
        let nodes = self.snapshot.nodes.iter().flat_map(|(name, node)| {
            node.addresses.iter().map(|&address| {
                let (selected, by_address) = self.evaluator.zones_of_node(address);
                Membership {
                    of: Member::Node(name),
                    address,
                    selected,
                    by_address,
                }
            })
        });
        pods.chain(nodes)
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
        let (tier, rule) = facing.decided_by(port);
        let other_ports = match cell.live {
            Verdict::Deny => facing
                .rules(tier)
                .filter(|it| it.action != Action::Deny && it.counts != Counts::Staged)
                .filter_map(|it| name(it.name))
                .collect(),
            Verdict::Allow => Vec::new(),
        };
        let verdict = |denies| {
            if denies {
                Verdict::Deny
            } else {
                Verdict::Allow
            }
        };
        Some(Judgement {
            live: cell.live,
            staged: cell.staged,
            tier,
            rule: rule.and_then(name),
            told: (cell.tier, cell.rule.and_then(name)),
            of_own_node: (
                verdict(cell.binds_own_node),
                verdict(cell.would_bind_own_node),
            ),
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

/// What is said of what the destination's own node sends: only denials that bind it stand.
fn of_own_node(ingress: Option<Judgement>) -> Judgement {
    const ALLOWED: (Verdict, Verdict) = (Verdict::Allow, Verdict::Allow);
    let Some(ingress) = ingress.filter(|it| it.of_own_node != ALLOWED) else {
        return Judgement::origin();
    };
    let (live, staged) = ingress.of_own_node;
    if live == Verdict::Allow {
        return Judgement {
            staged,
            told: ingress.told,
            ..Judgement::origin()
        };
    }
    Judgement {
        live,
        staged,
        ..ingress
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
