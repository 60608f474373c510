//! Questions asked by real sockets, all at once.

use std::time::Duration;

use anyhow::Result;
use ringfence_agent::lab::{Lab, Outcome, Probe};

use super::{
    Heard,
    fit::{Fit, transport},
};
use crate::conformance::case::Question;

/// How long to wait for an answer. What is expected to answer and does not is asked again and again: only the first
/// time is everybody waited for at once.
const PATIENCE: [Duration; 4] = [
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// Asks, and compares.
pub fn ask<'a>(lab: &Lab, fit: &Fit, questions: &[&'a Question]) -> Result<Vec<Heard<'a>>> {
    let mut heard = Vec::new();
    let mut open: Vec<&'a Question> = questions.to_vec();
    for (round, &timeout) in PATIENCE.iter().enumerate() {
        let mut again = Vec::new();
        let probes: Vec<Probe> = open
            .iter()
            .filter_map(|question| probe(fit, question, timeout))
            .collect();
        anyhow::ensure!(probes.len() == open.len(), "a question that no socket asks");
        for (question, outcome) in open.into_iter().zip(lab.probe_all(&probes)?) {
            let Some(expected) = question.expect.combined else {
                continue;
            };
            let right = if expected {
                let who = fit.actor(&question.to).to_string();
                outcome == Outcome::Answered { who }
            } else {
                outcome == Outcome::Timeout
            };
            if expected && !right && round + 1 < PATIENCE.len() {
                again.push(question);
                continue;
            }
            heard.push(Heard {
                question,
                side: "both",
                expected,
                got: expected == right,
                how: outcome.to_string(),
            });
        }
        if again.is_empty() {
            break;
        }
        open = again;
    }
    Ok(heard)
}

fn probe(fit: &Fit, question: &Question, timeout: Duration) -> Option<Probe> {
    let (protocol, port) = question.port?;
    Some(Probe {
        from: fit.actor(&question.from),
        to: question.to.address,
        port,
        protocol: transport(protocol)?,
        timeout,
    })
}
