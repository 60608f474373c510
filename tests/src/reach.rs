//! Who gets through: what must be answered is waited for, what must not be is listened for a short while.
//!
//! **Invariant.** An answer that is expected has [`PATIENT`] to come, since the machine may be busy; only silence is
//! taken after [`SHORT`].

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use ringfence_agent::lab::{
    Actor, Lab, Outcome, Probe,
    wire::{StreamReport, Transport},
};

use crate::lab::patiently;

/// For what must be answered.
pub const PATIENT: Duration = Duration::from_secs(10);
/// For what must not be: each such probe takes this long.
pub const SHORT: Duration = Duration::from_millis(400);

/// How many messages of a stream go unanswered before it counts as still: a sender that is not scheduled asks nothing.
const UNANSWERED: u64 = 150;
/// How long without an answer counts as still if nothing can be sent either (a full buffer, an ended connection).
const SILENCE: Duration = Duration::from_secs(3);

/// True if these addresses answer by both transports; false if none does by any, which takes [`PATIENT`].
///
/// # Panics
///
/// If some do and some do not.
#[must_use]
pub fn reaches(lab: &Lab, from: &Actor, to: &[IpAddr], port: u16) -> bool {
    let outcomes = outcomes(lab, from, to, port, PATIENT);
    let answered = count(&outcomes);
    assert!(
        answered == 0 || answered == outcomes.len(),
        "{from} -> {to:?}:{port}: {outcomes:?}"
    );
    answered > 0
}

/// True if none of these addresses answers within [`SHORT`].
///
/// # Panics
///
/// If the lab does not obey.
#[must_use]
pub fn is_closed(lab: &Lab, from: &Actor, to: &[IpAddr], port: u16) -> bool {
    count(&outcomes(lab, from, to, port, SHORT)) == 0
}

/// True if it fares as it should: patient with what should be answered only.
///
/// # Panics
///
/// As [`reaches`].
#[must_use]
pub fn fares(lab: &Lab, from: &Actor, to: &[IpAddr], port: u16, allowed: bool) -> bool {
    if allowed {
        reaches(lab, from, to, port)
    } else {
        is_closed(lab, from, to, port)
    }
}

fn outcomes(lab: &Lab, from: &Actor, to: &[IpAddr], port: u16, timeout: Duration) -> Vec<Outcome> {
    let probe = |(to, protocol)| Probe {
        from: from.clone(),
        to,
        port,
        protocol,
        timeout,
    };
    let probes: Vec<Probe> = to
        .iter()
        .flat_map(|&to| Transport::ALL.map(|protocol| (to, protocol)))
        .map(probe)
        .collect();
    lab.probe_all(&probes).expect("the lab obeys")
}

fn count(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|it| it.is_answered()).count()
}

/// Waits until a stream that had answers gets none any more, although it goes on asking.
///
/// # Panics
///
/// If it goes on being answered, or the lab does not obey.
pub fn stands_still(lab: &Lab, id: &str, from: &Actor) {
    let report = || lab.stream_report(from, id).expect("the lab obeys");
    let mut quiet: (StreamReport, Instant) = (report(), Instant::now());
    patiently(id, || {
        let now = report();
        let (since, begin) = &quiet;
        if now.answered != since.answered || now.answered == 0 {
            quiet = (now, Instant::now());
            return None;
        }
        (now.sent >= since.sent + UNANSWERED || begin.elapsed() >= SILENCE).then_some(())
    });
}
