//! Looks whether the kernel still holds what this agent believes, and puts right what does not.
//!
//! A *round* begins on a slow timer and goes on in steps, a few hundred elements at a time, between which edits have their turn.
//! A round may be older than the latest edit: what differs is asked about again before it counts.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use aya::maps::MapData;

use super::{
    KernelError,
    held::{Found, KEYED, removal},
    maps::Maps,
    pins::{Pins, remove},
    sys,
};
use crate::diff::{Expected, Op, Planner};

/// Elements that one step looks at.
const STEP: usize = 512;

/// What was not as it should be; how often it was.
pub type Drift = BTreeMap<&'static str, u64>;

/// The kinds of drift.
pub const KINDS: [&str; 5] = ["attachment", "pin", "missing", "changed", "unknown"];

/// Goes round and round.
pub(super) struct Auditor {
    interval: Duration,
    due: Instant,
    /// Our own way to every pinned map.
    pinned: Vec<(&'static str, MapData)>,
    round: Option<Round>,
    drift: Drift,
}

struct Round {
    expected: Box<dyn Iterator<Item = Expected> + Send>,
    /// Place in [`KEYED`], and the last key that was seen there.
    keyed: usize,
    after: Option<Vec<u8>>,
    /// Keys seen in this map: somebody who keeps removing them must not keep us here.
    seen: usize,
}

/// What is next.
pub(super) enum Turn {
    /// Nothing yet.
    Rest,
    /// A round begins: it is time to look at attachments.
    Begin,
    /// A step of one.
    Step,
}

impl Auditor {
    /// Opens every pin.
    ///
    /// # Errors
    ///
    /// If one cannot be opened.
    pub(super) fn new(
        pins: &Pins,
        maps: impl Iterator<Item = &'static str>,
        interval: Duration,
    ) -> Result<Self, KernelError> {
        let open = |name| {
            let map = MapData::from_pin(pins.map(name)).map_err(|error| {
                KernelError::Other(format!("cannot open {}: {error}", pins.map(name).display()))
            })?;
            Ok((name, map))
        };
        Ok(Self {
            interval,
            due: Instant::now() + interval,
            pinned: maps.map(open).collect::<Result<_, KernelError>>()?,
            round: None,
            drift: KINDS.into_iter().map(|kind| (kind, 0)).collect(),
        })
    }

    /// What was found since the agent started.
    pub(super) const fn drift(&self) -> &Drift {
        &self.drift
    }

    pub(super) fn turn(&self) -> Turn {
        match self.round {
            Some(_) => Turn::Step,
            None if Instant::now() >= self.due => Turn::Begin,
            None => Turn::Rest,
        }
    }

    /// Begins a round; only if it is known how things lie.
    pub(super) fn begin(&mut self, planner: &Planner) {
        self.due = Instant::now() + self.interval;
        self.round = planner.expected().map(|expected| Round {
            expected,
            keyed: 0,
            after: None,
            seen: 0,
        });
    }

    /// Counts and tells.
    pub(super) fn found(&mut self, kind: &'static str, what: &str) {
        *self.drift.entry(kind).or_default() += 1;
        tracing::warn!(
            kind,
            what,
            "the kernel did not hold what it should; repaired"
        );
    }

    /// Pins again the maps whose pins are gone or are somebody else's.
    ///
    /// # Errors
    ///
    /// If a pin cannot be looked at or made.
    pub(super) fn pins(&mut self, pins: &Pins) -> Result<(), KernelError> {
        let mut gone = Vec::new();
        for (name, map) in &self.pinned {
            let path = pins.map(name);
            let trouble = |error: &dyn std::fmt::Display| {
                KernelError::Other(format!("the pin {}: {error}", path.display()))
            };
            let ours = map.info().map_err(|error| trouble(&error))?.id();
            let there = MapData::from_pin(&path).and_then(|map| map.info());
            if there.is_ok_and(|there| there.id() == ours) {
                continue;
            }
            remove(&path)?;
            map.pin(&path).map_err(|error| trouble(&error))?;
            gone.push(path.display().to_string());
        }
        for path in gone {
            self.found("pin", &path);
        }
        Ok(())
    }

    /// Looks at the next elements.
    ///
    /// # Errors
    ///
    /// If a map cannot be read or written; the round is over then.
    pub(super) fn step(&mut self, planner: &Planner, maps: &mut Maps) -> Result<(), KernelError> {
        let Some(mut round) = self.round.take() else {
            return Ok(());
        };
        let pieces: Vec<Expected> = round.expected.by_ref().take(STEP).collect();
        if !pieces.is_empty() {
            for piece in pieces {
                let kind = match maps.find(&piece.op)? {
                    Found::Missing => "missing",
                    Found::Changed => "changed",
                    Found::Same => continue,
                };
                if planner.still_expects(&piece) {
                    maps.execute(&piece.op)?;
                    self.found(kind, &told(&piece.op));
                }
            }
            self.round = Some(round);
            return Ok(());
        }
        if self.unknown(&mut round, planner, maps)? {
            self.round = Some(round);
        }
        Ok(())
    }

    /// Looks for what nobody has put there; false after the last map.
    fn unknown(
        &mut self,
        round: &mut Round,
        planner: &Planner,
        maps: &mut Maps,
    ) -> Result<bool, KernelError> {
        let Some(&(name, bytes)) = KEYED.get(round.keyed) else {
            return Ok(false);
        };
        let map = self.pinned.iter().find(|(known, _)| *known == name);
        let mut strange = Vec::new();
        let mut over = true;
        if let Some((_, map)) = map {
            let trouble = |error: &dyn std::fmt::Display| {
                KernelError::Other(format!("cannot read the map {name}: {error}"))
            };
            let limit = map.info().map_err(|error| trouble(&error))?.max_entries() as usize;
            for _ in 0..STEP {
                let next = sys::next_key(map.fd(), bytes, round.after.as_deref())
                    .map_err(|error| trouble(&error))?;
                over = next.is_none() || round.seen > 2 * limit;
                if over {
                    break;
                }
                strange.extend(
                    next.as_deref()
                        .and_then(|key| removal(name, key))
                        .filter(|op| !planner.still_needs(op)),
                );
                round.after = next;
                round.seen += 1;
            }
        }
        if over {
            (round.keyed, round.after, round.seen) = (round.keyed + 1, None, 0);
        }
        for op in strange {
            maps.execute(&op)?;
            self.found("unknown", &told(&op));
        }
        Ok(true)
    }
}

/// An operation in few words: content is not for logs.
fn told(op: &Op) -> String {
    match op {
        Op::Pages(at, pages) => format!("{} pages from {at} on", pages.len()),
        Op::Cells(at, cells) => format!("{} cells from {at} on", cells.len()),
        Op::Identity(id, _) => format!("identity {id}"),
        Op::Table(id, _) => format!("table {id}"),
        Op::Record(slot, _) => format!("record {slot}"),
        other => format!("{other:?}"),
    }
}
