//! The runner that asks the kernel: pods of network namespaces with the addresses that the case gives them, the real
//! agent on manifests that are edited from step to step, real sockets.
//!
//! What no socket of this kernel speaks (SCTP) or the lab has no client for (ICMP) is asked by injected packets, on the
//! very programs that are attached: see [`inject`].
//!
//! **Invariants.**
//! * Nobody is probed before the step is in force: a marker pod gets an address of its own in every step, and the
//!   agent must report it as in force.
//! * A denial is silence. An answer, a refusal, an error where silence is expected is a disagreement.
//! * What should be allowed is tried again, patiently, before it counts as denied: a busy machine is no verdict.

mod bed;
mod fit;
mod inject;
mod sockets;
mod translate;

use anyhow::{Context as _, Result};
use ringfence_agent::model::Protocol;

use super::{
    case::{Case, Question, Way},
    compiled::explain,
    report::{Disagreement, Report},
};
use bed::Bed;
use fit::Fit;

/// The runner. It keeps its pods for the next case, if that has the same ones.
#[derive(Default)]
pub struct Kernel {
    bed: Option<(Fit, Bed)>,
    /// Labs that were made.
    pub labs: usize,
}

/// How a question is asked.
enum Means {
    Sockets,
    Injected,
    Not(&'static str),
}

impl Kernel {
    /// Asks cases of a suite. Those with the same pods are asked one after the other, whatever their order.
    ///
    /// # Errors
    ///
    /// If the lab or the agent fails.
    pub fn ask(
        &mut self,
        suite: &'static str,
        cases: &[Case],
        report: &mut Report,
        mut progress: impl FnMut(&Case),
    ) -> Result<()> {
        let mut fits: Vec<(Fit, &Case)> = Vec::new();
        for case in cases {
            let refused = case
                .refused
                .as_ref()
                .map(|what| format!("the API server refuses {what}; asked of the compiler"));
            let fit = match case.waits.clone().or(refused) {
                Some(reason) => Err(reason),
                None => Fit::of(case),
            };
            match fit {
                Ok(fit) => fits.push((fit, case)),
                Err(reason) => {
                    let totals = report.totals(suite);
                    *totals.cases_not_asked.entry(reason).or_default() += 1;
                }
            }
        }
        fits.sort_by(|a, b| a.0.cmp(&b.0));
        for (fit, case) in fits {
            progress(case);
            self.ask_case(suite, fit, case, report)
                .with_context(|| format!("{suite} {}", case.id))?;
        }
        Ok(())
    }

    fn ask_case(
        &mut self,
        suite: &'static str,
        fit: Fit,
        case: &Case,
        report: &mut Report,
    ) -> Result<()> {
        let bed = match self.bed.take() {
            Some((of, bed)) if of == fit => bed,
            other => {
                // The old lab goes before the new one comes.
                drop(other);
                self.labs += 1;
                Bed::make(&fit)?
            }
        };
        let (_, bed) = self.bed.insert((fit, bed));
        report.totals(suite).cases += 1;
        for (number, step) in case.steps.iter().enumerate() {
            bed.apply(&step.world)
                .with_context(|| format!("step {}", number + 1))?;
            let (mut by_sockets, mut injected) = (Vec::new(), Vec::new());
            let totals = report.totals(suite);
            totals.steps += 1;
            for question in &step.questions {
                match means(question) {
                    Means::Sockets => by_sockets.push(question),
                    Means::Injected => injected.push(question),
                    Means::Not(reason) => {
                        *totals.cells_not_asked.entry(reason.to_owned()).or_default() += 1;
                    }
                }
            }
            totals.cells += by_sockets.len() + injected.len();
            totals.injected += injected.len();
            let mut found = bed.sockets(&by_sockets)?;
            found.extend(bed.inject(&injected)?);
            for answer in found {
                report.totals(suite).verdicts += 1;
                if answer.expected == answer.got {
                    continue;
                }
                report.disagree(Disagreement {
                    suite,
                    case: case.id.clone(),
                    step: number + 1,
                    question: answer.question.to_string(),
                    side: answer.side,
                    expected: answer.expected,
                    got: format!(
                        "{}{}; the evaluator says: {}",
                        answer.how,
                        bed.last_denial(answer.question),
                        explain(&step.world, answer.question)
                    ),
                    flags: case.flags.clone(),
                });
            }
        }
        Ok(())
    }
}

/// What the kernel said.
struct Heard<'a> {
    question: &'a Question,
    side: &'static str,
    expected: bool,
    got: bool,
    how: String,
}

fn means(question: &Question) -> Means {
    match (&question.way, question.port) {
        (Way::Direct, None | Some((Protocol::Sctp, _))) => Means::Injected,
        (Way::Direct, Some(_)) | (_, Some((Protocol::Tcp, _))) => Means::Sockets,
        _ => Means::Not("by a service, and not by TCP"),
    }
}
