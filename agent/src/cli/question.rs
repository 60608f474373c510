//! Questions about flows, as offline verbs put them: the compiler's answer with the metadata firewall before it
//! and the policy's file and line behind it.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use ringfence_common::{
    cell::Verdict,
    metadata::{MetadataWord, embedded, mapped},
};
use serde::Serialize;

use crate::{
    compile::{self, AnnotatedPods, Asker, Family, Judgement, Party, Question},
    metadata::{self, MetadataEndpoint},
    model::{Diagnostic, Origin, PodKey, Policy, Protocol, Snapshot},
};

/// Protocol and port; `None` for a protocol without ports.
pub(super) type Port = Option<(Protocol, u16)>;

/// A snapshot, prepared for questions.
pub(super) struct Oracle<'a> {
    snapshot: &'a Snapshot,
    asker: Asker<'a>,
    granted: BTreeSet<PodKey>,
    metadata: Vec<MetadataEndpoint>,
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
        // Every annotation counts, as without flags of the agent.
        let options = compile::Options {
            annotated_pods: AnnotatedPods::All,
            iam_role_annotation: false,
            host: None,
            // What is left to others is not in the snapshot.
            network_policy: compile::NetworkPolicy::Ringfence,
        };
        let (desired, diagnostics) = compile::compile(&compile::as_if_local(snapshot), &options);
        let granted = desired
            .endpoints
            .into_iter()
            .filter(|(_, endpoint)| endpoint.metadata_granted);
        Self {
            snapshot,
            asker: Asker::new(snapshot),
            granted: granted.map(|(key, _)| key.clone()).collect(),
            metadata: metadata::catalogue(),
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
            .and_then(|address| self.metadata(from, address, port))
            .or_else(|| {
                answer
                    .from_address
                    .and_then(|address| self.replies(address, to))
            });
        let refused = metadata
            .as_ref()
            .is_some_and(|side| side.verdict == word(Verdict::Deny));
        let with_metadata = |verdict| word(if refused { Verdict::Deny } else { verdict });
        Ok(Ruling {
            family: answer
                .to_address
                .or(answer.from_address)
                .map(|address| Family::of(address).to_string()),
            from: name(from),
            to: name(to),
            port: port_text(port),
            verdict: with_metadata(answer.live),
            staged: with_metadata(answer.staged),
            metadata,
            egress: self.side(from, answer.egress.as_ref(), "egress"),
            ingress: self.side(to, answer.ingress.as_ref(), "ingress"),
        })
    }

    /// The metadata firewall's say about what a pod sends to an address: before any policy.
    fn metadata(&self, from: &Party, to: IpAddr, port: Port) -> Option<Side> {
        let endpoint = self.metadata_endpoint(to)?;
        let key = self.pod(from)?;
        let opening = MetadataWord::new(&[0; 16], 0, endpoint.open, 0);
        let open =
            port.is_some_and(|(protocol, port)| opening.is_open(protocol.number(), Some(port)));
        let (verdict, because) = if open {
            (
                Verdict::Allow,
                format!("{to} also serves DNS or NTP, which stay open"),
            )
        } else if self.granted.contains(key) {
            (
                Verdict::Allow,
                format!(
                    "pod {key} has the annotation {}",
                    metadata::ACCESS_ANNOTATION
                ),
            )
        } else {
            (
                Verdict::Deny,
                format!(
                    "{to} is a metadata service ({}), and pod {key} has no grant",
                    endpoint.clouds
                ),
            )
        };
        Some(Side {
            verdict: word(verdict),
            because,
            rule: None,
            origin: None,
        })
    }

    /// Its say about what a metadata service opens: it stands before connection tracking, so it stops the replies.
    fn replies(&self, from: IpAddr, to: &Party) -> Option<Side> {
        self.metadata_endpoint(from)?;
        let key = self.pod(to)?;
        if self.granted.contains(key) {
            return None;
        }
        let because = format!(
            "pod {key} has no grant, so its replies to the metadata service {from} are denied"
        );
        Some(Side {
            verdict: word(Verdict::Deny),
            because,
            rule: None,
            origin: None,
        })
    }

    fn metadata_endpoint(&self, address: IpAddr) -> Option<&MetadataEndpoint> {
        let bytes = |address: IpAddr| match address {
            IpAddr::V4(address) => mapped(&address.octets()),
            IpAddr::V6(address) => address.octets(),
        };
        // As the kernel sees it: an IPv4 address inside an IPv6 one is that address.
        let address = embedded(&bytes(address)).unwrap_or_else(|| bytes(address));
        self.metadata
            .iter()
            .find(|endpoint| bytes(endpoint.address) == address)
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
                because,
                rule: None,
                origin: None,
            };
        };
        let mut because = match (&judgement.rule, judgement.live) {
            (Some(rule), _) => rule.clone(),
            (None, Verdict::Allow) => "a pod to itself, or its own node to it".to_owned(),
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
