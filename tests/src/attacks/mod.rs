//! The attack suite: every known way of a pod to the cloud's metadata service, tried against every layer of the firewall
//! alone, against all of them, and against none.
//!
//! ```text
//! column (layers) ──► Stage: place + agent + judge ──► technique × family ──► attack program in a pod
//!                                                            │
//!                               cell: reached / refused / dropped, by which hook ◄── judge, agent's counters
//! ```
//!
//! **Invariant.** A technique counts as stopped only if the service saw nothing of it, and only if it does reach the service
//! where nothing stands in its way: a technique that cannot is a broken test, or one that the kernel has no means for.

mod addresses;
mod balancer;
mod columns;
mod controls;
mod judge;
mod launch;
mod matrix;
mod place;
mod stage;
mod standins;
mod techniques;

use std::path::PathBuf;

use anyhow::Result;

pub use columns::{Column, LAYERS};
pub use judge::{Arrival, Attempt, Judge};
pub use matrix::{Cell, Matrix, Verdict};
pub use place::{parameter, run as run_in};
pub use techniques::{Technique, techniques};

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The attack program.
    pub program: PathBuf,
    /// Only techniques whose name begins so.
    pub only: Option<String>,
    /// Which layers.
    pub columns: Vec<Column>,
    /// How many labs at once.
    pub at_once: usize,
}

impl Options {
    /// The techniques that are asked for.
    pub fn techniques(&self) -> impl Iterator<Item = &'static Technique> {
        techniques().filter(|technique| {
            self.only
                .as_deref()
                .is_none_or(|only| technique.name.starts_with(only))
        })
    }
}

/// Runs all columns, some at once; `told` hears of each that is through.
///
/// # Errors
///
/// If a lab cannot be built or does not obey. What attacks achieve is in the matrix.
pub fn run(options: &Options, told: impl Fn(&str) + Sync) -> Result<Matrix> {
    columns::run(options, &told)
}
