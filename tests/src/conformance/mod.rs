//! Conformance: what others say a NetworkPolicy means, asked of the compiler and of the kernel.
//!
//! ```text
//! suite ── truth tables, probes, packets ──► Case: steps of (World, questions)
//!                                              ├─► compiled   the tables that would go into the kernel
//!                                              └─► kernel     pods of network namespaces, the real agent
//! ```
//!
//! **Invariants.**
//! * A world goes to the agent as manifests, through the same strict reading as anybody's.
//! * Expectations are the suites', never ours. Where a suite says itself that one is not what the API says, the
//!   case carries the API's answer and a flag that says so.
//! * What cannot be asked is counted and named with the reason; it never counts as right.

mod actions;
mod admin;
mod beneath;
pub mod case;
mod compiled;
mod expand;
mod file;
mod kernel;
mod knp;
mod report;
mod suite;
pub mod world;

pub use beneath::beneath_zones;
pub use case::{Case, Expect, Question, Step};
pub use compiled::Compiled;
pub use kernel::Kernel;
pub use report::{Disagreement, Report, Totals};
pub use suite::{DATA, Suite, data, find, load, own};
