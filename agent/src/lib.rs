//! Ringfence's agent, command line and lab.
//!
//! The modules stand in the order in which a change flows through them:
//!
//! ```text
//! watch ──► index ──► compile ──► diff ──► dataplane ──► observe
//! YAML or   model:    pure:       pure:    the only      events,
//! Kube API  plain     Snapshot    Plan     aya and       metrics,
//!           types     -> Desired           unsafe code   status
//! ```
//!
//! **Invariants.** Kubernetes types stop at [`index`]; aya types and `unsafe` stay in `dataplane`;
//! [`compile`] and `diff` do no I/O, read no clock, and are deterministic and total.
#![deny(unsafe_code)]

pub mod args;
mod cgroup2;
pub mod cli;
pub mod config;
pub mod run;

pub mod api;
pub mod model;

pub mod watch;

pub mod index;

pub mod locate;
pub mod nri;

pub mod compile;
pub mod dataplane;
pub mod diff;
pub mod metadata;
pub mod paged;
mod parallel;

pub mod admin;
pub mod observe;
pub mod status;
pub mod tell;

pub mod check;
pub mod lab;
pub mod lint;
pub mod sysdump;
