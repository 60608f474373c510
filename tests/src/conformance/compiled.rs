//! The runner that asks the compiler: the tables that would go into the kernel, and the evaluator that explains.

use anyhow::{Context as _, Result};
use ringfence_agent::{
    compile::{self, Answer, Asker, Desired, DesiredCell, Family, Judgement},
    index,
    model::{PodKey, Snapshot},
    watch,
};
use ringfence_common::{
    Direction,
    cell::{Tier, Verdict},
};

use super::{
    case::{Case, End, Party, Question, Step},
    report::{Disagreement, Report},
    world::World,
};

/// The runner.
#[derive(Debug)]
pub struct Compiled {
    directory: tempfile::TempDir,
}

impl Compiled {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// If the temporary directory cannot be written.
    pub fn new() -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        Ok(Self { directory })
    }

    /// Asks a case.
    ///
    /// # Errors
    ///
    /// If its worlds are not what the agent reads.
    pub fn ask(&self, suite: &'static str, case: &Case, report: &mut Report) -> Result<()> {
        if let Some(reason) = &case.waits {
            *report
                .totals(suite)
                .cases_not_asked
                .entry(reason.clone())
                .or_default() += 1;
            return Ok(());
        }
        report.totals(suite).cases += 1;
        for (number, step) in case.steps.iter().enumerate() {
            report.totals(suite).steps += 1;
            let say = |question: String, side, expected, got| Disagreement {
                suite,
                case: case.id.clone(),
                step: number + 1,
                question,
                side,
                expected,
                got,
                flags: case.flags.clone(),
            };
            let read = self.read(&step.world)?;
            if let Some(what) = &case.refused {
                let totals = report.totals(suite);
                totals.cells += 1;
                totals.verdicts += 1;
                if read.is_ok() {
                    let question = format!("the API server refuses {what}");
                    report.disagree(say(question, "manifests", false, "accepted".to_owned()));
                }
                continue;
            }
            let snapshot = read
                .map_err(|found| anyhow::anyhow!(found))
                .with_context(|| {
                    format!(
                        "{suite} {} step {}: the agent refuses the world",
                        case.id,
                        number + 1
                    )
                })?;
            ask_step(step, &snapshot, &mut |question, compared| {
                report.totals(suite).cells += 1;
                report.totals(suite).verdicts += compared.len();
                for (side, expected, got, why) in compared {
                    if expected != got {
                        report.disagree(say(question.to_string(), side, expected, why));
                    }
                }
            })?;
        }
        Ok(())
    }

    /// The world as the agent reads it, or all that it has against it.
    fn read(&self, world: &World) -> Result<Result<Snapshot, String>> {
        let path = self.directory.path().join("world.yaml");
        std::fs::write(&path, world.manifests()).context("cannot write the manifests")?;
        Ok(
            index::load(&[path], watch::Options::default()).map_err(|found| {
                let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                found.join("\n")
            }),
        )
    }
}

/// Side, expected, got, and why.
type Compared = Vec<(&'static str, bool, bool, String)>;

fn ask_step(
    step: &Step,
    snapshot: &Snapshot,
    tell: &mut impl FnMut(&Question, Compared),
) -> Result<()> {
    let everywhere = compile::as_if_local(snapshot);
    let (desired, diagnostics) = compile::compile(&everywhere, &compile::Options::default());
    // Who is in an audited zone beside his own is in several.
    let others = diagnostics
        .iter()
        .filter(|it| !it.object.starts_with("SecurityZone/above-"));
    anyhow::ensure!(others.count() == 0, "{diagnostics:#?}");
    let asker = Asker::new(snapshot);
    for question in &step.questions {
        let answer = ask(&asker, question)?;
        tell(question, compare(question, &desired, &answer));
    }
    Ok(())
}

fn ask(asker: &Asker<'_>, question: &Question) -> Result<Answer> {
    asker
        .ask(&compile::Question {
            from: party(&question.from),
            to: party(&question.to),
            port: question.port,
            family: Some(Family::of(question.from.address)),
        })
        .map_err(|error| anyhow::anyhow!("{question}: {error}"))
}

/// What the evaluator says to a question, and by which rule.
pub(super) fn explain(world: &World, question: &Question) -> String {
    let explain = || -> Result<String> {
        let read = Compiled::new()?.read(world)?;
        let snapshot = read.map_err(|found| anyhow::anyhow!(found))?;
        Ok(ask(&Asker::new(&snapshot), question)?.to_string())
    };
    explain().unwrap_or_else(|error| format!("nothing ({error:#})"))
}

fn party(end: &End) -> compile::Party {
    match &end.party {
        Party::Pod(key) => compile::Party::Pod(key.clone()),
        Party::Node(_) | Party::Outside => compile::Party::Address(end.address),
    }
}

fn compare(question: &Question, desired: &Desired, answer: &Answer) -> Compared {
    let mut compared = Compared::new();
    let egress = side(
        &mut compared,
        "egress: table and evaluator",
        desired,
        table(desired, &question.from, Direction::Egress, question),
        answer.egress.as_ref(),
    );
    let ingress = side(
        &mut compared,
        "ingress: table and evaluator",
        desired,
        table(desired, &question.to, Direction::Ingress, question),
        answer.ingress.as_ref(),
    );
    let why = answer.to_string();
    if let Some(expected) = question.expect.egress {
        compared.push(("egress", expected, egress, why.clone()));
    }
    if let Some(expected) = question.expect.ingress {
        compared.push(("ingress", expected, ingress, why.clone()));
    }
    if let Some(expected) = question.expect.combined {
        compared.push(("both", expected, egress && ingress, why));
    }
    compared
}

/// What an end's table says; `None` where the packet meets no table.
fn table(
    desired: &Desired,
    at: &End,
    direction: Direction,
    question: &Question,
) -> Option<DesiredCell> {
    let Party::Pod(key) = &at.party else {
        return None;
    };
    let peer = match direction {
        Direction::Egress => &question.to,
        Direction::Ingress => &question.from,
    };
    desired.cell(&PodKey::clone(key), direction, peer.address, question.port)
}

/// The verdict of one side. That the tables hold what the evaluator says is compared too, except where the packet's
/// origin decides before any table.
fn side(
    compared: &mut Compared,
    name: &'static str,
    desired: &Desired,
    table: Option<DesiredCell>,
    judgement: Option<&Judgement>,
) -> bool {
    if judgement.is_some_and(|it| it.tier == Tier::Origin) {
        return true;
    }
    let by_table = table.is_none_or(|cell| cell.live == Verdict::Allow);
    let by_evaluator = judgement.is_none_or(|it| it.live == Verdict::Allow);
    let rule = table
        .and_then(|cell| cell.rule)
        .and_then(|rule| desired.rules.get(&rule));
    if by_table != by_evaluator {
        let why = format!("by the table's rule {rule:?}");
        compared.push((name, by_evaluator, by_table, why));
    }
    by_table
}
