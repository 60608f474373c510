//! Remembers recent flows and hands new ones to whoever follows.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::flow::{Flow, FlowEnd, FlowVerdict};

/// Flows that are remembered, and that a follower may be behind.
const REMEMBERED: usize = 4096;

/// Recent flows, oldest first.
#[derive(Debug)]
pub struct Recorder {
    recent: Mutex<VecDeque<Arc<Flow>>>,
    news: broadcast::Sender<Arc<Flow>>,
    missed: AtomicU64,
}

/// What is remembered, and what comes after.
#[derive(Debug)]
pub struct Subscription {
    /// What is remembered, oldest first.
    pub recent: Vec<Arc<Flow>>,
    /// What comes after, nothing twice and nothing left out.
    pub news: broadcast::Receiver<Arc<Flow>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            recent: Mutex::new(VecDeque::with_capacity(REMEMBERED)),
            news: broadcast::Sender::new(REMEMBERED),
            missed: AtomicU64::new(0),
        }
    }
}

impl Recorder {
    /// Takes a flow in.
    pub fn record(&self, flow: Flow) {
        let flow = Arc::new(flow);
        let mut recent = self.recent();
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(&flow));
        // Under the lock, so that a new subscription gets the flow either way and never both; nobody may be following.
        let _: Result<usize, broadcast::error::SendError<Arc<Flow>>> = self.news.send(flow);
    }

    /// The remembered flows for which the query holds, at most its `last`, and a way to those to come.
    #[must_use]
    pub fn subscribe(&self, query: &Query) -> Subscription {
        let recent = self.recent();
        let news = self.news.subscribe();
        let mut chosen: Vec<Arc<Flow>> = recent
            .iter()
            .rev()
            .filter(|flow| query.matches(flow))
            .take(query.last.unwrap_or(usize::MAX))
            .cloned()
            .collect();
        chosen.reverse();
        Subscription {
            recent: chosen,
            news,
        }
    }

    /// Counts flows that a follower was too slow for.
    pub fn missed(&self, flows: u64) {
        self.missed.fetch_add(flows, Ordering::Relaxed);
    }

    /// Flows that followers were too slow for.
    #[must_use]
    pub fn missed_in_total(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Arc<Flow>>> {
        // Whoever panicked with the lock left a queue of whole flows.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which flows, as in the query string of `/v1/events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// Those to come too.
    #[serde(default)]
    pub follow: bool,
    /// Verdicts, separated by commas: `allow`, `deny`, `would-deny`, `would-allow`; empty: all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub verdict: String,
    /// Source: `namespace/pod`, address or network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Destination port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// At most so many of those remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<usize>,
}

impl Query {
    /// What is wrong with it, if anything: a filter that can never match must not look like a quiet network.
    ///
    /// # Errors
    ///
    /// The field and what it allows.
    pub fn check(&self) -> Result<(), String> {
        if let Some(word) = self.verdicts().find(|word| verdicts_of(word).is_none()) {
            return Err(format!(
                "verdict: {word:?} is none of allow, deny, would-deny, would-allow"
            ));
        }
        for (field, end) in [("from", &self.from), ("to", &self.to)] {
            if let Some(end) = end
                && parse_end(end).is_none()
            {
                return Err(format!(
                    "{field}: {end:?} is no NAMESPACE/NAME, address or network"
                ));
            }
        }
        Ok(())
    }

    /// True if the flow is wanted.
    #[must_use]
    pub fn matches(&self, flow: &Flow) -> bool {
        let verdict_fits = self.verdict.is_empty()
            || self
                .verdicts()
                .filter_map(verdicts_of)
                .flatten()
                .any(|verdict| *verdict == flow.verdict);
        verdict_fits
            && self
                .from
                .as_deref()
                .is_none_or(|end| end_matches(end, &flow.src))
            && self
                .to
                .as_deref()
                .is_none_or(|end| end_matches(end, &flow.dst))
            && self.port.is_none_or(|port| flow.dst.port == Some(port))
    }

    fn verdicts(&self) -> impl Iterator<Item = &str> {
        self.verdict.split(',').filter(|word| !word.is_empty())
    }
}

/// What a word stands for: `allow` and `deny` are about what happened, whatever is in audit.
fn verdicts_of(word: &str) -> Option<&'static [FlowVerdict]> {
    Some(match word {
        "allow" => &[FlowVerdict::Allowed, FlowVerdict::WouldDeny],
        "deny" => &[FlowVerdict::Denied, FlowVerdict::WouldAllow],
        "would-deny" => &[FlowVerdict::WouldDeny],
        "would-allow" => &[FlowVerdict::WouldAllow],
        _ => return None,
    })
}

enum End<'a> {
    Pod(&'a str, &'a str),
    Service(&'a str),
    Network(IpNet),
}

fn parse_end(text: &str) -> Option<End<'_>> {
    let plain = text.strip_prefix("ip/").unwrap_or(text);
    if let Ok(address) = plain.parse::<IpAddr>() {
        return Some(End::Network(address.into()));
    }
    if let Ok(network) = plain.parse::<IpNet>() {
        return Some(End::Network(network));
    }
    if let Some(service) = text.strip_prefix("svc/") {
        return Some(End::Service(service));
    }
    let (namespace, pod) = text.strip_prefix("pod/").unwrap_or(text).split_once('/')?;
    (!namespace.is_empty() && !pod.is_empty() && !pod.contains('/'))
        .then_some(End::Pod(namespace, pod))
}

fn end_matches(wanted: &str, end: &FlowEnd) -> bool {
    match parse_end(wanted) {
        Some(End::Pod(namespace, pod)) => {
            end.namespace.as_deref() == Some(namespace) && end.pod.as_deref() == Some(pod)
        }
        Some(End::Service(service)) => end.service.as_deref() == Some(service),
        Some(End::Network(network)) => end.ip.is_some_and(|ip| network.contains(&ip)),
        None => false,
    }
}
