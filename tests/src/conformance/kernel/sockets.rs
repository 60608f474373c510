//! Questions asked by real sockets, all at once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ringfence_agent::lab::{Lab, Outcome, Probe};

use super::{
    Heard,
    fit::{Fit, transport},
    translate::Translations,
};
use crate::conformance::case::Question;

/// How long to wait for an answer, time after time.
const PATIENCE: [Duration; 4] = [
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// Asks, and compares.
///
/// What should be answered and is not is asked again. Silence that should be is believed only if the machine kept up
/// meanwhile: all that should answer did, and the round took hardly longer than its patience.
pub fn ask<'a>(
    lab: &Lab,
    fit: &Fit,
    translations: &Translations,
    questions: &[&'a Question],
) -> Result<Vec<Heard<'a>>> {
    let mut heard = Vec::new();
    let mut open: Vec<(&'a Question, bool)> = questions
        .iter()
        .filter_map(|&question| Some((question, question.expect.combined?)))
        .collect();
    for (round, &timeout) in PATIENCE.iter().enumerate() {
        let probes: Vec<Probe> = open
            .iter()
            .map(|(question, _)| probe(fit, translations, question, timeout))
            .collect::<Result<_>>()?;
        let start = Instant::now();
        let outcomes = lab.probe_all(&probes)?;
        let in_time = start.elapsed() < timeout * 3 / 2;
        let asked: Vec<_> = open
            .into_iter()
            .zip(outcomes)
            .map(|((question, expected), outcome)| {
                let right = if expected {
                    let who = fit.actor(&question.to).to_string();
                    outcome == Outcome::Answered { who }
                } else {
                    outcome == Outcome::Timeout
                };
                (question, expected, right, outcome)
            })
            .collect();
        let kept_up = in_time
            && asked
                .iter()
                .all(|&(_, expected, right, _)| right || !expected);
        let last = round + 1 == PATIENCE.len();
        open = Vec::new();
        for (question, expected, right, outcome) in asked {
            let settled = if expected { right } else { !right || kept_up };
            if !settled && !last {
                open.push((question, expected));
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
        if open.is_empty() {
            break;
        }
    }
    Ok(heard)
}

fn probe(
    fit: &Fit,
    translations: &Translations,
    question: &Question,
    timeout: Duration,
) -> Result<Probe> {
    let (protocol, _) = question.port.context("no socket asks by ICMP")?;
    let (to, port) = translations
        .target(question)
        .context("nobody translates it")?;
    Ok(Probe {
        from: fit.actor(&question.from),
        to,
        port,
        protocol: transport(protocol).context("no socket speaks it")?,
        timeout,
    })
}
