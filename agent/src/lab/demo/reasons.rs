//! Why a connection was denied, in the agent's words.

use std::{
    cmp::Reverse,
    fmt::{self, Write as _},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{
    agent::Agent,
    matrix::{Trial, probe, suffix},
};
use crate::lab::{Actor, Lab, interrupt};

/// How long an event may take from the kernel to the agent's memory.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at something that gives no event.
const PAUSE: Duration = Duration::from_millis(20);

/// The reason of the metadata firewall's denials.
const METADATA: &str = "metadata";

/// What is read of a flow, one JSON object in each line.
#[derive(Debug, Deserialize)]
struct Flow {
    direction: String,
    hook: String,
    reason: String,
    rule: Option<Rule>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Rule {
    name: String,
}

/// A denial and who decided it.
pub(super) struct Reason {
    flow: Flow,
    /// Who was kept from whom.
    what: String,
}

/// Tries each of these again and asks the agent why it is denied.
pub(super) fn explain(lab: &Lab, agent: &Agent, denials: &[&Trial]) -> Result<Vec<Reason>> {
    let probes: Vec<_> = denials.iter().map(|trial| probe(&trial.question)).collect();
    // Anew: events are rate-limited, and all ways at once are more than the limit.
    lab.probe_all(&probes)?;
    denials
        .iter()
        .map(|trial| explain_one(agent, trial))
        .collect()
}

/// Those that differ most: in where they were decided first, then in the rule.
pub(super) fn choose(mut reasons: Vec<Reason>, count: usize) -> Vec<Reason> {
    let mut chosen: Vec<Reason> = Vec::new();
    while chosen.len() < count && !reasons.is_empty() {
        let novelty = |reason: &Reason| {
            let new = |same: &dyn Fn(&Flow) -> bool| !chosen.iter().any(|other| same(&other.flow));
            (
                new(&|flow| flow.hook == reason.flow.hook),
                new(&|flow| flow.rule == reason.flow.rule),
            )
        };
        // The first of the best.
        let best = reasons
            .iter()
            .enumerate()
            .max_by_key(|(index, reason)| (novelty(reason), Reverse(*index)));
        let Some((index, _)) = best else { break };
        chosen.push(reasons.remove(index));
    }
    chosen
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            flow:
                Flow {
                    direction,
                    hook,
                    reason,
                    rule,
                },
            what,
        } = self;
        write!(f, "{what}\n      {direction}, at {hook}: ")?;
        match rule {
            Some(rule) => f.write_str(&rule.name),
            // No rule of anybody's decides there.
            None if reason == METADATA => f.write_str("the metadata firewall, for want of a grant"),
            None => f.write_str(reason),
        }
    }
}

fn explain_one(agent: &Agent, trial: &Trial) -> Result<Reason> {
    let Trial {
        question,
        whom,
        outcome,
    } = trial;
    let deadline = Instant::now() + LIMIT;
    let flow = loop {
        interrupt::check()?;
        if let Some(flow) = recent_denials(agent, trial)?.pop() {
            break flow;
        }
        if Instant::now() > deadline {
            bail!(
                "the agent has no event of {} being kept from {whom}",
                question.from
            );
        }
        thread::sleep(PAUSE);
    };
    let what = format!(
        "{} -> {whom} ({}) port {}{}: {outcome}",
        question.from,
        question.to,
        question.port,
        suffix(question.protocol)
    );
    Ok(Reason { flow, what })
}

/// The denials that the agent remembers of such a connection, the last one last.
fn recent_denials(agent: &Agent, trial: &Trial) -> Result<Vec<Flow>> {
    let from = match &trial.question.from {
        // A pod's name: where a socket is denied before it has an address, there is no other.
        pod @ Actor::Pod { .. } => pod.to_string(),
        Actor::Outside(_) | Actor::Node => trial.question.source.to_string(),
    };
    let path = format!(
        "/v1/events?verdict=deny&from={}&to={}&port={}",
        encoded(&from),
        encoded(&trial.question.to.to_string()),
        trial.question.port
    );
    let (status, body) = agent.get(&path)?;
    if status != 200 {
        bail!("the agent refuses {path}: {status}: {}", body.trim());
    }
    body.lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a flow: {line}")))
        .collect()
}

/// A value in a query string.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _: fmt::Result = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn what_has_a_meaning_in_a_query_is_encoded() {
        assert_eq!(encoded("db/mysql-0"), "db%2Fmysql-0");
        assert_eq!(encoded("fd00::1"), "fd00%3A%3A1");
    }
}
