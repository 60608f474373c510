//! What the agent lets be seen: flows and metrics.
//!
//! **Invariants.** Nothing here changes what is enforced. What a slow reader misses is counted, never waited for.

pub mod flow;
pub mod metrics;
pub mod reached;
mod recorder;
pub mod status;
pub mod told;

pub use recorder::{Query, Recorder, Subscription};
