//! Questions about flows, as offline verbs put them: the compiler's answer with the metadata firewall before it
//! and the policy's file and line behind it.

mod metadata;

use std::{collections::BTreeSet, fmt};

use ringfence_common::cell::{Tier, Verdict};
use serde::Serialize;

use crate::{
    compile::{self, Asker, Family, Judgement, Party, Question},
    model::{Diagnostic, Origin, PodKey, Policy, Protocol, Snapshot},
};

/// Protocol and port; `None` for a protocol without ports.
pub(super) type Port = Option<(Protocol, u16)>;

/// A snapshot, prepared for questions.
pub(super) struct Oracle<'a> {
    snapshot: &'a Snapshot,
    asker: Asker<'a>,
    metadata: metadata::Oracle<'a>,
    diagnostics: Vec<Diagnostic>,
}

/// One flow, judged.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ruling {
    /// `IPv4` or `IPv6`; left out if no address is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Source.
    pub from: String,
    /// Destination.
    pub to: String,
    /// `443/tcp` or `icmp`.
    pub port: String,
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// The same with everything in audit enforced.
    pub staged: &'static str,
    /// The metadata firewall, where it has a say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Side>,
    /// At the source.
    pub egress: Side,
    /// At the destination.
    pub ingress: Side,
}

/// What one side says.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Side {
    /// `allow`, `deny`, or `none` where nobody here judges.
    pub verdict: &'static str,
    /// Of the metadata firewall in audit: what it would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staged: Option<&'static str>,
    /// Why, for people.
    pub because: String,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// File and line of its policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl Ruling {
    /// True if it may begin.
    pub(super) fn is_allowed(&self) -> bool {
        self.verdict == word(Verdict::Allow)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<6} {}", self.verdict, self.because)?;
        match &self.origin {
            Some(origin) => write!(f, "  ({origin})"),
            None => Ok(()),
        }
    }
}

impl<'a> Oracle<'a> {
    /// Prepares a snapshot.
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let options = options();
        let (_, diagnostics) = compile::compile(&compile::as_if_local(snapshot), &options);
        Self {
            snapshot,
            asker: Asker::new(snapshot),
            metadata: metadata::Oracle::new(snapshot, options),
            diagnostics,
        }
    }

    /// What is wrong with objects that are in force all the same, as the agent would say it.
    pub(super) fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Families in which the two can talk; `None` alone if neither has an address yet.
    pub(super) fn families(&self, from: &Party, to: &Party) -> Vec<Option<Family>> {
        let (from, to) = (self.families_of(from), self.families_of(to));
        let common: Vec<_> = match (from.is_empty(), to.is_empty()) {
            (true, true) => return vec![None],
            (true, false) => to.into_iter().collect(),
            (false, true) => from.into_iter().collect(),
            (false, false) => from.intersection(&to).copied().collect(),
        };
        common.into_iter().map(Some).collect()
    }

    fn families_of(&self, party: &Party) -> BTreeSet<Family> {
        match party {
            Party::Address(address) => BTreeSet::from([Family::of(address.to_canonical())]),
            Party::Pod(key) => {
                let pod = self.snapshot.pods.get(key);
                pod.into_iter()
                    .flat_map(|pod| &pod.addresses)
                    .map(|address| Family::of(*address))
                    .collect()
            }
        }
    }

    /// Judges one flow.
    pub(super) fn ask(
        &self,
        from: &Party,
        to: &Party,
        port: Port,
        family: Option<Family>,
    ) -> Result<Ruling, String> {
        let question = Question {
            from: from.clone(),
            to: to.clone(),
            port,
            family,
        };
        let answer = self.asker.ask(&question)?;
        let metadata = answer
            .to_address
            .and_then(|address| self.metadata.asks(self.any_pod(from)?, address, port))
            .or_else(|| {
                let address = answer.from_address?;
                self.metadata.replies(self.any_pod(to)?, address)
            });
        let deny = word(Verdict::Deny);
        let refused = metadata.as_ref().is_some_and(|side| side.verdict == deny);
        let would_be = metadata
            .as_ref()
            .is_some_and(|side| side.staged == Some(deny));
        let with_metadata = |refused, verdict| word(if refused { Verdict::Deny } else { verdict });
        Ok(Ruling {
            family: answer
                .to_address
                .or(answer.from_address)
                .map(|address| Family::of(address).to_string()),
            from: name(from),
            to: name(to),
            port: port_text(port),
            verdict: with_metadata(refused, answer.live),
            staged: with_metadata(refused || would_be, answer.staged),
            metadata,
            egress: self.side(from, answer.egress.as_ref(), "egress"),
            ingress: self.side(to, answer.ingress.as_ref(), "ingress"),
        })
    }

    /// The same, pods of the nodes' network among them: the metadata firewall knows them by their cgroups.
    fn any_pod<'b>(&'b self, party: &'b Party) -> Option<&'b PodKey> {
        match party {
            Party::Pod(key) => Some(key),
            Party::Address(address) => self.asker.owner(*address),
        }
    }

    /// The pod that a party is, by name or by address.
    fn pod<'b>(&'b self, party: &'b Party) -> Option<&'b PodKey> {
        match party {
            // With its node's network it is the node, about which no policy is.
            Party::Pod(key) => {
                let pod = self.snapshot.pods.get(key);
                pod.is_none_or(|pod| !pod.host_network).then_some(key)
            }
            Party::Address(address) => self.asker.owner(*address),
        }
    }

    fn side(&self, party: &Party, judgement: Option<&Judgement>, direction: &str) -> Side {
        let Some(judgement) = judgement else {
            let (verdict, because) = match self.pod(party) {
                Some(key) => (
                    word(Verdict::Allow),
                    format!("no policy selects pod {key} for {direction}"),
                ),
                None => ("none", "no pod: nobody judges here".to_owned()),
            };
            return Side {
                verdict,
                staged: None,
                because,
                rule: None,
                origin: None,
            };
        };
        let mut because = match (&judgement.rule, judgement.live) {
            (Some(rule), _) => rule.clone(),
            (None, Verdict::Allow) if judgement.tier == Tier::Origin => {
                "a pod to itself, or its own node to it".to_owned()
            }
            (None, Verdict::Allow) => "nothing decides about it: allowed by default".to_owned(),
            (None, Verdict::Deny) => "denied by default".to_owned(),
        };
        if !judgement.other_ports.is_empty() {
            because += &format!("; on other ports: {}", judgement.other_ports.join(", "));
        }
        if judgement.staged != judgement.live {
            because += &format!(
                "; with everything in audit enforced: {}",
                word(judgement.staged)
            );
        }
        let origin = judgement
            .rule
            .as_deref()
            .and_then(|rule| self.policy(rule))
            .map(|policy| &policy.origin);
        Side {
            verdict: word(judgement.live),
            staged: None,
            because,
            origin: origin
                .filter(|origin| **origin != Origin::default())
                .map(ToString::to_string),
            rule: judgement.rule.clone(),
        }
    }

    /// The policy that a rule belongs to: rules are named after their policy and a part of it.
    fn policy(&self, rule: &str) -> Option<&Policy> {
        let object = rule.split_whitespace().next()?.trim_end_matches(':');
        self.snapshot
            .policies
            .values()
            .find(|policy| policy.key.to_string() == object)
    }
}

/// What an agent without flags is told: every annotation counts, where no `MetadataFirewall` says otherwise.
pub(super) fn options() -> compile::Options {
    // What is left to others is not in the snapshot.
    compile::Options::default()
}

pub(super) const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

fn name(party: &Party) -> String {
    match party {
        Party::Pod(key) => key.to_string(),
        Party::Address(address) => address.to_string(),
    }
}

pub(super) fn port_text(port: Port) -> String {
    match port {
        Some((protocol, port)) => format!("{port}/{}", protocol.as_str().to_ascii_lowercase()),
        None => "icmp".to_owned(),
    }
}
