//! Who reaches whom: every actor against every port, by both families.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use anyhow::Result;
use comfy_table::{Cell, Color, Table, presets};

use super::{
    super::{
        Lab, LabPod, LabSpec, Question, interrupt,
        probe::{Actor, Outcome, Probe},
        wire::Transport,
    },
    show::Show,
};
use crate::model::{PodKey, Protocol, Snapshot};

/// How long a way may take to open. The second of a TCP connection's attempts falls within.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// One try, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// What was tried.
    pub(super) question: Question,
    /// Who has the address that was tried.
    pub(super) whom: Actor,
    /// What became of it.
    pub(super) outcome: Outcome,
}

/// Somebody's port.
type Column = (Actor, Transport, u16);
/// A cell of the table: who, whom, on which port.
type Place<'a> = (&'a Actor, &'a Actor, Transport, u16);
/// A trial, and whether it went as it should.
type Judged<'a> = (&'a Trial, bool);

/// All of them.
pub(super) struct Matrix {
    trials: Vec<Trial>,
    rows: Vec<Actor>,
    columns: Vec<Column>,
}

impl Matrix {
    /// Tries everything: every port that a pod of the manifests has or a host outside serves, by its transport.
    pub(super) fn measure(lab: &Lab, spec: &LabSpec, snapshot: &Snapshot) -> Result<Self> {
        let rows: Vec<Actor> = spec
            .pods
            .iter()
            .map(|pod| pod.actor())
            .chain(
                spec.outside
                    .iter()
                    .filter(|host| !host.only_answers)
                    .map(|host| Actor::outside(&host.name)),
            )
            .collect();
        let of_pods = spec.pods.iter().flat_map(|pod| {
            let ports = declared(pod, snapshot).into_iter();
            ports.map(|(transport, port)| (pod.actor(), transport, port))
        });
        let outside = spec.outside.iter().flat_map(|host| {
            let served = host.serves.iter();
            served.map(|it| (Actor::outside(&host.name), it.protocol, it.port))
        });
        let columns: Vec<Column> = of_pods.chain(outside).collect();
        let mut questions = Vec::new();
        for from in &rows {
            for (whom, protocol, port) in &columns {
                // Hosts outside do not meet at the node.
                if matches!((from, whom), (Actor::Outside(_), Actor::Outside(_))) {
                    continue;
                }
                for &to in lab.addresses(whom)? {
                    let source = lab
                        .addresses(from)?
                        .iter()
                        .copied()
                        .find(|own| own.is_ipv4() == to.is_ipv4());
                    let Some(source) = source else { continue };
                    let question = Question {
                        from: from.clone(),
                        source,
                        to,
                        port: *port,
                        protocol: *protocol,
                    };
                    questions.push((question, whom.clone()));
                }
            }
        }
        let probes: Vec<Probe> = questions
            .iter()
            .map(|(question, _)| probe(question))
            .collect();
        let outcomes = lab.probe_all(&probes)?;
        interrupt::check()?;
        let trials = questions.into_iter().zip(outcomes);
        let trials = trials
            .map(|((question, whom), outcome)| Trial {
                question,
                whom,
                outcome,
            })
            .collect();
        Ok(Self {
            trials,
            rows,
            columns,
        })
    }

    /// How many were tried.
    pub(super) const fn len(&self) -> usize {
        self.trials.len()
    }

    /// What should have become of each, in the same order.
    pub(super) fn expected(
        &self,
        offline: &dyn Fn(&Question) -> Result<bool>,
    ) -> Result<Vec<bool>> {
        self.trials
            .iter()
            .map(|trial| offline(&trial.question))
            .collect()
    }

    /// What went otherwise than it should, in words.
    pub(super) fn disagreements(&self, expected: &[bool]) -> Vec<String> {
        let wrong = self
            .trials
            .iter()
            .zip(expected)
            .filter(|(trial, expected)| !trial.went(**expected));
        wrong
            .map(|(Trial { question: Question { from, to, port, protocol, .. }, whom, outcome }, expected)| {
                let should = if *expected { "allowed" } else { "denied" };
                format!("{from} to {whom} ({to}) port {port}{}: {outcome}, but the manifests say {should}", suffix(*protocol))
            })
            .collect()
    }

    /// Denials that differ as much as possible: in how they were denied, in who was kept from whom.
    pub(super) fn examples(&self, count: usize) -> Vec<&Trial> {
        let mut left: Vec<&Trial> = self
            .trials
            .iter()
            .filter(|trial| trial.is_denied())
            .collect();
        let mut chosen: Vec<&Trial> = Vec::new();
        while chosen.len() < count && !left.is_empty() {
            let novelty = |trial: &Trial| {
                let new = |same: fn(&Trial, &Trial) -> bool| {
                    usize::from(!chosen.iter().any(|other| same(other, trial)))
                };
                new(|a, b| a.outcome == b.outcome) * 4
                    + new(|a, b| a.whom == b.whom) * 2
                    + new(|a, b| a.question.from == b.question.from)
                    + new(|a, b| {
                        matches!(a.question.from, Actor::Pod { .. })
                            == matches!(b.question.from, Actor::Pod { .. })
                    })
            };
            // The first of the best, so that the same run gives the same examples.
            let best = left
                .iter()
                .enumerate()
                .max_by_key(|(index, trial)| (novelty(trial), std::cmp::Reverse(*index)));
            let Some((index, _)) = best else { break };
            chosen.push(left.remove(index));
        }
        chosen
    }

    /// For people. A cell that went otherwise than expected stands out.
    pub(super) fn table(&self, show: &Show, expected: Option<&[bool]>) -> String {
        let mut cells: BTreeMap<Place<'_>, Vec<Judged<'_>>> = BTreeMap::new();
        for (index, trial) in self.trials.iter().enumerate() {
            let right = expected
                .and_then(|expected| expected.get(index))
                .is_none_or(|expected| trial.went(*expected));
            cells
                .entry((
                    &trial.question.from,
                    &trial.whom,
                    trial.question.protocol,
                    trial.question.port,
                ))
                .or_default()
                .push((trial, right));
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if show.has_colours() {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let mut header = vec![String::new()];
        let mut last = None;
        for (whom, transport, port) in &self.columns {
            let name = match whom {
                _ if last == Some(whom) => "",
                Actor::Pod { name, .. } | Actor::Outside(name) => name.as_str(),
                Actor::Node => "node",
            };
            header.push(format!("{name}\n:{port}{}", suffix(*transport)));
            last = Some(whom);
        }
        table.set_header(header);
        for from in &self.rows {
            let row = self.columns.iter().map(|(whom, transport, port)| {
                cells
                    .get(&(from, whom, *transport, *port))
                    .map_or_else(|| Cell::new(""), |trials| cell(trials))
            });
            table.add_row([Cell::new(from)].into_iter().chain(row));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_padding((0, 1));
        }
        let legend = "✓ answered  ✗ dropped  ⊘ refused at once (EPERM)  ! otherwise; 4 and 6 where IPv4 and IPv6 differ";
        format!("{table}\n {}", show.dim(legend))
    }
}

impl Trial {
    /// True if it went as it should: an answer, and by whom it was meant for, or a denial. Anything else is neither.
    fn went(&self, allowed: bool) -> bool {
        if allowed {
            self.outcome
                == Outcome::Answered {
                    who: self.whom.to_string(),
                }
        } else {
            self.is_denied()
        }
    }

    const fn is_denied(&self) -> bool {
        matches!(self.outcome, Outcome::Timeout | Outcome::Denied)
    }

    const fn sign(&self) -> &'static str {
        match self.outcome {
            Outcome::Answered { .. } => "✓",
            Outcome::Timeout => "✗",
            Outcome::Denied => "⊘",
            Outcome::Refused | Outcome::Failed(_) => "!",
        }
    }
}

fn cell(trials: &[Judged<'_>]) -> Cell {
    let mut signs = trials.iter().map(|(trial, _)| trial.sign());
    let first = signs.next().unwrap_or_default();
    let text = if signs.all(|sign| sign == first) {
        first.to_owned()
    } else {
        trials
            .iter()
            .map(|(trial, _)| format!("{}{}", family(trial.question.to), trial.sign()))
            .collect()
    };
    let colour = if trials.iter().any(|(_, right)| !right) {
        Color::Red
    } else if trials.iter().all(|(trial, _)| trial.outcome.is_answered()) {
        Color::Green
    } else {
        Color::Yellow
    };
    Cell::new(text).fg(colour)
}

/// The ports that the manifests give a pod, where a lab has their transport.
fn declared(pod: &LabPod, snapshot: &Snapshot) -> BTreeSet<(Transport, u16)> {
    let key = PodKey {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
    };
    let ports = snapshot
        .pods
        .get(&key)
        .into_iter()
        .flat_map(|it| &*it.ports);
    ports
        .filter_map(|it| match it.protocol {
            Protocol::Tcp => Some((Transport::Tcp, it.port)),
            Protocol::Udp => Some((Transport::Udp, it.port)),
            Protocol::Sctp => None,
        })
        .collect()
}

/// What is said behind a port's number; TCP goes without.
pub(super) const fn suffix(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "",
        Transport::Udp => "/udp",
    }
}

const fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "4" } else { "6" }
}

/// The probe that answers a question.
pub(super) fn probe(question: &Question) -> Probe {
    let Question {
        from,
        source: _,
        to,
        port,
        protocol,
    } = question;
    Probe {
        from: from.clone(),
        to: *to,
        port: *port,
        protocol: *protocol,
        timeout: TIMEOUT,
    }
}
