//! Columns of the matrix: which layers stand, each in a lab of its own.

use std::{
    fmt,
    str::FromStr,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{
    Options,
    matrix::{Cell, Done, Matrix},
    stage::{Stage, Tried},
};

/// The layers, as the agent calls them.
pub const LAYERS: [&str; 5] = ["from-pod", "to-host", "lo", "socket-packets", "sockets"];

/// How long an attack that nothing stops may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(3);
/// How often it is tried.
const TRIES: usize = 3;
/// How long after the fence a packet may still be under way: in a stand-in's thread, or in another processor's queue.
const GRACE: Duration = Duration::from_millis(80);

/// Which layers stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// No agent at all.
    None,
    /// One layer of the metadata firewall, beside everything that is no part of it (anti-spoofing, encapsulation).
    Only(&'static str),
    /// All, as the agent runs by default.
    All,
}

impl Column {
    /// All columns of a word on the command line.
    ///
    /// # Errors
    ///
    /// If the word names none.
    pub fn read(word: &str) -> Result<Vec<Self>> {
        Ok(match word {
            "each" => [Self::None]
                .into_iter()
                .chain(LAYERS.map(Self::Only))
                .chain([Self::All])
                .collect(),
            _ => vec![word.parse()?],
        })
    }
}

impl FromStr for Column {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        Ok(match word {
            "none" => Self::None,
            "all" => Self::All,
            _ => match LAYERS.iter().find(|layer| **layer == word) {
                Some(layer) => Self::Only(layer),
                None => bail!(
                    "no layer {word:?}; there are all, none, each (of these alone, and all and none): {}",
                    LAYERS.join(", ")
                ),
            },
        })
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Only(layer) => f.pad(layer),
            Self::All => f.pad("all"),
        }
    }
}

/// Runs all columns.
pub fn run(options: &Options, told: &(impl Fn(&str) + Sync)) -> Result<Matrix> {
    let waiting = Mutex::new(options.columns.iter().rev().copied().collect::<Vec<_>>());
    let done = Mutex::new(Vec::new());
    let next = || waiting.lock().ok()?.pop();
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..options.at_once.max(1))
            .map(|_| {
                scope.spawn(|| {
                    while let Some(column) = next() {
                        let begin = Instant::now();
                        let result =
                            one(options, column).with_context(|| format!("the column {column}"))?;
                        told(&format!(
                            "{column}: {} attempts, {:.0} s",
                            result.0.len(),
                            begin.elapsed().as_secs_f64()
                        ));
                        done.lock()
                            .map_err(|error| anyhow!("{error}"))?
                            .push((column, result));
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| Err(anyhow!("{}", said(panic.as_ref()))))
            })
            .collect()
    });
    for result in results {
        result?;
    }
    let mut done = done.into_inner().map_err(|error| anyhow!("{error}"))?;
    done.sort_by_key(|(column, _)| options.columns.iter().position(|asked| asked == column));
    Ok(Matrix::new(options.techniques().collect(), done))
}

/// The message of a panic.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}

/// Runs all techniques in one lab.
fn one(options: &Options, column: Column) -> Result<Done> {
    let mut stage = Stage::up(options, column)?;
    let mut controls = stage.controls("before the attacks")?;
    let mut cells = Vec::new();
    for technique in options.techniques() {
        for &family in technique.families {
            let said = || format!("{} ({family:?})", technique.name);
            let before = stage.counters();
            let mut tried = Tried::default();
            (technique.run)(&mut stage, family, &mut tried).with_context(said)?;
            stage.judge.fence(&stage.place.node()).with_context(said)?;
            if column == Column::None {
                for _ in 1..TRIES {
                    if tried.awaited(&stage.judge, ARRIVAL) || tried.is_unsupported() {
                        break;
                    }
                    tried = Tried::default();
                    (technique.run)(&mut stage, family, &mut tried).with_context(said)?;
                }
                tried.awaited(&stage.judge, ARRIVAL);
            } else {
                thread::sleep(GRACE);
            }
            let by = stage.counted_since(&before);
            cells.push(Cell::new(column, technique.name, family, tried, by));
        }
    }
    controls.extend(stage.controls("after the attacks")?);
    // What arrived late counts too.
    thread::sleep(GRACE);
    for cell in &mut cells {
        cell.judged(&stage.judge);
    }
    stage.down()?;
    Ok((cells, controls))
}
