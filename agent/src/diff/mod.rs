//! The difference between what the maps hold and what they should hold, as an ordered [`Plan`]. Pure.
//!
//! Order is what makes a change atomic for every packet:
//!
//! 0. *first*: an audit of the metadata firewall begins, and metadata addresses that are new are denied, before anything else.
//! 1. *beside*: names, digests, new tables, classes of new identities. Nobody looks at them yet. An identity that is
//!    split off another one gets, in tables that are on their way out, the class that it had there.
//! 2. *addresses*: so moving an address to a new identity changes no verdict of an outgoing table.
//! 3. *swap*: one word for each endpoint whose record or generation changes, and grants to cgroups; then an audit ends.
//! 4. after a *grace period*, when no packet can be in the midst of old tables: addresses that are no longer listed go;
//!    after another one, so does what nothing points at any more.
//!
//! A pod whose labels change moves at step 2 under tables that stay, and their endpoints get a new generation at
//! step 3: a packet is judged by the old label or by the new one.
//!
//! [`diff`] looks at everything; a [`Planner`] remembers where things lie and goes on by what differs.

mod addresses;
mod allocate;
mod classes;
mod digest;
mod endpoints;
mod expected;
mod installed;
mod memory;
mod metadata;
mod plan;
mod planner;
mod step;
mod surroundings;
mod tables;

use std::{collections::BTreeMap, sync::Arc};

pub use classes::Classes;
pub use expected::Expected;
pub use installed::{
    EndpointState, GRANTS, Installed, LOCALS, Last, Limits, METADATA, METADATA_PORTS,
    NODE_ADDRESSES, TableState,
};
pub use metadata::{Bits, NOBODY, deny_missing};
pub use plan::{Full, Op, Plan};
pub use planner::Planner;

use self::{memory::Memory, plan::Packing};
use crate::compile::{Access, Desired};

/// What is wanted: the compiler's result, and what only the machine knows.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// By content.
    pub desired: &'a Desired,
    /// What the processes of cgroups may reach of metadata, by the cgroup's id.
    pub grants: &'a BTreeMap<u64, Arc<Access>>,
}

/// Plans the way from `installed` to `wanted`, whatever is installed: what a [`Planner`] does first, and whenever it has
/// nothing to build on.
///
/// # Errors
///
/// [`Full`] if it does not fit. Then nothing has been planned: it is all or nothing.
pub fn diff(installed: &Installed, wanted: Wanted<'_>, limits: &Limits) -> Result<Plan, Full> {
    Packing::try_both(|packing| whole(plan::Builder::new(installed, limits, packing), wanted))
}

fn whole(mut builder: plan::Builder<'_>, wanted: Wanted<'_>) -> Result<Plan, Full> {
    let bits = builder.metadata(wanted.desired)?;
    builder.rules(wanted.desired)?;
    let tables = builder.tables(wanted.desired)?;
    let identities = builder.addresses(wanted.desired, &tables)?;
    builder.surroundings(wanted.desired)?;
    builder.classes(wanted.desired, &tables, &identities)?;
    let shaken = builder.shaken(&tables, &identities);
    builder.endpoints(wanted, &tables, &shaken, &bits)?;
    builder.metadata_audit(wanted.desired);
    builder.retire(&tables);
    let memory = Memory::new(wanted.desired, tables, &identities, &builder.after);
    Ok(builder.finish(memory))
}
