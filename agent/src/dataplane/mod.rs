//! The only place with aya and `unsafe`: loads, pins, attaches, writes maps.
#![expect(unsafe_code, reason = "system calls that no crate wraps")]

mod attach;
mod attached;
mod audit;
mod cells;
mod clock;
mod events;
pub mod fake;
mod held;
pub mod host;
mod installed;
mod kernel;
mod load;
pub mod maps;
mod objects;
mod options;
mod pins;
mod spec;
mod sys;
mod tunnels;
mod view;
mod views;

pub use attached::{AttachedProgram, attached, is_absent, is_ours};
pub use audit::{Drift, KINDS as DRIFT_KINDS};
pub use kernel::{Dataplane, Guard, GuardLayer, detach, guard, open};
pub use objects::pinned;
pub use options::{Attach, Firewall, Options};
pub use pins::is_enforcing;
pub use view::{
    Applied, CellFilter, CellView, ConnectionView, Counters, EndpointView, EventView, Kernel,
    KernelError, ObjectView, PortRun, ProgramView,
};
